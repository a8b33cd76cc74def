"""Rows of a dataset file, one at a time, from its bytes: JSON lines, a JSON list, or CSV.

Nothing larger than one row is held in memory, however large the file is. Rows count from 1; in a CSV file the
first row after the header is row 1, and empty lines of a JSON-lines file do not count.
"""

from __future__ import annotations

import codecs
import csv
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from jobs.core.datasetjson import json_list, parse_json
from jobs.core.datasetproblems import LARGEST_ROW, UnreadableError, not_utf8, too_large

EXTENSIONS = ("json", "jsonl", "csv")
"""File types that are accepted; each is one that LLaMA-Factory loads."""

_BOM = codecs.BOM_UTF8
_SPACE = b" \t\r\n"
_OTHER_ENCODINGS = {
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"\x1f\x8b": "a gzip archive",
    b"PK\x03\x04": "a zip archive (a spreadsheet?)",
    b"PAR1": "Parquet",
}


def read_rows(chunks: Iterable[bytes], extension: str) -> Iterator[tuple[int, Any]]:
    """Yields (row number, value) for each row; the values of a CSV file are all text.

    A `.json` file may hold lines and a `.jsonl` file a list: LLaMA-Factory goes by the content as well.

    Raises:
        UnreadableError: the bytes are no such file, with the row at which that showed.
    """
    stream = iter(chunks)
    head = first_bytes(stream)
    refuse_other_encodings(head)
    with_mark = head.startswith(_BOM)
    head = head.removeprefix(_BOM)
    stream = itertools.chain([head], stream)
    if extension == "csv":
        return csv_rows(stream)
    if not head.lstrip(_SPACE).startswith(b"["):
        return json_lines(stream)
    if with_mark:
        raise UnreadableError(
            None,
            "a JSON list must not begin with a byte order mark; save the file as UTF-8 without BOM",
        )
    return json_list(stream)


def first_bytes(stream: Iterator[bytes]) -> bytes:
    """The beginning, without leading space, long enough to tell what the file is."""
    head = b""
    for chunk in stream:
        head = (head + chunk).lstrip(_SPACE)
        if len(head) >= max(map(len, _OTHER_ENCODINGS)):
            break
    return head


def refuse_other_encodings(head: bytes) -> None:
    """Names what the file is when its first bytes give it away."""
    for mark, name in _OTHER_ENCODINGS.items():
        if head.startswith(mark):
            raise UnreadableError(
                None, f"the file is {name}; allowed is UTF-8 text (jsonl, json or csv); convert it"
            )


# --- lines ------------------------------------------------------------------------------------------


def json_lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
    """One JSON value on each line; empty lines are skipped."""
    row = 0
    try:
        for line in lines(chunks):
            if not line.strip(_SPACE):
                continue
            row += 1
            if row == 1 and line.strip(_SPACE) == b"{":
                message = "an object must stand on one line, or in a list: [{...}, {...}]"
                raise UnreadableError(row, message)
            yield row, parse_json(line.decode("utf-8"), row)
    except UnicodeDecodeError as error:
        raise UnreadableError(row, not_utf8(error.object, error)) from error
    except LongLineError as error:
        raise UnreadableError(row + 1, too_large()) from error


class LongLineError(Exception):
    """A line has no end within `LARGEST_ROW` bytes."""


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Splits after each line feed.

    Raises:
        LongLineError: a line is longer than a row may be.
    """
    parts: list[bytes] = []
    held = 0
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            yield b"".join([*parts, piece, b"\n"]) if parts else piece + b"\n"
            parts, held = [], 0
        parts.append(rest)
        held += len(rest)
        if held > LARGEST_ROW:
            raise LongLineError
    if held:
        yield b"".join(parts)


# --- CSV --------------------------------------------------------------------------------------------


def csv_rows(chunks: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
    """Each row as a dictionary of texts; a row may be shorter than the header, never longer."""
    # The limit is the whole process's; the standard 128 KiB is too low for texts.
    csv.field_size_limit(LARGEST_ROW)
    row = 0
    reader = csv.reader((line.decode("utf-8") for line in lines(chunks)), strict=True)
    try:
        header = next(reader, [])
        check_header(header)
        for cells in reader:
            if not cells:
                continue
            row += 1
            if len(cells) > len(header):
                raise UnreadableError(
                    row,
                    f"{len(cells)} cells, but the header has {len(header)}; quote cells with commas",
                )
            yield row, dict(itertools.zip_longest(header, cells, fillvalue=""))
    except csv.Error as error:
        raise UnreadableError(row + 1, f"not valid CSV: {error}; is a quote missing?") from error
    except LongLineError as error:
        raise UnreadableError(row + 1, too_large()) from error
    except UnicodeDecodeError as error:
        raise UnreadableError(row + 1, not_utf8(error.object, error)) from error


def check_header(header: list[str]) -> None:
    """The first line must name each column once."""
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise UnreadableError(None, "the header has one column; separate the columns with commas")
    for name in header:
        if not name.strip():
            raise UnreadableError(None, "the header has a column without a name; name each column")
        if header.count(name) > 1:
            raise UnreadableError(
                None, "the column appears twice in the header; name it once", name
            )
