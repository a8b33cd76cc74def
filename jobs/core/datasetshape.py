"""Whether a column keeps one type in all rows: Arrow, which LLaMA-Factory loads with, stops at the first change."""

from __future__ import annotations

from typing import Any

MOST_PLACES = 2000
"""Places that are watched; beyond them (objects with ever new keys) a change goes unnoticed until the run."""

DEEPEST = 16


class Shape:
    """The type seen at each place of the rows so far; null fits every type."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, ...], tuple[str, int]] = {}

    def change_in(self, row: int, value: dict[str, Any]) -> tuple[str, str] | None:
        """The field whose type differs from an earlier row's, and the sentence about it; None when none does."""
        for column, inner in value.items():
            found = self._visit(row, (column,), inner)
            if found is not None:
                return found
        return None

    def _visit(self, row: int, place: tuple[str, ...], value: Any) -> tuple[str, str] | None:
        kind = _kind(value)
        if kind is None or len(place) > DEEPEST:
            return None
        before = self._seen.get(place)
        if before is None:
            if len(self._seen) >= MOST_PLACES:
                return None
            self._seen[place] = (kind, row)
        elif before[0] != kind:
            return _dotted(place), f"{kind} here, but {before[0]} in row {before[1]}; use one type"
        if kind == "an object":
            inner = ((*place, key) for key in value)
            return self._first(row, zip(inner, value.values(), strict=True))
        if kind == "a list":
            return self._first(row, (((*place, "[]"), item) for item in value))
        return None

    def _first(self, row: int, items: Any) -> tuple[str, str] | None:
        return next(
            (found for place, item in items if (found := self._visit(row, place, item))), None
        )


def _kind(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"


def _dotted(place: tuple[str, ...]) -> str:
    return ".".join(place).replace(".[]", "[]")
