"""The finished days added up by the database; fetched one by one is only what a report needs of single bookings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum

from jobs.core.reports.usage import Sum as Total
from jobs.core.reports.usage import Usage
from jobs.core.reports.waste import IDLE, UNUSED, Waste
from jobs.models import BookingDay

_SUMS = {
    "all_used": Sum(F("held") - F("frozen")),
    "all_frozen": Sum("frozen"),
    "all_memory": Sum("memory"),
    "all_spare": Sum("spare", default=0),
    "all_charged": Sum("charged"),
}
_AT_ONCE = 20_000
"""Rows."""


def add(chosen: Q, used: Usage, wasted: Waste) -> None:
    """Count these rows of the ledger."""
    held = BookingDay.objects.filter(chosen, held__gt=0)
    _sum_up(held, used)
    unused, unmeasured = wasted.entries[UNUSED], wasted.unmeasured
    rows: Any = held.values_list(
        "day", "owner_id", "project_id", "device_id", "job_id", "held", "spare"
    )
    for day, owner, project, device, job, time, spare in rows.iterator(chunk_size=_AT_ONCE):
        used.by_who[owner, project, device].jobs.add(job)
        used.by_day[day, project].jobs.add(job)
        if spare:
            unused.add(job, time, spare)
        elif spare is None:
            unmeasured.add(job)
    _add_waste(BookingDay.objects.filter(chosen), wasted)


def waits(chosen: Q) -> Iterator[tuple[int, int, int]]:
    """The first starts of jobs in these rows: day, priority, and for how long the job had waited."""
    rows: Any = BookingDay.objects.filter(chosen, wait__isnull=False)
    yield from rows.values_list("day", "priority", "wait").iterator(chunk_size=_AT_ONCE)


def outcomes(chosen: Q) -> dict[str, int]:
    """How many attempts ended how, by these rows."""
    rows: Any = BookingDay.objects.filter(chosen).exclude(outcome="").order_by()
    return dict(rows.values_list("outcome").annotate(Count("pk")))


def _sum_up(rows: QuerySet[BookingDay], used: Usage) -> None:
    by_who: Any = rows.order_by().values_list("owner_id", "project_id", "device_id")
    for owner, project, device, *sums in by_who.annotate(**_SUMS):
        used.by_who[owner, project, device] = _total(*sums)
    by_day: Any = rows.order_by().values_list("day", "project_id")
    for day, project, *sums in by_day.annotate(**_SUMS):
        used.by_day[day, project] = _total(*sums)


def _total(used: int, frozen: int, memory: int, spare: int, charged: int) -> Total:
    """Of the sums of `_SUMS`, which PostgreSQL gives as decimals."""
    return Total(int(used), int(frozen), int(memory), int(spare), int(charged))


def _add_waste(rows: QuerySet[BookingDay], wasted: Waste) -> None:
    """The kinds that few rows have."""
    some: Any = rows.filter(Q(idle__gt=0) | Q(lost__gt=0) | (~Q(waste="") & Q(held__gt=0)))
    columns = ("job_id", "held", "memory", "idle", "idle_memory", "waste", "lost", "outcome")
    for job, held, memory, idle, idle_memory, kind, lost, outcome in some.values_list(*columns):
        if idle:
            wasted.entries[IDLE].add(job, idle, idle_memory)
        if kind and held:
            wasted.entries[kind].add(job, held, memory)
        wasted.throw_away(job, outcome, lost)
