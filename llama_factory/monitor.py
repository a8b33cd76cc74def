"""The full-screen view of `llama-coop monitor`: cards above, jobs below, drawn again every few seconds."""

from __future__ import annotations

import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from llama_factory.cli import words
from llama_factory.cli.output import console
from llama_factory.cli.tables import cards_table, jobs_table
from llama_factory.errors import CoopError, NotAllowed, NotSignedIn

if TYPE_CHECKING:
    from llama_factory.client import Coop


def watch(coop: Coop, refresh: float) -> None:
    """Draw until the person presses q or Ctrl-C. A service that is away is waited for."""
    with _keys() as pressed, Live(console=console(), screen=True, auto_refresh=False) as live:
        try:
            while True:
                live.update(_current(coop, refresh), refresh=True)
                if pressed(refresh) in {"q", "Q"}:
                    return
        except KeyboardInterrupt:
            return


def frame(coop: Coop) -> Group:
    """One look: cards, a line between, jobs."""
    cards = coop.gpus()["items"]
    jobs = [job.raw for job in coop.list(limit=200)]
    return Group(
        cards_table(cards) if cards else Text("No cards are known yet.", style="yellow"),
        Text(""),
        jobs_table(jobs, words.now(), owners=True) if jobs else Text("No unfinished jobs."),
    )


def _current(coop: Coop, refresh: float) -> Any:
    """The frame with its head line; on a failure the head line says what is wrong."""
    head = f"llama-coop {coop.url}  every {refresh:g} s  {time.strftime('%H:%M:%S')}  q quits"
    try:
        return Group(Text(head, style="bold"), Text(""), frame(coop))
    except (NotSignedIn, NotAllowed):
        raise
    except CoopError as error:
        return Group(Text(head, style="bold"), Text(""), Text(str(error), style="red"))


@contextmanager
def _keys() -> Iterator[Any]:
    """A function that waits so many seconds for a key and returns it, or an empty text."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield _key
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _key(seconds: float) -> str:
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return sys.stdin.read(1) if ready else ""


def _no_key(seconds: float) -> str:
    time.sleep(seconds)
    return ""
