"""An answer line by line: the figures that are set side by side, and by how much they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["seconds", "count", "share"]

FIGURES: Mapping[str, Kind] = {
    "mean_wait_s": "seconds",
    "p90_wait_s": "seconds",
    "max_wait_s": "seconds",
    "mean_jct_s": "seconds",
    "makespan_s": "seconds",
    "started": "count",
    "finished": "count",
    "preemptions": "count",
    "lost_gpu_s": "seconds",
    "share_error": "share",
}
"""The figures in the order in which they are shown, and what they are."""

_THE_SAME = 0.005
"""Seconds and shares that differ by less, relative to the larger one, are called the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One figure. None: it cannot be measured there."""

    name: str
    kind: Kind
    really: float | None
    today: float | None
    changed: float | None

    @property
    def is_known(self) -> bool:
        """Whether it was measured anywhere."""
        return any(value is not None for value in (self.really, self.today, self.changed))

    @property
    def difference(self) -> float | None:
        """What the change adds; zero where it hardly matters, None where it cannot be told."""
        if self.today is None or self.changed is None:
            return None
        added = self.changed - self.today
        least = _THE_SAME * max(abs(self.today), abs(self.changed))
        return 0.0 if self.kind != "count" and abs(added) <= least else added

    @property
    def ratio(self) -> float | None:
        """What it adds, as a part of today's value; None where that is nothing."""
        added = self.difference
        return added / self.today if added is not None and self.today else None


def lines(answer: Mapping[str, Any]) -> Iterator[Line]:
    """The figures of the whole site."""
    sides = {name: answer[name] for name in ("really", "today", "changed")}
    for name, kind in FIGURES.items():
        line = _line(name, kind, sides)
        if line.is_known:
            yield line


def projects(answer: Mapping[str, Any]) -> Iterator[tuple[str, Line]]:
    """The mean wait of each project that is told."""
    slugs = {slug for name in ("really", "today") for slug in answer[name]["projects"]}
    for slug in sorted(slugs):
        sides = {
            name: {"whole": (answer[name] or {"projects": {}})["projects"].get(slug, {})}
            for name in ("really", "today", "changed")
        }
        yield slug, _line("mean_wait_s", "seconds", sides)


def _line(name: str, kind: Kind, sides: Mapping[str, Mapping[str, Any] | None]) -> Line:
    values = {where: _value(side, name) for where, side in sides.items()}
    return Line(name=name, kind=kind, **values)


def _value(side: Mapping[str, Any] | None, name: str) -> float | None:
    if side is None:
        return None
    found: float | None = side["whole"].get(name, side.get(name))
    return found
