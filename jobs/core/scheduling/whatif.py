"""What would make a waiting job start now: the same decision, asked about the job with something changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from jobs.core.constraints import Need, is_of_type, room
from jobs.core.plan import Plan, WaitCode
from jobs.core.scheduling.planner import Planner
from jobs.core.snapshot import JobView, RunView, Snapshot
from jobs.core.states import Priority
from jobs.core.units import GIB


@dataclass(frozen=True, kw_only=True, slots=True)
class WhatIf:
    """One change of a job, and what it would bring."""

    field: str  # of JobView: min_memory, gpu_type, exclusive, priority
    value: object
    starts_now: bool
    position: int  # in the queue, from 1; 0 where it starts now
    suspended: int = 0  # running jobs that would make room for it


def what_ifs(
    snapshot: Snapshot, job_id: str, *, ranks: Mapping[str, int] | None = None
) -> list[WhatIf]:
    """Changes that would make the queued job start now, or put it further ahead. Empty where there are none.

    `ranks` is the order of the site's policy: what that would say to another priority cannot be told.
    """
    scheduler = Planner.of(snapshot)
    scheduler.rank(ranks)
    scheduler.decide(snapshot.now)
    job, reason = scheduler.job(job_id), scheduler.why(job_id)
    if job is None or (reason is not None and reason.code is WaitCode.WAIT_PREEMPTION):
        return []  # it starts now, or room is being made for it
    place = _place(scheduler, job)
    changes = [
        (field, value, replace(job, **{field: value}))  # type: ignore[arg-type] # a field of JobView with a value of its type
        for field, value in _changes(job, scheduler)
        if ranks is None or field != "priority"
    ]
    # All places before anything is tried: what is kept after a trial would change them.
    places = [_place(scheduler, changed) for _field, _value, changed in changes]
    scheduler.queue(job)
    tried = [
        _try(
            scheduler,
            job,
            changed,
            WhatIf(field=field, value=value, starts_now=False, position=at),
            snapshot.now,
        )
        for (field, value, changed), at in zip(changes, places, strict=True)
    ]
    return [
        each for each in tried if each.starts_now or each.suspended or 0 < each.position < place
    ]


def _changes(job: JobView, before: Planner) -> Iterator[tuple[str, object]]:
    memory = _most_memory(job, before)
    if 0 < memory < job.min_memory:
        yield "min_memory", memory
    if job.gpu_type:
        yield "gpu_type", None
    if job.exclusive:
        yield "exclusive", False
    if job.priority is not Priority.HIGH:
        yield "priority", Priority(job.priority + 1)


def _most_memory(job: JobView, before: Planner) -> int:
    """Whole GiB that the roomiest cards of its type have left: the n-th roomiest for a job with n cards a machine."""
    need = Need.of(job)
    rooms: dict[str, list[int]] = {}
    for card in before.cards:
        usable = not card.drained and card.measured_free is not None and not card.exclusive
        if usable and is_of_type(need, card):
            rooms.setdefault(card.node, []).append(room(card))
    enough = [
        sorted(each, reverse=True)[job.gpus - 1] for each in rooms.values() if len(each) >= job.gpus
    ]
    return max(enough, default=0) // GIB * GIB


def _try(scheduler: Planner, job: JobView, changed: JobView, told: WhatIf, now: float) -> WhatIf:
    """Decide with one field changed, and undo whatever came of it."""
    runs = {run.job.id: run for run in scheduler.runs}
    scheduler.queue(changed)
    plan = scheduler.decide(now)
    _undo(scheduler, plan, runs, {job.id: job}, now)
    starts_now = any(start.job == job.id for start in plan.starts)
    suspended = sum(preempt.beneficiary == job.id for preempt in plan.preemptions)
    position = 0 if starts_now else told.position
    return replace(told, starts_now=starts_now, position=position, suspended=suspended)


def _undo(
    scheduler: Planner,
    plan: Plan,
    runs: Mapping[str, RunView],
    waiting: dict[str, JobView],
    now: float,
) -> None:
    """As if it had never been decided: `runs` run, and `waiting` with all that has started waits again."""
    for start in plan.starts:
        ended = scheduler.end(start.job, now)
        waiting.setdefault(start.job, ended.job)
    for preempt in plan.preemptions:
        scheduler.put_run(runs[preempt.job])
        promised = scheduler.job(preempt.beneficiary)
        if promised is not None:
            waiting.setdefault(promised.id, promised)
    for each in waiting.values():
        scheduler.withdraw(each.id)
        scheduler.queue(each)


def _place(scheduler: Planner, job: JobView) -> int:
    """Where the job would stand in the queue like this, from 1; 0 where it does not queue."""
    scheduler.queue(job)
    order = scheduler.order()
    return order.index(job.id) + 1 if job.id in order else 0
