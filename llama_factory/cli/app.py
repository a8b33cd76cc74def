"""The list of verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from jobs.core.version import __version__
from llama_factory.cli import (
    account,
    control,
    doctor,
    explaining,
    fleet,
    reading,
    report,
    service,
    simulate,
    submit,
    topics,
)

HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"]}

VERBS: dict[str, Callable[..., None]] = {
    "submit": submit.submit,
    "list": reading.list_jobs,
    "show": reading.show,
    "why": explaining.why,
    "events": reading.events,
    "logs": reading.logs,
    "pause": control.pause,
    "resume": control.resume,
    "keep": control.keep,
    "cancel": control.cancel,
    "clone": control.clone,
    "monitor": fleet.monitor,
    "top": fleet.top,
    "report": report.report,
    "login": account.login,
    "logout": account.logout,
    "whoami": account.whoami,
    "config": account.config,
    "doctor": doctor.doctor,
    "simulate": simulate.simulate,
    "completion": topics.completion,
    "help": topics.show_help,
}

ALIASES = {"ls": "list", "ps": "list", "stop": "cancel", "rm": "cancel"}
"""What users of other schedulers type; not shown in the list of commands."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,  # `llama-coop completion` does it, without writing to anybody's ~/.bashrc
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help and usage errors: scripts read them, too
    context_settings={"help_option_names": []},  # see `root`
    epilog="Exit codes: llama-coop help exit-codes",
)


def _print_help(context: typer.Context, wanted: bool) -> None:
    if wanted:
        typer.echo(context.get_help())
        raise typer.Exit


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llama-coop {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    show_help: Annotated[
        bool,
        typer.Option("--help", "-h", callback=_print_help, is_eager=True, help="Print this."),
    ] = False,
) -> None:
    """Share a team's GPU servers: hand in fine-tuning jobs, watch them, know why they wait."""
    # Plain flags only, and `--help` our own: Typer loads pydantic for any other kind of option,
    # which would double the time that a shell waits for the completion of a verb.
    del version, show_help  # their callbacks have done the work


for _name, _verb in VERBS.items():
    app.command(_name, context_settings=HELP)(_verb)
for _alias, _name in ALIASES.items():
    app.command(_alias, hidden=True, context_settings=HELP)(VERBS[_name])
app.command(
    "serve",
    add_help_option=False,  # the server explains its flags itself
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)(service.serve)
