"""`list`, `show`, `events`, `logs`: what one may know about jobs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.core.states import JobState
from llama_factory.cli import words
from llama_factory.cli.connection import (
    JobArgument,
    JsonOption,
    ProjectOption,
    UrlOption,
    connected,
)
from llama_factory.cli.output import say, show_json, write
from llama_factory.cli.output import show as print_parts

if TYPE_CHECKING:
    from llama_factory.client import Coop
    from llama_factory.job import Job


def list_jobs(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Ended jobs too.")] = False,
    mine: Annotated[bool, typer.Option("--mine", help="Only your own.")] = False,
    states: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help="Only in this state; may be repeated."),
    ] = None,
    project: ProjectOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """List the unfinished jobs and your last finished one."""
    with connected(url, project) as coop:
        jobs = coop.list(state=states, mine=mine, all=everything)
        if not (everything or states):
            jobs += coop.list(state="ended", mine=True, limit=1)
    if json:
        show_json({"items": [job.raw for job in jobs], "next_cursor": None})
    elif jobs:
        _print_jobs(sorted(jobs, key=_place), owners=not mine)
    else:
        say("No jobs. Hand one in with: llama-coop submit task.yaml")


def show(
    job: JobArgument,
    project: ProjectOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Show one job: its state, needs, cards and end."""
    with connected(url, project) as coop:
        found = coop.show(job)
        preempted = [] if json else _preemptions(coop, job, found.raw)
    if json:
        show_json(found.raw)
        return
    for name, value in _facts(found.raw, preempted):
        typer.echo(f"{name:<12} {value}")


def events(
    job: JobArgument,
    project: ProjectOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Tell what happened to a job, oldest first."""
    with connected(url, project) as coop:
        told = coop.events(job)
    if json:
        show_json({"items": told, "next_cursor": None})
        return
    for event in told:
        typer.echo(event_line(event))


def logs(
    job: JobArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option(min=0, metavar="LINES", help="Begin with the last LINES lines.")
    ] = None,
    attempt: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="That attempt; default: the latest.")
    ] = None,
    project: ProjectOption = None,
    url: UrlOption = None,
) -> None:
    """Print a job's log."""
    with connected(url, project) as coop:
        follow_log(coop, job, follow=follow, tail=tail, attempt=attempt)


def follow_log(
    coop: Coop, name: str, *, follow: bool, tail: int | None = None, attempt: int | None = None
) -> None:
    """Pass a job's log through to stdout, as it comes."""
    write(coop.logs(name, follow=follow, tail=tail, attempt=attempt))


def event_line(event: Mapping[str, Any]) -> str:
    """One thing that happened: when, what, by whom, where it led, and why."""
    moved = event["new_state"] != event["old_state"]
    parts = [
        f"by {event['actor']}" if event["actor"] else "",
        f"attempt {event['attempt']}" if event["attempt"] else "",
        event["detail"] or event["reason"] or "",
    ]
    state = event["new_state"] if moved else ""
    return (
        f"{event['at']}  {event['kind']:<9} {state:<10} {', '.join(filter(None, parts))}".rstrip()
    )


def _print_jobs(jobs: list[Job], *, owners: bool) -> None:
    from llama_factory.cli.tables import jobs_table  # noqa: PLC0415 - start-up cost of rich

    print_parts(jobs_table([job.raw for job in jobs], words.now(), owners=owners))


def _place(job: Job) -> tuple[bool, bool, int, str]:
    """Those on cards first, then the queue in its order, then the held ones; ended ones last."""
    waits = not job.raw.get("started_at")
    at = str(job.raw.get("started_at") or job.raw["submitted_at"])
    return job.ended, waits, job.position or sys.maxsize, at


def _preemptions(coop: Coop, name: str, job: Mapping[str, Any]) -> list[str]:
    """What is to be said of the times when the job gave way; asked for only where that can have been."""
    waits = job["state"] in {JobState.QUEUED, JobState.SUSPENDING}
    if not job["attempts"] or (job["attempts"] == 1 and not waits):
        return []
    told = [event for event in coop.events(name) if event.get("preemption")]
    under_way = job["state"] == JobState.SUSPENDING
    return [
        event["detail"]
        for event in told
        if not event["preemption"]["expected"] or (under_way and event is told[-1])
    ]


def _facts(job: Mapping[str, Any], preempted: Sequence[str] = ()) -> list[tuple[str, str]]:
    """The lines of `show`, without those that have nothing to say."""
    now = words.now()
    facts: list[tuple[str, Any]] = [
        ("job", f"{job['task_id']}#{job['run']} ({job['id']})"),
        ("project", f"{job['project']}, by {job['owner']}, priority {job['priority']}"),
        ("state", words.STATES[job["state"]][0]),
        ("why", (job.get("why") or {}).get("sentence")),
        ("position", job.get("position")),
        ("needs", words.needs(job)),
        ("cards", ", ".join(_allocation(item) for item in job["allocations"])),
        ("progress", words.progress(job.get("progress") or {})),
        ("idle", (job.get("idle") or {}).get("sentence")),
        ("expected", words.start(job, now) or words.expected(job, now).removeprefix("-")),
        ("submitted", job["submitted_at"]),
        ("started", job.get("started_at")),
        ("finished", job.get("finished_at")),
        ("attempts", job.get("attempts")),
        *(("gave way", sentence) for sentence in preempted),
        ("outcome", _ending(job)),
        *_failure(job.get("failure") or {}),
        ("page", job.get("url")),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _failure(failure: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Why memory ran out, and what to change, each with the memory before and after."""
    return [
        ("diagnosis", failure.get("diagnosis")),
        ("advice", failure.get("advice")),
        *(("remedy", _remedy(each)) for each in failure.get("remedies", ())),
    ]


def _remedy(remedy: Mapping[str, Any]) -> str:
    sets = " ".join(f"--set {quote(f'{name}={text}')}" for name, text in remedy["changes"].items())
    return f"{sets}\n{'':<13}{remedy['sentence']}"


def _allocation(item: Mapping[str, Any]) -> str:
    booked, asked = item["booked_bytes"], item.get("asked_bytes") or item["booked_bytes"]
    told = f"gpu{item['index']} on {item['node']}, {words.card_size(booked)} booked"
    if booked == asked:
        return told
    return f"{told} (as measured; {words.card_size(asked)} asked)"


def _ending(job: Mapping[str, Any]) -> str:
    if not job.get("outcome"):
        return ""
    code = "" if job.get("exit_code") is None else f" (exit code {job['exit_code']})"
    return f"{job['outcome']}{code}: {job.get('detail') or job.get('reason') or ''}".rstrip(": ")
