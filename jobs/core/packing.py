"""Trial of a packing: whether jobs on one card get further together than one of them would alone.

Step rates are measured while the neighbours stay the same, over a whole window: alone first (this run, or an earlier
one of the same kind), then together. Normalised by the rate alone, the rates of all jobs on a card add up to 1 where
they just take turns. Times are seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jobs.core.progress import rate_of

WINDOW = 600.0
"""For which rates are watched before they tell anything."""

LEAST_SIGHTINGS = 5
"""Different steps that must have been seen in it."""

LOSS = 0.05
"""By which the sum of normalised rates must be below 1: less is noise."""


class Rate(NamedTuple):
    """Steps a second of one job, alone on its card and beside the others there."""

    alone: float
    together: float


def total(rates: Iterable[Rate]) -> float:
    """How far the jobs of one card get together, in cards that run one of them alone."""
    return sum(rate.together / rate.alone for rate in rates)


def is_lossy(rates: Sequence[Rate]) -> bool:
    """Whether the card would get more done with one job less."""
    return len(rates) > 1 and total(rates) < 1 - LOSS


@dataclass(slots=True)
class _Watch:
    beside: frozenset[str]
    sightings: deque[tuple[float, int]] = field(default_factory=deque)


class Paces:
    """The step rates of jobs, each since its neighbours last changed, over at most one window."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._watched: dict[str, _Watch] = {}

    def see(self, job: str, beside: Collection[str], at: float, step: int) -> None:
        """The training of a job had reached this step at this time, beside these others."""
        neighbours = frozenset(beside)
        watch = self._watched.get(job)
        if watch is None or watch.beside != neighbours:
            watch = self._watched[job] = _Watch(neighbours)
        seen = watch.sightings
        if seen and step < seen[-1][1]:
            seen.clear()  # it goes on from a checkpoint
        if not seen or (at > seen[-1][0] and step > seen[-1][1]):
            seen.append((at, step))
        while len(seen) > 2 and at - seen[1][0] >= self._window:
            seen.popleft()

    def keep_only(self, jobs: Collection[str]) -> None:
        """Forget all jobs but these: they do not compute now."""
        self._watched = {job: watch for job, watch in self._watched.items() if job in jobs}

    def rate(self, job: str) -> float | None:
        """Steps a second over a whole window; None where that is not over, or too little was seen."""
        watch = self._watched.get(job)
        if watch is None or len(watch.sightings) < LEAST_SIGHTINGS:
            return None
        seen = watch.sightings
        return rate_of(seen) if seen[-1][0] - seen[0][0] >= self._window else None
