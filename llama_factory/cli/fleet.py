"""`top` and `monitor`: the cards and the jobs, once or again and again."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from llama_factory.cli.connection import JsonOption, ProjectOption, UrlOption, connected
from llama_factory.cli.output import say, show, show_json


def top(url: UrlOption = None, json: JsonOption = False) -> None:
    """Show the cards once, and who holds them."""
    from llama_factory.cli.tables import cards_table  # noqa: PLC0415 - start-up cost of rich

    with connected(url) as coop:
        fleet = coop.gpus()
    if json:
        show_json(fleet)
    elif fleet["items"]:
        show(cards_table(fleet["items"]))
    else:
        say("No cards are known yet. `llama-coop doctor` says why.")


def monitor(
    refresh: Annotated[
        float, typer.Option(min=0.5, max=3600, metavar="SECONDS", help="Pause between two looks.")
    ] = 5.0,
    project: ProjectOption = None,
    url: UrlOption = None,
) -> None:
    """Watch cards and jobs on the full screen.

    q or Ctrl-C ends it. Piped, it prints one look and ends.
    """
    from llama_factory.monitor import frame, watch  # noqa: PLC0415 - start-up cost of rich

    with connected(url, project) as coop:
        if sys.stdout.isatty():
            watch(coop, refresh)
        else:
            show(frame(coop))
