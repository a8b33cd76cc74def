"""Bookings as reports count them, from the rows of allocations, attempts, events and readings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from django.db.models import Q

from gpus.attribution import charge
from gpus.models import Device, HolderReading
from jobs import bookedspans
from jobs.core.reports.bookings import IDLE_BELOW, Booking, End, Size, Start
from jobs.core.reports.spans import Span
from jobs.core.states import JobState
from jobs.ledger.days import SECOND, micro
from jobs.models import Allocation, Attempt, JobEvent
from jobs.querysets import in_parts

HOUR_S = 3600
"""The period of the readings that reports use: finer ones are not kept long enough."""

_COLUMNS = (
    "pk",
    "key",
    "attempt",
    "attempt__number",
    "attempt__job",
    "attempt__job__project",
    "attempt__job__owner",
    "attempt__job__submitted_at",
    "attempt__job__priority",
    "device",
    "booked",
    "peak",
    "sm_share",
    "created_at",
    "released_at",
    "attempt__created_at",
    "attempt__ended_at",
    "attempt__outcome",
    "attempt__reason",
    "attempt__lost_seconds",
)


class _Row(NamedTuple):
    """One allocation with what its attempt and job say; the fields are those of `_COLUMNS`."""

    pk: int
    key: str
    attempt: int
    number: int
    job: str
    project: int
    owner: int
    submitted_at: datetime
    priority: int
    device: int
    booked: int
    peak: int | None
    sm_share: float
    created_at: datetime
    released_at: datetime | None
    started_at: datetime
    ended_at: datetime | None
    outcome: str
    reason: str
    lost_seconds: float | None


class _Known(NamedTuple):
    """What else is told of some jobs."""

    frozen: Mapping[str, Sequence[Span]]  # by job
    idle: Mapping[tuple[str, int], Sequence[Span]]  # by attempt's token and card
    sizes: bookedspans.Changes
    priorities: Mapping[str, Sequence[tuple[datetime, int]]]  # changes: when, from which


def bookings_of(attempts: Q, now: datetime) -> Iterator[tuple[int, Booking]]:
    """The bookings of these attempts, each with the primary key of its allocation; open ones are held until `now`."""
    chosen = Attempt.objects.filter(attempts).values("pk")
    rows: Any = Allocation.objects.filter(attempt__in=chosen).order_by("attempt", "pk")
    found = [_Row(*row) for row in rows.values_list(*_COLUMNS)]
    known = _known(found)
    cards = {card.pk: card for card in Device.objects.all()}
    for _attempt, group in groupby(found, lambda row: row.attempt):
        models: set[str] = set()
        for row in group:
            rank = 1 if not models else 0 if cards[row.device].name in models else 2
            models.add(cards[row.device].name)
            yield row.pk, _booking(row, cards[row.device], rank, known, now)


def _booking(row: _Row, card: Device, rank: int, known: _Known, now: datetime) -> Booking:
    return Booking(
        job=row.job,
        project=row.project,
        owner=row.owner,
        device=row.device,
        sizes=tuple(_sizes(row, card, known, now)),
        peak=row.peak,
        rank=rank,
        frozen=tuple(known.frozen.get(row.job, ())),
        idle=tuple(known.idle.get((_token(row), row.device), ())),
        start=_start(row, known) if row.number == 1 else None,
        end=_end(row),
    )


def _sizes(row: _Row, card: Device, known: _Known, now: datetime) -> Iterator[Size]:
    """What the booking counted for, from its begin on."""
    ended = max(row.created_at, row.released_at or now)
    changes = known.sizes.get(row.key, ())
    for span in bookedspans.spans_of(row.booked, row.created_at, ended, changes):
        memory = charge(span.booked, row.peak) / card.memory_total if card.memory_total else 0.0
        yield Size(micro(span.begun), micro(span.ended), span.booked, max(memory, row.sm_share))


def _start(row: _Row, known: _Known) -> Start:
    """With the priority that the job had then: the first change after it tells from which."""
    later = (old for at, old in known.priorities.get(row.job, ()) if at > row.started_at)
    wait = micro(row.started_at) - micro(row.submitted_at)
    return Start(next(later, row.priority), max(0, wait))


def _end(row: _Row) -> End | None:
    if row.ended_at is None:
        return None
    lost = round((row.lost_seconds or 0.0) * SECOND)
    return End(micro(row.ended_at), row.outcome, row.reason, lost)


def _token(row: _Row) -> str:
    return f"{row.job}-{row.number}"


def _known(rows: Sequence[_Row]) -> _Known:
    jobs = {row.job for row in rows}
    return _Known(
        frozen=_frozen(jobs),
        idle=_idle({_token(row) for row in rows}),
        sizes=bookedspans.changes_of_jobs(sorted(jobs)),
        priorities=_changes(jobs),
    )


def _frozen(jobs: Iterable[str]) -> dict[str, list[Span]]:
    """When each job was SUSPENDED; of that, what lies in a booking is frozen time. One that lasts has no end yet."""
    found: dict[str, list[Span]] = defaultdict(list)
    told = Q(old_state=JobState.SUSPENDED) ^ Q(new_state=JobState.SUSPENDED)
    since: dict[str, int] = {}
    for part in in_parts(sorted(jobs)):
        events: Any = JobEvent.objects.filter(told, job__in=part).order_by("pk")
        for job, at, new in events.values_list("job", "at", "new_state"):
            if new == JobState.SUSPENDED:
                since[job] = micro(at)
            elif job in since:
                found[job].append((since.pop(job), micro(at)))
    for job, begun in since.items():
        found[job].append((begun, _FOR_EVER))
    return found


_FOR_EVER = 2**62


def _idle(tokens: Iterable[str]) -> dict[tuple[str, int], list[Span]]:
    """The hours in which each attempt kept each card idle."""
    found: dict[tuple[str, int], list[Span]] = defaultdict(list)
    for part in in_parts(sorted(tokens)):
        readings = HolderReading.objects.filter(
            holder__in=part, seconds=HOUR_S, busy_mean__lt=IDLE_BELOW
        )
        for token, device, start in readings.values_list("holder", "device", "start"):
            found[token, device].append((start * SECOND, (start + HOUR_S) * SECOND))
    return found


def _changes(jobs: Iterable[str]) -> dict[str, list[tuple[datetime, int]]]:
    found: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for part in in_parts(sorted(jobs)):
        events: Any = JobEvent.objects.filter(kind="priority", job__in=part).order_by("pk")
        for job, at, data in events.values_list("job", "at", "data"):
            found[job].append((at, data["old"]))
    return found
