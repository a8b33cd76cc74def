"""The whole queue in its order, as if there were room for everybody: the source of every position that is shown."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
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
    state.step_back(now)
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
    overdue = state.overdue(now)
    late = {job.id for jobs in overdue.values() for job in jobs}
    queues = {slug: _in_turn(state, lanes, overdue.get(slug, ())) for slug, lanes in ready.items()}
    usage = {slug: state.usage_by_share(slug, now) for slug in queues}
    heap = [_ranked(state, slug, next(heads), usage, late, now) for slug, heads in queues.items()]
    heapify(heap)
    while heap:
        (*_rank, slug), job_id = heappop(heap)
        yield job_id
        job = state.line.lane_of(job_id).jobs[job_id]
        if not state.quota.counts(job_id):
            state.quota.promise(job, now)
            counted.append(job_id)
        usage[slug] += state.entry_charge(job)
        following = next(queues[slug], None)
        if following is not None:
            heappush(heap, _ranked(state, slug, following, usage, late, now))


def _in_turn(state: State, lanes: Sequence[Lane], overdue: Sequence[JobView]) -> Iterator[Head]:
    """The jobs of one project: first those that have waited too long, then by steps and keys."""
    late = {job.id: job for job in overdue if state.line.lane_of(job.id) in lanes}
    for job in late.values():
        yield state.line.lane_of(job.id).step, state.line.key(job), job.id
    yield from (head for head in merge(*map(Lane.in_order, lanes)) if head[2] not in late)


_Ranked = tuple[tuple[int, float, float, str], str]


def _ranked(
    state: State,
    slug: str,
    head: Head,
    usage: dict[str, float],
    late: Collection[str],
    now: float,
) -> _Ranked:
    _step, key, job_id = head
    job = state.line.lane_of(job_id).jobs[job_id]
    band = 0 if state.goes_before_borrowers(job, now, is_late=job_id in late) else 1
    used = 0.0 if state.line.has_policy else usage[slug]
    return (band, used, key, slug), job_id
