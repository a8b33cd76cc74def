"""`submit`: show what would happen, ask, hand in, and wait if asked to."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llama_factory.cli import words
from llama_factory.cli.connection import JsonOption, ProjectOption, UrlOption, YesOption, connected
from llama_factory.cli.exits import ExitCode
from llama_factory.cli.output import asks_a_person, say, show_json
from llama_factory.cli.reading import follow_log

if TYPE_CHECKING:
    from llama_factory.client import Coop
    from llama_factory.job import Job


class PriorityName(StrEnum):
    """The article's three priorities."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


PriorityOption = Annotated[PriorityName | None, typer.Option(help="Overrides the file's.")]
ChangesOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a field; may be repeated."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(metavar="YAML", help="A LLaMA-Factory config; becomes the field llamafactory."),
]
DatasetOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A dataset to upload first; .json, .jsonl or .csv."),
]
KeepOption = Annotated[
    bool, typer.Option("--keep-impossible", help="Queue it even if no card of today can hold it.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait for its end; exit with 3 if it fails.")
]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Print its log.")]


def submit(  # noqa: PLR0913, PLR0917 - one parameter is one flag
    task: Annotated[Path, typer.Argument(metavar="TASK", help="The task file, such as task.yaml.")],
    project: ProjectOption = None,
    url: UrlOption = None,
    priority: PriorityOption = None,
    changes: ChangesOption = None,
    config: ConfigOption = None,
    dataset_file: DatasetOption = None,
    keep_impossible: KeepOption = False,
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    follow: FollowOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Hand in a job.

    Shows first where it fits and what its place in the queue will be.
    """
    from llama_factory.taskbody import parse_changes  # noqa: PLC0415 - start-up cost of yaml

    wanted = parse_changes(changes or []) | ({"priority": priority.value} if priority else {})
    with connected(url, project) as coop:
        if dataset_file:
            wanted.setdefault("dataset", dataset_file.stem)
            if not dry_run:
                _upload(coop, dataset_file, wanted["dataset"])
        asked: dict[str, Any] = {
            "config": config,
            "changes": wanted,
            "keep_impossible": keep_impossible,
        }
        if dry_run or not json:
            _show_plan(coop.plan(task, **asked), json=json)
        if dry_run:
            return
        if not yes and asks_a_person() and not typer.confirm("Submit?", default=True, err=True):
            raise typer.Exit(ExitCode.ERROR)
        job = coop.submit(task, **asked)
        _report(job, json=json and not wait)
        _stay(coop, job, follow=follow, wait=wait, json=json)


def _upload(coop: Coop, path: Path, name: str) -> None:
    def told(sent: int, size: int) -> None:
        say(f"{path.name}: {sent * 100 // size} % of {words.card_size(size)}")

    dataset = coop.upload_dataset(path, name=name, told=told)
    say(
        f"Dataset {dataset['name']} v{dataset['version']}: {dataset['rows']} rows, {dataset['format']}"
    )


def _show_plan(plan: Mapping[str, Any], *, json: bool) -> None:
    if json:
        show_json(plan)
        return
    for line in plan_lines(plan):
        say(line)


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """A dry run's answer as text: needs, cards, place, warnings."""
    fits = [card["gpu"] for card in plan["cards"] if card["fits_now"]]
    lines = [f"{plan['task_id']} in project {plan['project']}: needs {words.needs(plan)}"]
    if plan.get("estimate"):
        lines.append(f"Memory: {plan['estimate']['sentence']}")
    lines.append(f"Fits now on: {', '.join(fits) if fits else 'no card'}")
    if plan.get("active"):
        lines.append(f"The same job is {plan['active']['state'].lower()} already; nothing changes.")
    elif not plan["starts_now"]:
        lines += _waits(plan)
    lines += [f"Warning: {warning['detail']}" for warning in plan["warnings"]]
    return lines


def _waits(plan: Mapping[str, Any]) -> list[str]:
    """Where it would stand, why it would not start at once, and when it would."""
    place = plan["position"] or "far back"
    lines = [f"Position in the queue: {place}", (plan.get("why") or {}).get("sentence")]
    start = words.start(plan, words.now())
    return [line for line in (*lines, start and f"Expected start: {start}") if line]


def _report(job: Job, *, json: bool) -> None:
    if json:
        show_json(job.raw)
        return
    verb = "Submitted" if job.created else "Already there:"
    place = f", position {job.position}" if job.position else ""
    say(f"{verb} {job.name} ({job.state.lower()}{place}). Its page: {job.url}")
    say(f"Follow it with: llama-coop logs -f {job.name}")


def _stay(coop: Coop, job: Job, *, follow: bool, wait: bool, json: bool) -> None:
    """Follow the log or wait for the end, where that was asked for."""
    if follow:
        follow_log(coop, job.id, follow=True)
    if not wait:
        return
    ended = coop.wait(job.id)
    if json:
        show_json(ended.raw)
    else:
        say(f"{ended.name} {ended.state.lower()}: {ended.detail or ended.reason or '-'}")
    if ended.state != "SUCCEEDED":
        raise typer.Exit(ExitCode.JOB_FAILED)
