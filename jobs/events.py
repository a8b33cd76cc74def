"""Telling the other processes that a job changed. Only hints travel; whoever hears one reads the database."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from django.conf import settings

from jobs.bus import Bus


@cache
def bus() -> Bus:
    """This site's bus; its directory lies in COOP_HOME."""
    return Bus(settings.COOP_HOME / "run" / "bus")


def announce(job_ids: Iterable[str], event: int) -> None:
    """Tell the pages which jobs changed, up to event row `event`."""
    bus().send("web", {"k": "changed", "jobs": sorted(job_ids), "event": event})


def wake_dispatcher(job_id: str) -> None:
    """A person changed this job: there may be something to decide or to do, so run a cycle now."""
    bus().send("dispatcher", {"k": "wake", "job": job_id})
