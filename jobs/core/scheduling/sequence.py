"""The whole queue in its order, as if there were room for everybody: the source of every position that is shown."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush, merge
from itertools import islice

from jobs.core.scheduling.lane import Head, Lane
from jobs.core.scheduling.state import State
from jobs.core.scheduling.waits import Waits
from jobs.core.snapshot import JobView


def sequence(state: State, waits: Waits, now: float, most: int | None = None) -> list[str]:
    """The ids of the queued jobs, at most so many.

    First those for which room is being made, then those that could start, project by project as the cycle goes
    through them, then those that could not start even alone. Each counts against its project as if it had started.
    """
    promised = [promise.job.id for promise in state.promises]
    ready, others = _split(state, waits, now)
    counted: list[str] = []
    try:
        inner = _merge(state, ready, now, counted)
        ids = [*promised, *islice(inner, most)]
    finally:
        for job_id in counted:
            state.quota.release(job_id)
    rest = sorted(others, key=lambda job: (state.line.key(job), job.id))
    ids += [job.id for job in rest]
    return ids[:most]


def _split(state: State, waits: Waits, now: float) -> tuple[dict[str, list[Lane]], list[JobView]]:
    """Lanes that could start something, by project; and the jobs of the others, with those that rest."""
    ready: dict[str, list[Lane]] = {}
    others = list(state.rested.values())
    for project in state.line.projects.values():
        for lane in project.lanes.values():
            if lane.first is None:
                continue
            if waits.standing(lane.jobs[lane.first[2]], now) is None:
                ready.setdefault(project.slug, []).append(lane)
            else:
                others.extend(lane.jobs.values())
    return ready, others


def _merge(
    state: State, ready: dict[str, list[Lane]], now: float, counted: list[str]
) -> Iterator[str]:
    queues = {slug: merge(*map(Lane.in_order, lanes)) for slug, lanes in ready.items()}
    usage = {slug: state.usage_by_share(slug, now) for slug in queues}
    heap = [_ranked(state, slug, next(heads), usage, now) for slug, heads in queues.items()]
    heapify(heap)
    while heap:
        (*_rank, job_id), slug = heappop(heap)
        yield job_id
        job = state.line.lane_of(job_id).jobs[job_id]
        if not state.quota.counts(job_id):
            state.quota.promise(job, now)
            counted.append(job_id)
        usage[slug] += state.entry_charge(job)
        following = next(queues[slug], None)
        if following is not None:
            heappush(heap, _ranked(state, slug, following, usage, now))


_Ranked = tuple[tuple[int, float, float, str], str]


def _ranked(state: State, slug: str, head: Head, usage: dict[str, float], now: float) -> _Ranked:
    _step, key, job_id = head
    job = state.line.lane_of(job_id).jobs[job_id]
    band = 0 if state.quota.is_within_guarantee(job, now) else 1
    used = 0.0 if state.line.has_policy else usage[slug]
    return (band, used, key, job_id), slug
