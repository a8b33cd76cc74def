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
    return job.submitted_at - urgency(job, job.service, rules)


def urgency(job: JobView, service: float, rules: Rules) -> float:
    """By how many seconds a job that has had this much service is ahead of one handed in at the same time."""
    delay = level(job, service, rules) * rules.level_delay
    return rules.head_start * job.priority - delay


def level(job: JobView, service: float, rules: Rules) -> int:
    """How many service levels the job has passed; a job that cannot be preempted stays in the first."""
    return bisect_right(rules.service_levels, service) if job.preemptible else 0


def guard_time(job: JobView, rules: Rules) -> float:
    """When the job will have waited so long that it goes first in its project and has cards kept for it."""
    return job.queued_at + rules.guard_after[job.priority]


def _rounded_up(seconds: float) -> float:
    if math.isinf(seconds):
        return seconds
    return float(_RUN_STEP * 2.0 ** max(0, math.ceil(math.log2(max(seconds, 1.0) / _RUN_STEP))))
