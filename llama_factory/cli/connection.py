"""The client of one command: configuration plus the flags that every command shares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from llama_factory.client import Coop

ProjectOption = Annotated[
    str | None,
    typer.Option("--project", "-p", metavar="PROJECT", help="The project to work in."),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The service, such as http://server:8900."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the API's own objects.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@contextmanager
def connected(url: str | None, project: str | None = None) -> Iterator[Coop]:
    """A client for the service that flags, environment or files name."""
    # Start-up cost: requests is loaded by commands that connect, not by help and completion.
    from llama_factory.bootstrap import open_client  # noqa: PLC0415
    from llama_factory.config import read_config  # noqa: PLC0415

    with open_client(read_config(url=url, project=project)) as coop:
        yield coop


def complete_job(incomplete: str) -> list[str]:
    """Names of unfinished jobs for the shell's completion; none where no service answers."""
    from llama_factory.errors import CoopError  # noqa: PLC0415 - start-up cost

    try:
        with connected(None) as coop:
            names = [job.name for job in coop.list(limit=100)]
    except CoopError:
        return []
    return [name for name in names if name.startswith(incomplete)]


JobArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="task_id (its latest run), task_id#run, or the public id.",
        autocompletion=complete_job,
    ),
]
JobArguments = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...",
        help="task_id (its latest run), task_id#run, or the public id.",
        autocompletion=complete_job,
    ),
]
