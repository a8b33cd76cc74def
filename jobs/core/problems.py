"""What is wrong with a file that somebody handed in, line by line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

PRINTABLE_HINT = "allowed are printable characters, tabs and line ends: leave it out"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, and how to put it right."""

    line: int | None  # counted from 1; None when no single line is to blame
    field: str  # dotted, for example "resources.min_memory"; empty for the file as a whole
    message: str  # what is wrong and what was given
    hint: str  # what is allowed and what to do

    def __str__(self) -> str:
        place = [f"line {self.line}"] if self.line is not None else []
        place += [self.field] if self.field else []
        prefix = f"{', '.join(place)}: " if place else ""
        return f"{prefix}{self.message}; {self.hint}."


class TaskFileError(ValueError):
    """A file that cannot be accepted, with every problem that was found in it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def shortened(value: object, longest: int = 40) -> str:
    """What was given, short enough for a sentence; a text in quotes."""
    text = str(value)
    text = text if len(text) <= longest else f"{text[: longest - 3]}..."
    return repr(text) if isinstance(value, str) else text


def unprintable(text: str) -> str | None:
    """What is wrong with a text that no terminal, file or database should have to hold; None for a clean one."""
    found = _UNPRINTABLE.search(text)
    return f"the control character {found.group()!r} is not text" if found else None
