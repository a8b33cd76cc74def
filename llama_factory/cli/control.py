"""`pause`, `resume`, `cancel`, `clone`: what one may do to a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from llama_factory.cli.connection import (
    JobArgument,
    JobArguments,
    JsonOption,
    ProjectOption,
    UrlOption,
    YesOption,
    connected,
)
from llama_factory.cli.exits import ExitCode, code_of, tell
from llama_factory.cli.output import asks_a_person, say, show_json
from llama_factory.errors import CoopError

if TYPE_CHECKING:
    from llama_factory.client import Coop
    from llama_factory.job import Job


def pause(
    jobs: JobArguments,
    keep_memory: Annotated[
        bool,
        typer.Option("--keep-memory", help="Freeze a running job where it stands, memory and all."),
    ] = False,
    project: ProjectOption = None,
    url: UrlOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Hold queued jobs, have running ones give their cards back; says what that costs and asks."""
    with connected(url, project) as coop:
        if not (keep_memory or yes) and asks_a_person() and not _may_pause(coop, jobs):
            raise typer.Exit(ExitCode.ERROR)
        _each(jobs, lambda name: coop.pause(name, keep_memory=keep_memory), json=json)


def resume(
    jobs: JobArguments,
    project: ProjectOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Let paused jobs go on."""
    with connected(url, project) as coop:
        _each(jobs, coop.resume, json=json)


def keep(
    jobs: JobArguments,
    duration: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long, such as 30m or 2h.")
    ] = "2h",
    project: ProjectOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Let running jobs do nothing for a while without being suspended for it."""
    with connected(url, project) as coop:
        _each(jobs, lambda name: coop.keep(name, duration), json=json)


def cancel(
    jobs: JobArguments,
    project: ProjectOption = None,
    url: UrlOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """End jobs for good; asks if one runs."""
    with connected(url, project) as coop:
        if not yes and asks_a_person() and not _may_cancel(coop, jobs):
            raise typer.Exit(ExitCode.ERROR)
        _each(jobs, coop.cancel, json=json)


def clone(
    job: JobArgument,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the copy."),
    ] = None,
    project: ProjectOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Hand in a copy of a job, with changes."""
    from llama_factory.taskbody import parse_changes  # noqa: PLC0415 - start-up cost of yaml

    with connected(url, project) as coop:
        made = coop.clone(job, changes=parse_changes(changes or []))
    _tell(made, json=json)


def _each(names: list[str], act: Callable[[str], Job], *, json: bool) -> None:
    """Act on every name; one that is refused does not keep the others from it."""
    worst = ExitCode.OK
    for name in names:
        try:
            _tell(act(name), json=json)
        except CoopError as error:
            tell(error)
            worst = worst or code_of(error)
    if worst:
        raise typer.Exit(worst)


def _tell(job: Job, *, json: bool) -> None:
    if json:
        show_json(job.raw)
    else:
        typer.echo(f"{job.name}: {job.state.lower()}")


def _may_pause(coop: Coop, names: list[str]) -> bool:
    """Say what it costs and ask; a job that only waits is held without a question."""
    costs = [(name, coop.pause_cost(name)) for name in names]
    dear = [(name, cost) for name, cost in costs if cost["possible"] and cost["cards"]]
    if not dear:
        return True
    for name, cost in dear:
        say(f"{name}: {cost['sentence']}")
    return typer.confirm("Pause?", default=False, err=True)


def _may_cancel(coop: Coop, names: list[str]) -> bool:
    """Ask when work would be lost; a job that only waits is cancelled without a question."""
    lost = [job for job in map(coop.show, names) if job.raw.get("started_at") and not job.ended]
    if not lost:
        return True
    for job in lost:
        say(f"{job.name} is {job.state.lower()}; cancelling ends it for good.")
    return typer.confirm("Cancel?", default=False, err=True)
