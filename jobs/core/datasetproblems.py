"""What can be wrong in a dataset file, and where."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

LARGEST_ROW = 16 * 2**20
"""Bytes of the largest row that is read. Longer ones are mistakes (a missing quote, a missing line end)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowProblem:
    """One thing that is wrong in a dataset, with the place where it is."""

    row: int | None  # None: the file as a whole
    field: str  # a column, or a path in it such as "messages[2].role"; empty: the row as a whole
    message: str

    def __str__(self) -> str:
        place = [f"row {self.row}"] if self.row is not None else []
        place += [f"field '{self.field}'"] if self.field else []
        return f"{', '.join(place)}: {self.message}" if place else self.message


class UnreadableError(Exception):
    """The file cannot be read on from here; `problem` says where and why."""

    def __init__(self, row: int | None, message: str, field: str = "") -> None:
        self.problem = RowProblem(row=row, field=field, message=message)
        super().__init__(str(self.problem))


def too_large() -> str:
    return f"the row is larger than {LARGEST_ROW // 2**20} MiB; is a line end or a quote missing?"


def not_utf8(raw: bytes, error: UnicodeDecodeError) -> str:
    """Says which byte is wrong, and guesses the encoding that Chinese Windows programs write."""
    sample = raw[max(0, error.start - 64) : error.start + 64]
    guess = "; it looks like GB18030" if looks_like_gb18030(sample) else ""
    return f"byte 0x{raw[error.start]:02x} is not UTF-8{guess}; save the file as UTF-8"


def looks_like_gb18030(sample: bytes) -> bool:
    """Whether the bytes read as Chinese text in that encoding; one stray byte at either end is forgiven."""
    for start, end in itertools.product((0, 1), (0, 1)):
        try:
            text = sample[start : len(sample) - end].decode("gb18030")
        except UnicodeDecodeError:
            continue
        return sum("\u4e00" <= character <= "\u9fff" for character in text) >= 2
    return False
