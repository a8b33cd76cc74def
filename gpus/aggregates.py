"""Readings summed up by periods of 10 seconds, a minute and an hour. Pure: the caller loads and stores the rows.

A row always tells the whole of what is known of its period and is written again as the period goes on, so writing it
twice changes nothing, and after a restart the row itself says where to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

PERIODS = (10, 60, 3600)  # seconds; each is a multiple of the first, at whose end all are written

Key = TypeVar("Key", bound=Hashable)
Values = Mapping[str, float | None]


@dataclass(slots=True)
class Summary:
    """What was seen of one thing in one period; a value that was None in all samples has no mean."""

    samples: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    maxima: dict[str, float] = field(default_factory=dict)
    told: int = 0  # samples that were in it when it was last given out as a row

    def add(self, values: Values) -> None:
        """Count one sample."""
        self.samples += 1
        for name, value in values.items():
            if value is not None:
                self.sums[name] = self.sums.get(name, 0) + value
                self.counts[name] = self.counts.get(name, 0) + 1
                self.maxima[name] = max(self.maxima.get(name, value), value)

    def mean(self, name: str) -> float | None:
        """The mean of the samples that told it."""
        count = self.counts.get(name, 0)
        return self.sums[name] / count if count else None

    def highest(self, name: str) -> float | None:
        """The highest value that was told."""
        return self.maxima.get(name)

    @classmethod
    def resumed(cls, samples: int, means: Values, maxima: Values) -> Summary:
        """The summary that a stored row tells, to go on from."""
        summary = cls(samples=samples, told=samples)
        for name, mean in means.items():
            if mean is not None:
                summary.sums[name], summary.counts[name] = mean * samples, samples
        summary.maxima = {name: value for name, value in maxima.items() if value is not None}
        return summary


@dataclass(frozen=True, slots=True)
class Period:
    """`seconds` from `start` on, in seconds since the epoch."""

    seconds: int
    start: int

    @classmethod
    def at(cls, seconds: int, now: float) -> Period:
        """The period of this length that `now` lies in."""
        return cls(seconds, int(now // seconds) * seconds)


Load = Callable[[Period], Iterable[tuple[Key, Summary]]]


class Aggregates(Generic[Key]):
    """The running summaries of many things, by period.

    `load` gives what is stored of a period. It is asked when a period may have been written before: at the start,
    and after the clock was set back.
    """

    def __init__(self, load: Load[Key]) -> None:
        self._load = load
        self._running: dict[int, tuple[Period, dict[Key, Summary]]] = {}

    def add(self, now: float, values: Mapping[Key, Values]) -> dict[tuple[Key, Period], Summary]:
        """Count one sample of each thing; returns the rows to write, which is nothing but at the end of a period."""
        rows = self._turn(now)
        for _, summaries in self._running.values():
            for key, seen in values.items():
                summaries.setdefault(key, Summary()).add(seen)
        return rows

    def rows(self) -> dict[tuple[Key, Period], Summary]:
        """What has changed since it was last given out."""
        rows = {}
        for period, summaries in self._running.values():
            for key, summary in summaries.items():
                if summary.told != summary.samples:
                    summary.told = summary.samples
                    rows[key, period] = summary
        return rows

    def _turn(self, now: float) -> dict[tuple[Key, Period], Summary]:
        """Begin the periods that `now` lies in."""
        running = self._running.get(PERIODS[0])
        if running is not None and running[0] == Period.at(PERIODS[0], now):
            return {}
        begun = {seconds: self._begun(Period.at(seconds, now)) for seconds in PERIODS}
        rows = self.rows()
        self._running |= begun
        return rows

    def _begun(self, period: Period) -> tuple[Period, dict[Key, Summary]]:
        """The period with what belongs into it already."""
        before = self._running.get(period.seconds)
        if before is None or period.start < before[0].start:
            return period, dict(self._load(period))
        return before if before[0] == period else (period, {})
