"""The rule of the house: from a snapshot to a plan. Start reading here, then in jobs/core/scheduling/walk.py."""

from __future__ import annotations

from dataclasses import replace

from jobs.core.plan import Plan
from jobs.core.policy import BasePolicy, ordered
from jobs.core.scheduling.planner import Planner
from jobs.core.snapshot import JobView, Snapshot


def decide(snapshot: Snapshot, policy: BasePolicy | None = None) -> Plan:
    """What starts now, on which cards, who gives way for whom, and why each other queued job waits.

    The same snapshot gives the same plan. Nothing is started here.
    """
    scheduler = Planner.of(snapshot)
    problem = _apply(policy, scheduler, snapshot.now)
    plan = scheduler.decide(snapshot.now)
    return replace(plan, waits=scheduler.waits(), policy_problem=problem)


def in_order(snapshot: Snapshot, policy: BasePolicy | None = None) -> tuple[JobView, ...]:
    """All queued jobs as they will be tried: first those that could start, in their order, then the others."""
    scheduler = Planner.of(snapshot)
    _apply(policy, scheduler, snapshot.now)
    jobs = {job.id: job for job in snapshot.queued}
    return tuple(jobs[job_id] for job_id in scheduler.order())


def _apply(policy: BasePolicy | None, scheduler: Planner, now: float) -> str:
    """Order by the policy; what was wrong with its answer."""
    if policy is None:
        return ""
    order = ordered(scheduler.eligible(), policy, now=now)
    if not order.problem:
        scheduler.rank({job.id: place for place, job in enumerate(order.jobs)})
    return order.problem
