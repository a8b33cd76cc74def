"""The cards: what is there, what it holds, how busy it is. Knows nothing of jobs."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class GpusConfig(AppConfig):
    name = "gpus"
    verbose_name = _("Cards")

    def ready(self) -> None:
        """Register the system checks."""
        import_module("gpus.checks")
