"""Raw log bytes -> lines as a terminal would end up showing them. Pure; bounded whatever the bytes are.

A carriage return starts the line afresh, so a progress bar of a thousand updates is one line. Colours stay as escape
sequences for the page to show; every other escape sequence and control character is taken out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 512 * 1024  # bytes read for one answer
MOST_LINES = 1000  # in one answer
LONGEST_LINE = 8000  # characters
_CHUNK = 1024 * 1024

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor moves, erasing
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links and other strings
    r"|\x1b[ -/]*[0-~]?"  # two-character sequences
    r"|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f\x80-\x9f]"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class Block:
    """Whole lines from `start` to `end` (byte offsets), and what stands after them without a line end."""

    start: int
    end: int
    lines: tuple[str, ...]
    partial: str = ""
    first: int | None = None  # the number of the first line, from 1, where it was asked for


def shown(raw: bytes) -> str:
    """One line as it reads in the end."""
    parts = [part for part in raw.decode("utf-8", "replace").split("\r") if part.strip()]
    text = _ESCAPES.sub(_kept, parts[-1] if parts else "")
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]} …"


def after(file: BinaryIO, offset: int, *, with_number: bool = False) -> Block:
    """The lines from `offset` on, as many as fit into one answer."""
    file.seek(offset)
    raw = file.read(BLOCK)
    at_end = len(raw) < BLOCK
    whole, newline, rest = raw.rpartition(b"\n")
    if not newline and not at_end:  # a line longer than a block is cut into lines of a block
        whole, newline, rest = raw, b"", b""
    lines = whole.split(b"\n") if whole or newline else []
    if len(lines) > MOST_LINES:
        lines, rest, at_end = lines[:MOST_LINES], b"", False
        whole, newline = b"\n".join(lines), b"\n"
    return Block(
        start=offset,
        end=offset + len(whole) + len(newline),
        lines=tuple(map(shown, lines)),
        partial=shown(rest) if at_end else "",
        first=_lines_before(file, offset) + 1 if with_number else None,
    )


def before(file: BinaryIO, offset: int) -> Block:
    """The lines that end at `offset`, as many as fit into one answer."""
    start = max(0, offset - BLOCK)
    file.seek(start)
    raw = file.read(offset - start)
    if start > 0 and b"\n" in raw[:-1]:  # begin with a whole line
        skipped = raw.index(b"\n") + 1
        start, raw = start + skipped, raw[skipped:]
    lines = raw.removesuffix(b"\n").split(b"\n") if raw else []
    if len(lines) > MOST_LINES:
        surplus = lines[:-MOST_LINES]
        start += sum(map(len, surplus)) + len(surplus)
        lines = lines[-MOST_LINES:]
    return Block(start=start, end=offset, lines=tuple(map(shown, lines)))


def tail(file: BinaryIO) -> Block:
    """The last lines, numbered, with the unfinished one."""
    file.seek(0, 2)
    size = file.tell()
    last = _end_of_last_line(file, size)
    block = before(file, last)
    following = after(file, last)
    return Block(
        start=block.start,
        end=following.end,
        lines=block.lines + following.lines,
        partial=following.partial,
        first=_lines_before(file, block.start) + 1,
    )


def around(file: BinaryIO, number: int, *, lead: int = 100) -> Block:
    """The lines from `lead` before line `number` on, numbered; from the end where there are not so many."""
    offset = _offset_of(file, max(1, number - lead))
    return tail(file) if offset is None else after(file, offset, with_number=True)


def without_colours(text: str) -> str:
    """A shown line as plain text."""
    return _COLOUR.sub("", text)


def _kept(match: re.Match[str]) -> str:
    return match.group() if _COLOUR.fullmatch(match.group()) else ""


def _end_of_last_line(file: BinaryIO, size: int) -> int:
    """The offset behind the last line end; where the last line is longer than a block, the size."""
    start = max(0, size - BLOCK)
    file.seek(start)
    found = file.read(size - start).rfind(b"\n")
    if found >= 0:
        return start + found + 1
    return 0 if start == 0 else size


def _lines_before(file: BinaryIO, offset: int) -> int:
    file.seek(0)
    count, left = 0, offset
    while left > 0 and (chunk := file.read(min(_CHUNK, left))):
        count += chunk.count(b"\n")
        left -= len(chunk)
    return count


def _offset_of(file: BinaryIO, number: int) -> int | None:
    """Where line `number` begins; None where the file has fewer lines."""
    file.seek(0)
    wanted, offset = number - 1, 0
    while wanted > 0:
        chunk = file.read(_CHUNK)
        if not chunk:
            return None
        here = chunk.count(b"\n")
        if here < wanted:
            wanted -= here
            offset += len(chunk)
            continue
        position = -1
        for _ in range(wanted):
            position = chunk.index(b"\n", position + 1)
        return offset + position + 1
    return offset
