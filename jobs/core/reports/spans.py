"""Spans of time as pairs (begun, ended) in whole microseconds since the epoch, the end not included."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Days:
    """Days that follow one another: the number of the first one, their beginnings, and the end of the last one.

    A day is not always 24 hours long, so its beginnings are given and never computed.
    """

    first: int
    begins: tuple[int, ...]

    @property
    def span(self) -> Span:
        """From the beginning of the first day to the end of the last one."""
        return self.begins[0], self.begins[-1]

    def of(self, at: int) -> int:
        """The number of the day in which this instant lies; those outside belong to the first or last one."""
        place = bisect_right(self.begins, at) - 1
        return self.first + min(max(place, 0), len(self.begins) - 2)

    def span_of(self, day: int) -> Span:
        """When this day begins and ends."""
        place = day - self.first
        return self.begins[place], self.begins[place + 1]

    def covers(self, at: int) -> bool:
        """Whether this instant lies in one of the days."""
        return self.begins[0] <= at < self.begins[-1]


def length(spans: Iterable[Span]) -> int:
    """Together, of spans that do not overlap."""
    return sum(ended - begun for begun, ended in spans)


def within(spans: Iterable[Span], span: Span) -> list[Span]:
    """The parts of the spans that lie in `span`."""
    first, last = span
    cut = ((max(first, begun), min(last, ended)) for begun, ended in spans)
    return [each for each in cut if each[0] < each[1]]


def joined(spans: Iterable[Span]) -> list[Span]:
    """The time that at least one of them covers, in order, without overlaps."""
    found: list[Span] = []
    for begun, ended in sorted(each for each in spans if each[0] < each[1]):
        if found and begun <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ended))
        else:
            found.append((begun, ended))
    return found


def without(spans: Sequence[Span], taken: Sequence[Span]) -> list[Span]:
    """The time that `spans` cover and `taken` do not; both in order and without overlaps."""
    found: list[Span] = []
    for begun, ended in spans:
        at = begun
        for first, last in taken:
            if last <= at or first >= ended:
                continue
            if first > at:
                found.append((at, first))
            at = max(at, last)
        if at < ended:
            found.append((at, ended))
    return found


def by_day(span: Span, days: Days) -> Iterator[tuple[int, Span]]:
    """The span cut at midnights: the number of each day, and the part in it."""
    begun, ended = max(span[0], days.begins[0]), min(span[1], days.begins[-1])
    if begun >= ended:
        return
    for day in range(days.of(begun), days.of(ended - 1) + 1):
        first, last = days.span_of(day)
        yield day, (max(begun, first), min(ended, last))
