"""What bookings counted for over their time, and why they changed, as the event rows of changes tell. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from jobs.core.units import format_size
from jobs.models import Attempt, JobEvent
from jobs.querysets import in_parts

SHRINK, GROW = "shrink", "grow"
"""The kinds of the event rows."""


Changes = Mapping[str, Sequence[tuple[datetime, int]]]
"""By a booking's key, the oldest first: when it changed, and what it was before (bytes)."""


class Span(NamedTuple):
    """For how long a booking counted for so many bytes."""

    begun: datetime
    ended: datetime
    booked: int


def sentence(event: JobEvent) -> str:
    """What such an event row tells: from what to what, and why. Empty for other kinds."""
    data = event.data
    if event.kind not in {SHRINK, GROW} or not isinstance(data.get("peak"), int):
        return ""
    words = {
        "card": data.get("card", ""),
        "old": format_size(int(data.get("old", 0))),
        "new": format_size(int(data.get("new", 0))),
        "peak": format_size(data["peak"]),
        "percent": round((float(data.get("margin", 1.0)) - 1) * 100),
    }
    if event.kind == GROW:
        return _("booking on %(card)s from %(old)s to %(new)s: it used %(peak)s by then") % words
    shrunk = _(
        "booking on %(card)s from %(old)s to %(new)s: the most that it used was %(peak)s, plus %(percent)d %%"
    )
    return shrunk % words


def changes_of(attempt: Attempt) -> Changes:
    """All changes of an attempt's bookings."""
    return _changes(JobEvent.objects.filter(attempt=attempt))


def changes_of_jobs(jobs: Iterable[str]) -> Changes:
    """All changes of the bookings of jobs with these public ids."""
    found: dict[str, Sequence[tuple[datetime, int]]] = {}
    for part in in_parts(jobs):
        found |= _changes(JobEvent.objects.filter(job__in=part))
    return found


def _changes(events: QuerySet[JobEvent]) -> Changes:
    found: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
    rows = events.filter(kind__in=(SHRINK, GROW)).order_by("pk").values_list("at", "data")
    for at, data in rows.iterator(chunk_size=10_000):
        found[str(data.get("key", ""))].append((at, int(data.get("old", 0))))
    return found


def spans_of(
    booked: int, begun: datetime, ended: datetime, changes: Iterable[tuple[datetime, int]]
) -> list[Span]:
    """The spans of one booking that counts for `booked` at its end."""
    found = []
    for at, before in changes:
        found.append(Span(begun, min(at, ended), before))
        begun = min(at, ended)
    return [*found, Span(begun, ended, booked)]
