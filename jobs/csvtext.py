"""CSV that opens in a spreadsheet, whatever people have written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

KIND = "text/csv; charset=utf-8"

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def file_of(rows: Iterable[Sequence[str]]) -> bytes:
    """The rows as a file, with a mark in front from which Excel knows UTF-8.

    A cell that a spreadsheet would take for a formula is marked as text.
    """
    text = io.StringIO()
    csv.writer(text).writerows(
        [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row] for row in rows
    )
    return text.getvalue().encode("utf-8-sig")
