"""Raw log bytes become the lines that a terminal would show in the end."""

from __future__ import annotations

import io

import pytest

from jobs.views import logtext
from jobs.views.logtext import shown


def a_log(*lines: str, end: str = "\n") -> io.BytesIO:
    return io.BytesIO(("\n".join(lines) + end).encode())


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"plain", "plain"),
        (b"10%\r20%\r30%", "30%"),
        (b"30%\r", "30%"),
        (b"windows\r", "windows"),
        (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        (b"\x1b[2K\x1b[1Aup", "up"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"bell\x07back\x08", "bellback"),
        (b"tab\tstays", "tab\tstays"),
        ("中文".encode(), "中文"),
        (b"\xff\xfe", "��"),
        (b"", ""),
    ],
)
def test_a_line_reads_as_it_does_in_the_end(raw, line):
    assert shown(raw) == line


def test_a_line_without_end_is_cut():
    assert len(shown(b"x" * 100_000)) < 9000


def test_the_tail_is_numbered_from_the_beginning_of_the_file():
    log = a_log(*(f"line {n}" for n in range(1, 2501)))
    block = logtext.tail(log)
    assert block.lines[-1] == "line 2500"
    assert block.lines[0] == f"line {block.first}"
    assert len(block.lines) == logtext.MOST_LINES


def test_an_unfinished_line_comes_apart_from_the_whole_ones():
    block = logtext.tail(a_log("one", "two", " 50%|#####", end=""))
    assert block.lines == ("one", "two")
    assert block.partial == " 50%|#####"


def test_going_on_from_the_end_brings_what_was_added_and_nothing_twice():
    log = a_log("one", "tw", end="")
    first = logtext.tail(log)
    log.seek(0, 2)
    log.write(b"o\nthree\n")
    block = logtext.after(log, first.end)
    assert block.lines == ("two", "three")
    assert block.partial == ""


def test_going_back_brings_the_lines_before_and_their_number_can_be_counted():
    log = a_log(*(f"line {n}" for n in range(1, 2501)))
    last = logtext.tail(log)
    earlier = logtext.before(log, last.start)
    assert earlier.lines[-1] == f"line {last.first - 1}"
    assert len(earlier.lines) == logtext.MOST_LINES
    assert logtext.before(log, earlier.start).lines[0] == "line 1"


def test_a_line_is_found_by_its_number():
    log = a_log(*(f"line {n}" for n in range(1, 501)))
    block = logtext.around(log, 250)
    assert block.first == 150
    assert block.lines[0] == "line 150"


def test_a_number_behind_the_end_shows_the_end():
    assert logtext.around(a_log("one", "two"), 900).lines == ("one", "two")


def test_an_empty_log_has_no_lines():
    block = logtext.tail(io.BytesIO(b""))
    assert block.lines == ()
    assert block.partial == ""


def test_a_log_of_one_endless_line_ends_the_reading():
    log = io.BytesIO(b"x" * (3 * logtext.BLOCK))
    block = logtext.tail(log)
    assert block.end == 3 * logtext.BLOCK or block.partial
    assert logtext.after(log, 0).end > 0


def test_every_line_is_shown_exactly_once_whatever_the_blocks():
    log = a_log(*(f"{n:05d} " + "x" * (n % 3000) for n in range(1200)))
    seen, offset = [], 0
    while (block := logtext.after(log, offset)).lines:
        seen += [line[:5] for line in block.lines]
        offset = block.end
    assert seen == [f"{n:05d}" for n in range(1200)]
