"""`serve`: hand over to the server, which is a part of its own."""

from __future__ import annotations

import os
import sys

import typer

from llama_factory.cli.exits import ExitCode
from llama_factory.cli.output import say


def serve(context: typer.Context) -> None:
    """Run the central service on this machine.

    `llama-coop serve --help` lists its flags.
    """
    from llama_factory.bootstrap import server_missing  # noqa: PLC0415 - start-up cost

    if missing := server_missing():
        say(f"Error: {missing}")
        raise typer.Exit(ExitCode.ERROR)
    # The server takes this process over: signals and exit codes are its own.
    os.execv(  # noqa: S606 - an argument list, no shell
        sys.executable, [sys.executable, "-m", "coop_site.serve", *context.args]
    )
