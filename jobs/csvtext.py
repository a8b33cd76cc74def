"""CSV line by line, for answers that are too long to be held: opens in Excel, whatever people have written."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence

KIND = "text/csv; charset=utf-8"
MARK = "\ufeff"
"""In front of all, from which Excel knows UTF-8."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class _Echo:
    """What the writer writes to: gives back what it gets."""

    def write(self, text: str) -> str:
        return text


def lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a file; a cell that a spreadsheet would take for a formula is marked as text."""
    writer = csv.writer(_Echo())
    yield MARK
    for row in rows:
        cells = [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row]
        yield writer.writerow(cells)
