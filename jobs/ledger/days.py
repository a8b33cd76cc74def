"""Days of the site's time zone, as dates, numbers and microseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from django.utils import timezone

from jobs.core.reports.spans import Days

SECOND = 1_000_000
"""Microseconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)


def micro(moment: datetime) -> int:
    """Microseconds since the epoch, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def midnight(day: date) -> datetime:
    """When this day begins."""
    return datetime.combine(day, time(), timezone.get_default_timezone())


def date_of(moment: datetime) -> date:
    """The day in which this instant lies."""
    return timezone.localdate(moment, timezone.get_default_timezone())


def days_between(first: date, last: date) -> Days:
    """The days from `first` to `last`, both included."""
    count = (last - first).days + 1
    begins = (midnight(first + number * _DAY) for number in range(count + 1))
    return Days(first.toordinal(), tuple(micro(begin) for begin in begins))
