"""`help` topics and the shell's completion."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from llama_factory.cli import PROGRAM
from llama_factory.cli.exits import MEANING, ExitCode

COMPLETE_VARIABLE = "_LLAMA_COOP_COMPLETE"

CONFIGURATION = """\
Where a value comes from, the strongest first:
  1. a flag of the command: --url, --project
  2. the environment: LLAMA_COOP_URL, LLAMA_COOP_TOKEN, LLAMA_COOP_PROJECT
  3. .llama-coop.toml in the current directory or above it
  4. config.toml in the user's configuration directory (LLAMA_COOP_CONFIG_DIR)
  5. config.toml in the system's
  6. the service that runs on this machine under your account
Both files have lines such as
  url = "http://server:8900"
  project = "default"
Tokens are kept by `llama-coop login`, never in these files.
Also honoured: NO_COLOR, LLAMA_COOP_NO_COLOR, and LLAMA_COOP_DEBUG=1 for the trace of an error.
`llama-coop config` shows what is in force."""


class Shell(StrEnum):
    """Shells for which completion is available."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


class Topic(StrEnum):
    """What `help` explains beyond the verbs."""

    EXIT_CODES = "exit-codes"
    CONFIGURATION = "configuration"


def show_help(
    context: typer.Context,
    topic: Annotated[Topic | None, typer.Argument(help="What to explain.")] = None,
) -> None:
    """Explain exit codes or configuration.

    Without a topic, list the commands.
    """
    if topic is Topic.EXIT_CODES:
        for code in ExitCode:
            typer.echo(f"{code.value:>3}  {MEANING[code]}")
    elif topic is Topic.CONFIGURATION:
        typer.echo(CONFIGURATION)
    elif context.parent:
        typer.echo(context.parent.get_help())


def completion(
    shell: Annotated[Shell, typer.Argument(help="The shell to complete in.")],
) -> None:
    """Print the completion script of a shell.

    For bash, add this line to ~/.bashrc: eval "$(llama-coop completion bash)"
    """
    from typer import completion as made  # noqa: PLC0415 - start-up cost

    script = made.get_completion_script(  # type: ignore[attr-defined] # public, not in its __all__
        prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, shell=shell.value
    )
    typer.echo(script)


def prepare_completion() -> None:
    """Tell Typer about the shells when one of them asks; it forgets to without `add_completion`."""
    if COMPLETE_VARIABLE in os.environ:
        from typer import completion as made  # noqa: PLC0415 - start-up cost

        made.completion_init()  # type: ignore[attr-defined] # public, not in its __all__
