"""Why a waiting job stands where it stands: the steps of its order, each with its numbers, never a weighted sum."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.core.scheduling.keys import guard_time, level
from jobs.core.scheduling.state import State
from jobs.core.snapshot import JobView
from jobs.core.states import Priority


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The steps by which a job is ordered; earlier ones decide first. Shares are parts of one."""

    guaranteed: bool  # its project is within its guarantee with it
    overdue_at: float  # from then on it goes first in its project (epoch seconds)
    project_used: float  # the project's part of what all have used lately
    project_share: float  # the part that its weight entitles it to, among projects that wait or run
    user_step: (
        int  # how many times its owner has used their share, in whole steps; 0: not even once
    )
    priority: Priority
    head_start: float  # seconds that the priority puts it ahead
    service: float  # weighted GPU-seconds that it has had
    service_level: int  # service levels that it has passed
    setback: float  # seconds that these set it back
    submitted_at: float
    policy: bool  # a policy of the site orders inside the band instead of all steps after the first


def standing_of(state: State, job: JobView, now: float) -> Standing:
    """The steps of one queued job."""
    rules, line = state.rules, state.line
    passed = level(job, job.service, rules)
    active = state.active_projects
    used = {slug: state.usage.of_project(slug, now) for slug in active}
    weights = sum(state.weights.get(slug, 1.0) for slug in active) or 1.0
    whole = sum(used.values())
    return Standing(
        guaranteed=state.quota.is_within_guarantee(job, now),
        overdue_at=guard_time(job, rules),
        project_used=used.get(job.project, 0.0) / whole if whole else 0.0,
        project_share=state.weights.get(job.project, 1.0) / weights,
        user_step=state.steps(line.project(job.project), now).get(job.user, 0),
        priority=job.priority,
        head_start=rules.head_start * job.priority,
        service=job.service,
        service_level=passed,
        setback=passed * rules.level_delay,
        submitted_at=job.submitted_at,
        policy=line.has_policy,
    )
