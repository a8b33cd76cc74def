"""JSON values of a dataset, read strictly; a list is read element by element, however long it is."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from jobs.core.datasetproblems import LARGEST_ROW, UnreadableError, not_utf8, too_large


def parse_json(text: str, row: int) -> Any:
    """One JSON value, strictly: no key twice, no half of a surrogate pair, no text after it."""
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(row, json_message(error)) from error
    refuse_lone_surrogates(value, text, row)
    return value


def json_message(error: Exception) -> str:
    """A sentence for what the JSON reader met."""
    if isinstance(error, RecursionError):
        return "the value is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON: {error.msg} at character {error.colno}"
    return f"not valid JSON: {error}"


def refuse_lone_surrogates(value: Any, text: str, row: int) -> None:
    """Refuses half of a surrogate pair, which JSON can escape but Arrow cannot load."""
    if "\\ud" not in text and "\\uD" not in text:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise UnreadableError(row, json_message(error)) from error
    except UnicodeEncodeError as error:
        message = "a \\ud800-style escape is half of a character; write the character itself"
        raise UnreadableError(row, message) from error


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} appears twice in one object")
    return found


def _skip_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(object_pairs_hook=_no_key_twice)


def json_list(chunks: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
    """The elements of a top-level JSON list, each read as soon as it is complete."""
    source = _Text(chunks)
    source.next_character()
    source.position += 1  # the opening bracket, seen by the caller
    row = 0
    while True:
        following = source.next_character()
        if following == "]" and row == 0:
            break
        row += 1
        source.row = row
        yield row, source.value()
        following = source.next_character()
        if following == "]":
            break
        if following != ",":
            wrong = f"{following!r}" if following else "the end of the file"
            raise UnreadableError(row, f"expected ',' or ']' after the row, got {wrong}")
        source.position += 1
        if source.next_character() == "]":
            raise UnreadableError(row, "there is a ',' before the closing ']'; remove it")
    source.position += 1
    if source.next_character():
        raise UnreadableError(row, "there is text after the closing ']' of the list")


class _Text:
    """Decoded text with a reading position; what lies behind the position is dropped."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._ended = False
        self.buffer = ""
        self.position = 0
        self.row = 1

    def next_character(self) -> str:
        """The next character that is no space, not yet consumed; "" at the end of the file."""
        while True:
            self.position = _skip_space(self.buffer, self.position)
            if self.position < len(self.buffer):
                return self.buffer[self.position]
            if not self.more():
                return ""

    def value(self) -> Any:
        """The JSON value that begins at the position; reads on until it is complete."""
        wanted = 0
        while True:
            try:
                value, end = _DECODER.raw_decode(self.buffer, self.position)
            except (ValueError, RecursionError) as error:
                wanted = self._read_on_or_raise(error, wanted)
                continue
            if end == len(self.buffer) and self.more():  # "12" may go on as "123"
                continue
            refuse_lone_surrogates(value, self.buffer[self.position : end], self.row)
            self.position = end
            return value

    def _read_on_or_raise(self, error: Exception, wanted: int) -> int:
        """Reads twice as much as is held, so that a large row costs linear time; raises what is final."""
        held = len(self.buffer) - self.position
        if held > LARGEST_ROW:
            raise UnreadableError(self.row, too_large()) from error
        if not self._may_be_incomplete(error) or not self.more():
            raise UnreadableError(self.row, self._message(error)) from error
        wanted = max(2 * held, wanted)
        while len(self.buffer) - self.position < wanted and self.more():
            pass
        return wanted

    def _may_be_incomplete(self, error: Exception) -> bool:
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated string") or error.pos > len(self.buffer) - 16

    def _message(self, error: Exception) -> str:
        if (
            isinstance(error, json.JSONDecodeError)
            and self._ended
            and self._may_be_incomplete(error)
        ):
            return "not valid JSON: the file ends inside this row"
        if isinstance(error, json.JSONDecodeError):
            return f"not valid JSON: {error.msg} at character {error.pos - self.position + 1} of the row"
        return json_message(error)

    def more(self) -> bool:
        """Decodes one more chunk; False at the end of the file."""
        if self._ended:
            return False
        raw = next(self._chunks, None)
        self._ended = raw is None
        try:
            text = self._decoder.decode(raw or b"", final=self._ended)
        except UnicodeDecodeError as error:
            raise UnreadableError(self.row, not_utf8(error.object, error)) from error
        self.buffer = self.buffer[self.position :] + text
        self.position = 0
        return not self._ended
