"""Adding up what was held, by whom and when. Times are microseconds, memory GiB-microseconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from jobs.core.reports.bookings import DayPart

HOUR = 3_600_000_000
"""Microseconds."""

Key = TypeVar("Key")


@dataclass(slots=True)
class Sum:
    """What was held: card time (used, and frozen), memory in GiB-microseconds, and by which jobs."""

    used: int = 0
    frozen: int = 0
    memory: int = 0
    spare: int = 0  # of the memory: booked above the most that was ever measured
    charged: int = 0
    jobs: set[str] = field(default_factory=set)

    @property
    def gpu_hours(self) -> float:
        """Hours that cards were held, without those in which the job was frozen."""
        return self.used / HOUR

    @property
    def paused_hours(self) -> float:
        """Hours that cards were held by a job frozen in memory."""
        return self.frozen / HOUR

    @property
    def memory_hours(self) -> float:
        """GiB x hours that were booked, frozen time included."""
        return self.memory / HOUR

    @property
    def spare_hours(self) -> float:
        """GiB x hours that were booked above the most that was ever measured."""
        return self.spare / HOUR

    def take(self, other: Sum) -> None:
        """Add another sum."""
        self.used += other.used
        self.frozen += other.frozen
        self.memory += other.memory
        self.spare += other.spare
        self.charged += other.charged
        self.jobs |= other.jobs


Who = tuple[int, int, int]  # owner, project, device
When = tuple[int, int]  # day, project


@dataclass(slots=True)
class Usage:
    """The sums from which all tables of use are made."""

    by_who: dict[Who, Sum] = field(default_factory=dict)
    by_day: dict[When, Sum] = field(default_factory=dict)

    def add(self, part: DayPart) -> None:
        """Count one part of a booking."""
        time = part.held
        if not time:
            return
        used, spare = time - part.frozen, part.spare or 0
        who = part.owner, part.project, part.device
        for found in (_at(self.by_who, who), _at(self.by_day, (part.day, part.project))):
            found.used += used
            found.frozen += part.frozen
            found.memory += part.memory
            found.spare += spare
            found.charged += part.charged
            found.jobs.add(part.job)


def _at(sums: dict[Key, Sum], key: Key) -> Sum:
    """The sum of this key, a new one where there is none."""
    found = sums.get(key)
    if found is None:
        found = sums[key] = Sum()
    return found


def folded(sums: Mapping[Key, Sum], name: Callable[[Key], str]) -> dict[str, Sum]:
    """The sums of equal names together, the most card time first."""
    found: dict[str, Sum] = {}
    for key, each in sums.items():
        found.setdefault(name(key), Sum()).take(each)
    return dict(sorted(found.items(), key=lambda pair: (-pair[1].used, pair[0])))


def total(sums: Iterable[Sum]) -> Sum:
    """Everything together."""
    whole = Sum()
    for each in sums:
        whole.take(each)
    return whole


def percentile(values: Sequence[int], share: float) -> int | None:
    """The smallest value that at least this share of them does not exceed (nearest rank); None of none.

    `values` are in order.
    """
    if not values:
        return None
    return values[max(0, math.ceil(share * len(values)) - 1)]


def shares(amounts: Mapping[str, float]) -> dict[str, float]:
    """Each as a part of all; all 0 where there is nothing."""
    whole = sum(amounts.values())
    return {name: amount / whole if whole else 0.0 for name, amount in amounts.items()}
