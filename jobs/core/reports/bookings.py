"""One booking of a card, cut at midnights: what a report adds up. Times are microseconds, sizes bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from jobs.core.reports.spans import Days, Span, by_day, length, within
from jobs.core.states import Outcome, Reason

OUT_OF_MEMORY = frozenset({Reason.GPU_OUT_OF_MEMORY.value, Reason.HOST_OUT_OF_MEMORY.value})
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


class Booking(NamedTuple):
    """A card that is held by one attempt of a job."""

    job: str  # public id
    project: int
    owner: int
    device: int
    booked: int
    peak: int | None  # most ever measured; None: never measured
    share: float  # of the card, as the fair share counts it, 0..1
    begun: int
    ended: int  # of one that is still held: now
    rank: int  # 1: the first of its attempt; 2: the first on another card model; 0: one more
    frozen: tuple[Span, ...] = ()  # when its job was frozen in memory
    idle: tuple[Span, ...] = ()  # hours in which its processes kept the card idle
    start: Start | None = None  # where its attempt is the first one of its job
    end: End | None = None  # where its attempt has ended


class DayPart(NamedTuple):
    """What one booking was on one day. The ledger stores these; whatever is added up is in them."""

    day: int
    job: str
    project: int
    owner: int
    device: int
    booked: int
    spare: int | None  # booked above the most that was ever measured; None: never measured
    held: int
    frozen: int
    idle: int
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
    frozen = within(booking.frozen, span)
    start = booking.start if booking.rank and days.of(booking.begun) == day else None
    end = booking.end if booking.rank and booking.end and days.of(booking.end.at) == day else None
    asleep = sum(length(within(frozen, hour)) for hour in booking.idle)
    return DayPart(
        day=day,
        job=booking.job,
        project=booking.project,
        owner=booking.owner,
        device=booking.device,
        booked=booking.booked,
        spare=None if booking.peak is None else max(0, booking.booked - booking.peak),
        held=ended - begun,
        frozen=length(frozen),
        idle=length(within(booking.idle, span)) - asleep,
        charged=round((ended - begun) * booking.share),
        waste=waste_of(booking.end.outcome, booking.end.reason) if booking.end else "",
        rank=booking.rank,
        priority=start.priority if start else None,
        wait=start.wait if start else None,
        outcome=end.outcome if end else "",
        lost=end.lost if end else 0,
    )
