"""A row of a dataset as the conversation that a model is trained on. Pure: rows in, turns out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "function_call": "tool call",
    "observation": "tool",
    "tool": "tool",
}


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Who says what."""

    speaker: str
    text: str


def conversation(row: Mapping[str, Any]) -> list[Turn]:
    """The turns of an alpaca, sharegpt or openai row; of another row none."""
    return [turn for turn in _turns(row) if turn.text]


def _turns(row: Mapping[str, Any]) -> Iterator[Turn]:
    if row.get("system"):
        yield Turn(speaker="system", text=_text(row["system"]))
    messages = row.get("conversations") or row.get("messages")
    if isinstance(messages, list):
        yield from (_message(each) for each in messages if isinstance(each, Mapping))
    elif "instruction" in row:
        yield from _alpaca(row)


def _alpaca(row: Mapping[str, Any]) -> Iterator[Turn]:
    for pair in row.get("history") or []:
        if isinstance(pair, list) and len(pair) == 2:
            yield Turn(speaker="user", text=_text(pair[0]))
            yield Turn(speaker="assistant", text=_text(pair[1]))
    asked = [_text(row.get(name)) for name in ("instruction", "input")]
    yield Turn(speaker="user", text="\n".join(part for part in asked if part))
    yield Turn(speaker="assistant", text=_text(row.get("output")))


def _message(message: Mapping[str, Any]) -> Turn:
    speaker = _text(message.get("from") or message.get("role"))
    return Turn(
        speaker=_SPEAKERS.get(speaker, speaker),
        text=_text(message.get("value") or message.get("content")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
