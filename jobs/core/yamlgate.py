"""The gate in front of YAML: a small, flat, plain document comes through as a tree of texts; all else is refused.

YAML's own loaders are not safe on input from strangers: nesting ends the C loader with a segmentation fault,
476 bytes of merge keys cost the other one eleven seconds, `no` becomes a false and `1:1:1` becomes 3661, and the
second of two equal keys silently wins. So this gate reads *events* with the pure Python parser, stops at the
first that a task file has no use for, and keeps every scalar as the text it is, with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml
from yaml.events import (
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.scanner import Scanner

from jobs.core.problems import (
    PRINTABLE_HINT,
    Problem,
    TaskFileError,
    shortened,
    unprintable,
)

MAX_DEPTH = 8
MAX_EVENTS = 500

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class TextNode:
    """A scalar, as the text that was written; `plain` when it stood without quotes and not in a block."""

    text: str
    plain: bool
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ListNode:
    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One key of a mapping with its value."""

    key: str
    value: Node
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MappingNode:
    entries: tuple[Entry, ...]
    line: int


Node = TextNode | ListNode | MappingNode


def read_document(source: str | bytes, *, limit: int, what: str = "task file") -> MappingNode:
    """The one mapping that a YAML document of at most `limit` bytes holds.

    Raises:
        TaskFileError: for every input that is not such a document; nothing else is ever raised.
    """
    text = _decoded(source, limit, what)
    try:
        return _Builder(_GateLoader(text), what).document()
    except TaskFileError:
        raise
    except yaml.YAMLError as error:
        raise TaskFileError([_syntax_problem(error, text)]) from None
    except (ArithmeticError, LookupError, RecursionError, ValueError):
        # PyYAML lets these out, for example for the escape "\UFFFFFFFF", which is no character.
        hint = "check the escapes inside double quotes, or use single quotes"
        raise TaskFileError([_whole(f"the {what} cannot be read as YAML", hint)]) from None


def _decoded(source: str | bytes, limit: int, what: str) -> str:
    raw = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")
    if len(raw) > limit:
        message = f"the {what} has {len(raw)} bytes"
        hint = f"allowed are at most {limit}; move long scripts and data into files of their own"
        raise TaskFileError([_whole(message, hint)])
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"the {what} is not UTF-8 text (byte {error.start})"
        hint = "save it as UTF-8 without other encodings, for example in your editor's Save as"
        raise TaskFileError([Problem(line=line, field="", message=message, hint=hint)]) from None


class _GateLoader(Reader, Scanner, Parser):
    """PyYAML's pure Python reader of events, which refuses what the gate does not let through.

    Refusing at the token, before the event, matters: for an unclosed flow collection the scanner runs up to
    1,024 characters ahead of its events, and its cost per token grows with the depth.
    """

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)

    def events(self) -> Iterator[Event]:
        while self.check_event():
            yield self.get_event()  # type: ignore[no-untyped-call] # the stub lacks it

    def fetch_flow_collection_start(self, TokenClass: type) -> None:  # noqa: N803 (PyYAML's name)
        if self.flow_level >= MAX_DEPTH:
            raise _refusal(self.line + 1, *_TOO_DEEP)
        super().fetch_flow_collection_start(TokenClass)

    def fetch_anchor(self) -> None:
        raise _refusal(self.line + 1, "an anchor (&) is used", _REPEAT_HINT)

    def fetch_alias(self) -> None:
        raise _refusal(self.line + 1, "an alias (*) is used", _REPEAT_HINT)

    def fetch_tag(self) -> None:
        hint = "tags are not allowed: leave it out, or put quotes around a text that begins with !"
        raise _refusal(self.line + 1, "a tag (!) is used", hint)

    def fetch_directive(self) -> None:
        hint = "directives are not allowed: leave the line out"
        raise _refusal(self.line + 1, "a directive (%) is used", hint)


class _Builder:
    """Builds the tree from the events of one document, and counts them."""

    def __init__(self, loader: _GateLoader, what: str) -> None:
        self._events = loader.events()
        self._seen = 0
        self._what = what
        self._problems: list[Problem] = []

    def document(self) -> MappingNode:
        self._next()  # the start of the stream
        if isinstance(self._next(), StreamEndEvent):
            hint = "allowed is a mapping of fields: begin with a line such as task_id: my_run_001"
            raise TaskFileError([_whole(f"the {self._what} is empty", hint)])
        root = self._node(self._next(), depth=0, field="")
        self._next()  # the end of the document
        after = self._next()
        if isinstance(after, DocumentStartEvent):
            hint = "allowed is one document a file: hand in the second one as a file of its own"
            raise _refusal(_line(after), "a second document begins (---)", hint)
        if not isinstance(root, MappingNode):
            hint = "allowed is a mapping: write one field a line, such as task_id: my_run_001"
            raise _refusal(root.line, f"the {self._what} is not a mapping of fields", hint)
        if self._problems:
            raise TaskFileError(self._problems)
        return root

    def _next(self) -> Event:
        event = next(self._events)
        self._seen += 1
        if self._seen > MAX_EVENTS:
            message = f"the {self._what} has too many parts"
            hint = f"allowed are {MAX_EVENTS} keys, values and brackets: leave some out"
            raise _refusal(_line(event), message, hint)
        return event

    def _node(self, event: Event, *, depth: int, field: str) -> Node:
        if isinstance(event, ScalarEvent):
            return TextNode(text=_checked(event, field), plain=event.implicit[0], line=_line(event))
        if depth >= MAX_DEPTH:
            raise _refusal(_line(event), *_TOO_DEEP)
        if isinstance(event, SequenceStartEvent):
            return self._list(event, depth=depth + 1, field=field)
        return self._mapping(event, depth=depth + 1, field=field)

    def _list(self, start: Event, *, depth: int, field: str) -> ListNode:
        items: list[Node] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            items.append(self._node(event, depth=depth, field=f"{field}[{len(items)}]"))
        return ListNode(items=tuple(items), line=_line(start))

    def _mapping(self, start: Event, *, depth: int, field: str) -> MappingNode:
        entries: dict[str, Entry] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            key, line = self._key(event), _line(event)
            dotted = f"{field}.{key}" if field else key
            value = self._node(self._next(), depth=depth, field=dotted)
            if key in entries:
                message = (
                    f"{shortened(key)} is given twice, in lines {entries[key].line} and {line}"
                )
                hint = "allowed is each field once: leave one of them out"
                self._problems.append(Problem(line=line, field=dotted, message=message, hint=hint))
            entries[key] = Entry(key=key, value=value, line=line)
        return MappingNode(entries=tuple(entries.values()), line=_line(start))

    def _key(self, event: Event) -> str:
        if not isinstance(event, ScalarEvent):
            raise _refusal(_line(event), "a list or mapping is used as a key", "write a plain name")
        if event.value == "<<" and event.implicit[0]:
            raise _refusal(_line(event), "a merge key (<<) is used", _REPEAT_HINT)
        return _checked(event, "")


def _checked(event: ScalarEvent, field: str) -> str:
    """The scalar's text, with pairs of surrogate escapes (JSON's way) joined and control characters refused."""
    text = event.value
    if _SURROGATE.search(text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    if wrong := unprintable(text):
        raise _refusal(_line(event), wrong, PRINTABLE_HINT, field)
    return text


_TOO_DEEP = (
    "brackets or blocks are nested too deeply",
    f"allowed are {MAX_DEPTH} levels: use a flatter form",
)
_REPEAT_HINT = (
    "anchors, aliases and merge keys are not allowed: write the value out where it is used"
)

_SYNTAX_HINTS = (
    (
        "cannot start any token",
        "indent with spaces, never with tabs, and quote values such as '@x'",
    ),
    (
        "mapping values are not allowed",
        "put quotes around a value that contains ': ', and check the indentation",
    ),
    (
        "could not find expected ':'",
        "each line needs a name, a colon and a space: check the line above too",
    ),
    ("expected <block end>", "lines of one level must be indented alike: check the indentation"),
    ("while scanning a quoted scalar", "close the quotes"),
    ("expected ',' or", "close the brackets, and put a comma between values"),
    (
        "special characters are not allowed",
        PRINTABLE_HINT,
    ),
)


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    if isinstance(error, ReaderError):
        line: int | None = text.count("\n", 0, error.position) + 1
        said = f"{error.reason} ({chr(int(error.character))!r})"
    elif isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        line, said = (
            error.problem_mark.line + 1,
            ", ".join(filter(None, (error.context, error.problem))),
        )
    else:
        line, said = None, str(error)
    hints = [hint for part, hint in _SYNTAX_HINTS if part in said]
    hint = hints[0] if hints else "check the line's indentation, quotes and colons"
    return Problem(line=line, field="", message=f"not valid YAML: {said}", hint=hint)


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _refusal(line: int, message: str, hint: str, field: str = "") -> TaskFileError:
    return TaskFileError([Problem(line=line, field=field, message=message, hint=hint)])


def _whole(message: str, hint: str) -> Problem:
    return Problem(line=None, field="", message=message, hint=hint)
