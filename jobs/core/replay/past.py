"""What really happened in a period: jobs with the times of their attempts, as a site has recorded them.

Times are seconds since the epoch, sizes bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jobs.core.states import Priority

Spell = tuple[float, float]
"""From when until when; the end is infinite where it goes on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """The time that is replayed."""

    since: float
    until: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PastAttempt:
    """One attempt of a job."""

    booked_at: float  # when it got its cards
    began: float | None  # when it ran; None: it never did
    ended: float | None  # None: it has not
    cards: tuple[str, ...]  # by UUID
    demand: float = 0.0  # its learned SM demand on each card, 0..1; 0: nobody has measured it
    lost: float = 0.0  # GPU-seconds of work that its preemption threw away
    preempted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PastJob:
    """One job with what it asked for, and what became of it."""

    id: str
    project: str
    user: str
    submitted_at: float
    ended_at: float | None = None  # None: it has not ended
    succeeded: bool = False
    attempts: tuple[PastAttempt, ...] = ()  # the oldest first
    held: tuple[Spell, ...] = ()  # somebody, or another job, kept it from starting
    frozen: tuple[Spell, ...] = ()  # it held its cards without working
    left: float = math.inf  # of one that has not ended: how long it is still expected to work
    priority: Priority = Priority.MEDIUM
    memory: int = 0  # on each card
    gpus: int = 1  # on all machines together
    gpu_type: str | None = None
    exclusive: bool = False
    preemptible: bool = False
    est_time: float = math.inf  # by its owner
    template: str = ""  # the same for jobs of one kind

    def first_after(self, since: float) -> PastAttempt | None:
        """Its first attempt that had not ended by then."""
        return next((a for a in self.attempts if a.ended is None or a.ended > since), None)

    def queued_at(self, started: float) -> float | None:
        """Since when it could have started, for a start then; None where it was held all the time."""
        releases = [until for _since, until in self.held if until <= started]
        if any(since <= started < until for since, until in self.held):
            return None
        return max([self.submitted_at, *releases])


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A time in which a job worked on its cards without a break."""

    began: float
    ended: float
    cards: tuple[str, ...]
    demand: float = 0.0


def spans(job: PastJob, period: Period) -> list[Span]:
    """When the job worked within the period."""
    found = []
    for attempt in job.attempts:
        if attempt.began is None:
            continue
        began = max(attempt.began, period.since)
        ended = period.until if attempt.ended is None else min(attempt.ended, period.until)
        found += [
            Span(began=start, ended=end, cards=attempt.cards, demand=attempt.demand)
            for start, end in _without(began, ended, job.frozen)
        ]
    return found


def _without(began: float, ended: float, breaks: Sequence[Spell]) -> Iterator[Spell]:
    """What is left of a time without the breaks in it."""
    for since, until in sorted(breaks):
        if until <= began or since >= ended:
            continue
        if since > began:
            yield began, since
        began = max(began, until)
    if began < ended:
        yield began, ended
