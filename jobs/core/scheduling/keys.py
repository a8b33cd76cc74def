"""The static keys by which jobs of one project are ordered: they never change while a job waits.

A key is the time of hand-in, moved forward by priority and back by the service that a preemptible job has already
had. Because everybody ages alike, the key is constant and no job can be overtaken for ever: only finitely many
later jobs can have a smaller key. The levels of service are those of Tiresias' discretised LAS (Gu et al., NSDI 2019).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

from jobs.core.constraints import Need
from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import JobView

_RUN_STEP = 900.0  # seconds; run times are told apart by doublings of this


class Kind(NamedTuple):
    """Jobs that placement, backfill and preemption treat alike."""

    need: Need
    preemptible: bool
    run_time: float  # seconds, rounded up to a doubling of 15 minutes; infinite when unknown
    urgency: float

    @classmethod
    def of(cls, job: JobView, rules: Rules) -> Kind:
        """The kind of this job."""
        return cls(
            Need.of(job),
            job.preemptible,
            _rounded_up(job.run_time),
            urgency(job, job.service, rules),
        )


def static_key(job: JobView, rules: Rules) -> float:
    """The place of a job among those of its project: smaller is sooner."""
    ahead = rules.head_start * job.priority
    behind = rules.level_delay * level(job, job.service, rules)
    return job.submitted_at - ahead + behind


def urgency(job: JobView, service: float, rules: Rules) -> float:
    """What may displace what: a job of higher priority, then one that has passed fewer service levels."""
    return job.priority - level(job, service, rules) / (1 + len(rules.service_levels))


def impatient_urgency(job: JobView, rules: Rules) -> float:
    """The urgency of a job that has waited too long: just above that of all others with its priority."""
    return job.priority + 0.5 / (1 + len(rules.service_levels))


def level(job: JobView, service: float, rules: Rules) -> int:
    """How many service levels the job has passed; a job that cannot be preempted stays in the first."""
    return bisect_right(rules.service_levels, service) if job.preemptible else 0


def guard_time(job: JobView, rules: Rules) -> float:
    """When the job will have waited so long that it goes first in its project and has cards kept for it."""
    patience = rules.resume_patience if job.service else 1.0
    return job.queued_at + patience * rules.guard_after[job.priority]


def _rounded_up(seconds: float) -> float:
    if math.isinf(seconds):
        return seconds
    return float(_RUN_STEP * 2.0 ** max(0, math.ceil(math.log2(max(seconds, 1.0) / _RUN_STEP))))
