"""Data to stdout, talk to stderr; colour and cutting only where a person looks at it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

UNCUT_COLUMNS = 10_000


def console() -> Console:
    """Where data goes. Piped: no colour and nothing cut, so that a script sees everything."""
    from rich.console import Console  # noqa: PLC0415 - start-up cost

    seen = sys.stdout.isatty()
    return Console(
        width=None if seen else UNCUT_COLUMNS,
        no_color=True if _colourless() else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def show(*parts: RenderableType) -> None:
    """Print to stdout; trailing spaces, with which a table fills its last column, are cut off."""
    target = console()
    with target.capture() as captured:
        for part in parts:
            target.print(part)
    for line in captured.get().splitlines():
        sys.stdout.write(f"{line.rstrip()}\n")
    sys.stdout.flush()


def show_json(value: Any) -> None:
    """Print the API's own object to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def say(text: str) -> None:
    """Tell the person something that is not the data."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def write(pieces: Iterable[str]) -> None:
    """Pass a log through as it comes."""
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()


def asks_a_person() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _colourless() -> bool:
    return bool(os.environ.get("LLAMA_COOP_NO_COLOR") or os.environ.get("NO_COLOR"))
