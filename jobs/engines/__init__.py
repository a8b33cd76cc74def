"""Engines: where and how attempts run. One interface (`base`), one contract test suite, several places."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from jobs.engines.local import LocalEngine


@cache
def local_engine() -> LocalEngine:
    """This site's engine for this machine; one per process, because it keeps a launcher."""
    return LocalEngine(settings.COOP_HOME)
