"""What would make a waiting job start now: the same decision, asked about the job with something changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from jobs.core.constraints import Need, is_of_type, room
from jobs.core.scheduling.scheduler import Scheduler
from jobs.core.snapshot import JobView, Snapshot
from jobs.core.states import Priority
from jobs.core.units import GIB


@dataclass(frozen=True, kw_only=True, slots=True)
class WhatIf:
    """One change of a job, and what it would bring."""

    field: str  # of JobView: min_memory, gpu_type, exclusive, priority
    value: object
    starts_now: bool
    position: int  # in the queue, from 1; 0 where it starts now


def what_ifs(snapshot: Snapshot, job_id: str) -> list[WhatIf]:
    """Changes that would make the queued job start now, or put it further ahead. Empty where there are none."""
    job = next(each for each in snapshot.queued if each.id == job_id)
    before = Scheduler.of(snapshot)
    before.decide(snapshot.now)
    place = _place(before, job_id)
    tried = (_try(snapshot, job, field, value) for field, value in _changes(job, before))
    return [each for each in tried if each.starts_now or 0 < each.position < place]


def _changes(job: JobView, before: Scheduler) -> Iterator[tuple[str, object]]:
    memory = _most_memory(job, before)
    if 0 < memory < job.min_memory:
        yield "min_memory", memory
    if job.gpu_type:
        yield "gpu_type", None
    if job.exclusive:
        yield "exclusive", False
    if job.priority is not Priority.HIGH:
        yield "priority", Priority(job.priority + 1)


def _most_memory(job: JobView, before: Scheduler) -> int:
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


def _try(snapshot: Snapshot, job: JobView, field: str, value: object) -> WhatIf:
    changed = replace(job, **{field: value})  # type: ignore[arg-type] # a field of JobView with a value of its type
    queued = tuple(changed if each.id == job.id else each for each in snapshot.queued)
    scheduler = Scheduler.of(replace(snapshot, queued=queued))
    started = {start.job for start in scheduler.decide(snapshot.now).starts}
    return WhatIf(
        field=field,
        value=value,
        starts_now=job.id in started,
        position=0 if job.id in started else _place(scheduler, job.id),
    )


def _place(scheduler: Scheduler, job_id: str) -> int:
    order = scheduler.order()
    return order.index(job_id) + 1 if job_id in order else 0
