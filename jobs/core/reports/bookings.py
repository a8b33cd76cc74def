"""One booking of a card, cut at midnights: what a report adds up. Times are microseconds, sizes bytes.

Memory over time is in whole GiB-microseconds, rounded once for each part: sums of years then fit the integers of a
database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from jobs.core.outofmemory import OUT_OF_MEMORY
from jobs.core.reports.spans import (
    Days,
    Span,
    by_day,
    joined,
    length,
    within,
    without,
)
from jobs.core.states import Outcome

GIB = 2**30
FAILED, OOM, LOST = "failed", "oom", "lost"
IDLE_BELOW = 0.05
"""An hour in which the processes of a booking kept its card less busy than this counts as idle."""


class Start(NamedTuple):
    """The first start of a job: with which priority, and how long it had waited (microseconds)."""

    priority: int
    wait: int


class End(NamedTuple):
    """How the attempt ended: when, its outcome and reason, and the card time of work that it threw away."""

    at: int
    outcome: str
    reason: str
    lost: int


class Size(NamedTuple):
    """What a booking counted for over a stretch of its time."""

    begun: int
    ended: int
    booked: int
    share: float  # of the card, as the fair share counts it, 0..1


class Booking(NamedTuple):
    """A card that is held by one attempt of a job."""

    job: str  # public id
    project: int
    owner: int
    device: int
    sizes: tuple[Size, ...]  # one after the other, from its begin to its end
    peak: int | None  # most ever measured; None: never measured
    rank: int  # 1: the first of its attempt; 2: the first on another card model; 0: one more
    frozen: tuple[Span, ...] = ()  # when its job was frozen in memory
    idle: tuple[Span, ...] = ()  # hours in which its processes kept the card idle
    start: Start | None = None  # where its attempt is the first one of its job
    end: End | None = None  # where its attempt has ended

    @property
    def begun(self) -> int:
        """When it was made."""
        return self.sizes[0].begun

    @property
    def ended(self) -> int:
        """When it was released; of one that is still held: now."""
        return self.sizes[-1].ended


class DayPart(NamedTuple):
    """What one booking was on one day. The ledger stores these; whatever is added up is in them."""

    day: int
    job: str
    project: int
    owner: int
    device: int
    held: int
    frozen: int
    idle: int
    memory: int  # booked, over the time held
    spare: int | None  # of it: above the most that was ever measured; None: never measured
    idle_memory: int  # of it: in idle time
    charged: int  # card time times the share of the card
    waste: str  # failed, oom, lost, or nothing
    rank: int
    priority: int | None  # on the day of a job's first start, rank 1 and 2 only
    wait: int | None
    outcome: str  # on the day on which the attempt ended, rank 1 and 2 only
    lost: int


def parts(booking: Booking, days: Days) -> Iterator[DayPart]:
    """The booking cut to `days`, one part for each day on which it was held, began, or its attempt ended."""
    held = dict(by_day((booking.begun, booking.ended), days))
    told = {days.of(at) for at in _instants(booking) if days.covers(at)}
    for day in sorted(held.keys() | told):
        yield _part(booking, days, day, held.get(day, (0, 0)))


def waste_of(outcome: str, reason: str) -> str:
    """Which kind of waste all that an attempt held is, by how it ended."""
    if outcome == Outcome.LOST:
        return LOST
    if outcome != Outcome.FAILED:
        return ""
    return OOM if reason in OUT_OF_MEMORY else FAILED


def _instants(booking: Booking) -> Iterator[int]:
    if booking.rank and booking.start is not None:
        yield booking.begun
    if booking.rank and booking.end is not None:
        yield booking.end.at


def _part(booking: Booking, days: Days, day: int, span: Span) -> DayPart:
    begun, ended = span
    awake = without([span], joined(booking.frozen))
    idle = [part for hour in booking.idle for part in within(awake, hour)]
    sizes = list(_within(booking.sizes, span))
    start = booking.start if booking.rank and days.of(booking.begun) == day else None
    end = booking.end if booking.rank and booking.end and days.of(booking.end.at) == day else None
    return DayPart(
        day=day,
        job=booking.job,
        project=booking.project,
        owner=booking.owner,
        device=booking.device,
        held=ended - begun,
        frozen=ended - begun - length(awake),
        idle=length(idle),
        memory=_gib(each.booked * (each.ended - each.begun) for each in sizes),
        spare=_spare(sizes, booking.peak),
        idle_memory=_gib(
            each.booked * length(within(idle, (each.begun, each.ended))) for each in sizes
        ),
        charged=round(sum((each.ended - each.begun) * each.share for each in sizes)),
        waste=waste_of(booking.end.outcome, booking.end.reason) if booking.end else "",
        rank=booking.rank,
        priority=start.priority if start else None,
        wait=start.wait if start else None,
        outcome=end.outcome if end else "",
        lost=end.lost if end else 0,
    )


def _within(sizes: Iterable[Size], span: Span) -> Iterator[Size]:
    """The sizes, cut to the span."""
    for each in sizes:
        begun, ended = max(each.begun, span[0]), min(each.ended, span[1])
        if begun < ended:
            yield each._replace(begun=begun, ended=ended)


def _spare(sizes: Iterable[Size], peak: int | None) -> int | None:
    if peak is None:
        return None
    return _gib(max(0, each.booked - peak) * (each.ended - each.begun) for each in sizes)


def _gib(amounts: Iterable[int]) -> int:
    """Byte-microseconds as whole GiB-microseconds."""
    return (sum(amounts) + GIB // 2) // GIB
