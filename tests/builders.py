"""Worlds as data: cards, waiting jobs and projects for tests of the pure core, with little to say for each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from jobs.core.plan import Placement, Plan, WaitCode
from jobs.core.snapshot import DeviceView, JobView, Limits, ProjectView, RunView, Snapshot
from jobs.core.states import Priority
from jobs.core.units import GIB, parse_size

NOW = 1_800_000_000.0


def size(given: str | int) -> int:
    """Bytes; "0" for none."""
    if isinstance(given, int):
        return given
    return 0 if given == "0" else parse_size(given)


def card(
    index: int = 0,
    *,
    name: str = "NVIDIA A100-SXM4-80GB",
    total: str | int = "80G",
    foreign: str | int = "0",
    booked: str | int = "0",
    measured: str | int | None = "rest",
    node: str = "node-a",
    **fields: Any,
) -> DeviceView:
    """A card with 2 GiB of safety; what bookings and strangers leave is measured free, unless said otherwise."""
    whole, strange, ours = size(total), size(foreign), size(booked)
    rest = whole - strange - ours
    fields = {"safety": 2 * GIB, "holders": 1 if ours else 0} | fields
    return DeviceView(
        uuid=f"{node}-gpu{index}",
        node=node,
        index=index,
        name=name,
        total=whole,
        foreign=strange,
        booked=ours,
        measured_free=rest if measured == "rest" else None if measured is None else size(measured),
        **fields,
    )


def a100(index: int = 0, **fields: Any) -> DeviceView:
    return card(index, **fields)


def rtx4090(index: int = 0, **fields: Any) -> DeviceView:
    return card(index, **({"name": "NVIDIA GeForce RTX 4090", "total": "24G"} | fields))


def job(
    task_id: str = "job",
    memory: str | int = "16G",
    priority: Priority = Priority.MEDIUM,
    *,
    at: float = 0.0,
    project: str = "default",
    **fields: Any,
) -> JobView:
    """A job handed in `at` seconds after an hour ago; its id is its task_id."""
    return JobView(
        id=task_id,
        task_id=task_id,
        project=project,
        user=fields.pop("user", "ana"),
        priority=priority,
        submitted_at=NOW - 3600 + at,
        min_memory=size(memory),
        **fields,
    )


def queue_of(*jobs: JobView) -> tuple[JobView, ...]:
    """Jobs as if handed in one second after the other."""
    return tuple(evolve(each, submitted_at=NOW - 3600 + place) for place, each in enumerate(jobs))


def evolve(view: Any, **changes: Any) -> Any:
    """A copy with other values."""
    fields = {name: getattr(view, name) for name in view.__dataclass_fields__}
    return type(view)(**(fields | changes))


def project(slug: str = "default", *, limit: Limits | None = None, **fields: Any) -> ProjectView:
    return ProjectView(slug=slug, limit=limit or Limits(), **fields)


def run(
    task_id: str = "running",
    memory: str | int = "16G",
    on: Iterable[str] = ("node-a-gpu0",),
    *,
    since: float = -3600.0,
    ends: float = math.inf,
    priority: Priority = Priority.MEDIUM,
    saved_at: float | None = None,
    leaving_for: str = "",
    **fields: Any,
) -> RunView:
    """A job that has run on these cards since `since` (seconds from now), and is expected to end `ends` from now."""
    uuids = tuple(on)
    return RunView(
        job=job(task_id, memory, priority, at=since, **({"gpus": len(uuids) or 1} | fields)),
        placements=tuple(Placement(uuid=uuid, memory=size(memory)) for uuid in uuids),
        started_at=NOW + since,
        expected_end=NOW + ends,
        saved_at=saved_at,
        leaving=bool(leaving_for),
        leaving_for=leaving_for,
    )


def holding(
    project: str = "default", *, running: int = 1, cards: int | None = None, memory: str | int = "0"
) -> list[RunView]:
    """Running jobs of a project on cards that are not part of the world: for worlds in which only quotas matter."""
    cards = running if cards is None else cards
    share = size(memory) // cards if cards else 0
    places = [f"elsewhere-{at}" for at in range(cards)]
    rest = [(f"{project}-runs-{at}", places[at : at + 1]) for at in range(running - 1)]
    last = (f"{project}-runs-{running - 1}", places[running - 1 :])
    return [run(name, share, on, project=project) for name, on in [*rest, last] if running]


def world(
    devices: Iterable[DeviceView] = (),
    queued: Iterable[JobView] = (),
    projects: Iterable[ProjectView] = (),
    **fields: Any,
) -> Snapshot:
    return Snapshot(
        now=NOW,
        devices=tuple(devices),
        queued=tuple(queued),
        projects={each.slug: each for each in projects},
        **{name: tuple(value) if name == "running" else value for name, value in fields.items()},
    )


def started(plan: Plan) -> dict[str, list[str]]:
    """Job -> the cards it starts on, in the order of the starts."""
    return {start.job: [each.uuid for each in start.placements] for start in plan.starts}


def reasons(plan: Plan) -> dict[str, WaitCode]:
    """Job -> the code for which it waits."""
    return {wait.job: wait.code for wait in plan.waits}


def numbers(plan: Plan, job_id: str) -> Mapping[str, object]:
    """The numbers of one job's reason."""
    return next(wait.numbers for wait in plan.waits if wait.job == job_id)
