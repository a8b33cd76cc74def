"""CSV that opens in a spreadsheet, whatever people have written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

KIND = "text/csv; charset=utf-8"

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_text(cell: str) -> str:
    """The cell, marked as text where a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def file_of(rows: Iterable[Sequence[object]]) -> bytes:
    """The rows as a file, with a mark in front from which Excel knows UTF-8."""
    text = io.StringIO()
    csv.writer(text).writerows(
        [as_text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows
    )
    return text.getvalue().encode("utf-8-sig")
