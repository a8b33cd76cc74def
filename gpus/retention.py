"""How long readings are kept. Finer ones go first; what a report needs stays a year."""

from __future__ import annotations

from datetime import datetime, timedelta

from gpus.models import HolderReading, Reading

KEPT = {
    10: timedelta(days=2),
    60: timedelta(days=30),
    3600: timedelta(days=366),
}
"""Seconds of a period -> how long its rows are kept."""


def forget_old_readings(now: datetime) -> int:
    """Remove rows that are past their time; how many."""
    removed = 0
    for seconds, kept in KEPT.items():
        before = int((now - kept).timestamp())
        for model in (Reading, HolderReading):
            removed += model.objects.filter(seconds=seconds, start__lt=before).delete()[0]
    return removed
