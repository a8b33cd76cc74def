"""What was held, by whom and when: sums over bookings cut to a period. Times are microseconds since the epoch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

HOUR = 3_600_000_000
"""Microseconds."""

GIB = 2**30


class Hold(NamedTuple):
    """One card, held by one attempt of a job, inside the period that is looked at."""

    job: str  # public id
    name: str
    owner: str
    project: str
    card: str  # its model
    booked: int  # bytes
    peak: int | None  # most ever measured, bytes; None: never measured
    begun: int
    ended: int
    outcome: str  # of the attempt; empty while it runs
    reason: str
    rate: float  # weighted GPU-seconds a second, as the fair share counts them

    @property
    def length(self) -> int:
        """How long it was held, in microseconds."""
        return self.ended - self.begun


@dataclass(slots=True)
class Sum:
    """What was held: card time in microseconds, memory in byte-microseconds, and by how many jobs."""

    time: int = 0
    memory: int = 0
    members: set[str] = field(default_factory=set)

    @property
    def gpu_hours(self) -> float:
        """Hours that cards were held."""
        return self.time / HOUR

    @property
    def memory_hours(self) -> float:
        """GiB x hours."""
        return self.memory / GIB / HOUR

    def add(self, job: str, time: int, memory: int) -> None:
        """Count a part of a booking."""
        self.time += time
        self.memory += memory * time
        self.members.add(job)


def total(holds: Iterable[Hold]) -> Sum:
    """Everything together."""
    return summed(holds, lambda _hold: "").get("", Sum())


def summed(holds: Iterable[Hold], key: Callable[[Hold], str]) -> dict[str, Sum]:
    """The bookings by `key`, the most card time first."""
    found: dict[str, Sum] = {}
    for hold in holds:
        found.setdefault(key(hold), Sum()).add(hold.job, hold.length, hold.booked)
    return dict(sorted(found.items(), key=lambda pair: (-pair[1].time, pair[0])))


def by_day(holds: Iterable[Hold], days: Sequence[int]) -> list[Sum]:
    """The bookings cut at midnights: `days` are the beginnings of the days, and the end of the last one."""
    sums = [Sum() for _day in days[1:]]
    for hold in holds:
        place = max(0, bisect_right(days, hold.begun) - 1)
        while place < len(sums) and days[place] < hold.ended:
            time = min(hold.ended, days[place + 1]) - max(hold.begun, days[place])
            if time > 0:
                sums[place].add(hold.job, time, hold.booked)
            place += 1
    return sums


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of them does not exceed (nearest rank); None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def shares(amounts: dict[str, float]) -> dict[str, float]:
    """Each as a part of all; all 0 where there is nothing."""
    whole = sum(amounts.values())
    return {name: amount / whole if whole else 0.0 for name, amount in amounts.items()}
