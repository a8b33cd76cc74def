"""What a scheduler is told of a simulated world, in the words of production."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from jobs.core.scheduling.usage import charge_rate
from jobs.core.simulation.conditions import Conditions
from jobs.core.simulation.running import Live
from jobs.core.simulation.workload import WorkloadJob
from jobs.core.snapshot import DeviceView, JobView, ProjectView, RunView, UserView


def job(live: Live, conditions: Conditions, now: float) -> JobView:
    """A job that waits."""
    known, shape = live.job, live.shape
    since = now - conditions.preemption_window
    return JobView(
        id=known.id,
        task_id=known.id,
        project=known.project,
        user=known.user,
        priority=known.priority,
        submitted_at=known.submit,
        min_memory=shape.memory,
        gpus=shape.gpus,
        nodes=shape.nodes,
        gpu_type=known.gpu_type,
        exclusive=shape.exclusive,
        preemptible=known.preemptible or conditions.all_preemptible,
        attempts=live.runs,
        waiting_since=live.waiting_since,
        est_time=known.est_time,
        expected_run=_expected_run(live, conditions),
        sm_share=known.sm_share or 0.0,
        service=live.service,
        preemptions=sum(at > since for at in live.preempted_at),
        suspend_seconds=conditions.suspend_seconds,
        saves_itself=True,  # in this world suspending loses nothing but its own time
        host_cpus=known.host_cpus,
        host_memory=known.host_memory,
    )


def _expected_run(live: Live, conditions: Conditions) -> float:
    """What is left of a job, as far as the scheduler may know; an estimate that was exceeded counts no more."""
    if conditions.perfect_estimates:
        return live.left + live.to_start
    left = live.job.est_time - (live.job.duration - live.left)
    return left if left > 0 else math.inf


def run(live: Live, conditions: Conditions, now: float) -> RunView:
    """A job that runs."""
    return RunView(
        job=replace(job(live, conditions, now), attempts=live.runs - 1),
        placements=live.placements or (),
        started_at=live.started_at,
        expected_end=live.expected_end()
        if conditions.perfect_estimates
        else live.since + _expected_run(live, conditions),
    )


def projects(jobs: Iterable[WorkloadJob], conditions: Conditions) -> Iterator[ProjectView]:
    """The projects and people that hand jobs in."""
    people: dict[str, dict[str, UserView]] = {}
    for each in jobs:
        people.setdefault(each.project, {})[each.user] = UserView(name=each.user)
    for slug, users in people.items():
        known = conditions.projects.get(slug) or ProjectView(slug=slug)
        yield replace(known, weight=conditions.weight(slug), users={**users, **known.users})


def charge_rate_of(run: RunView, cards: Mapping[str, DeviceView]) -> float:
    """Weighted GPU-seconds a second for everything that a running job holds."""
    return sum(
        charge_rate(each.memory, cards[each.uuid], run.job.sm_share)
        for each in run.placements
        if each.uuid in cards
    )
