"""The scheduler's numbers in one place; a site may change them, a simulation may try others."""

from __future__ import annotations

from dataclasses import dataclass

HOUR = 3600.0
DAY = 24 * HOUR


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How the queue is ordered, kept fair and preempted. Times are seconds.

    The defaults are explained, with what was measured, in docs/scheduling.md.
    """

    half_life: float = DAY  # after which past usage counts half
    head_start: float = 12 * HOUR  # by which each step of priority is ahead of who came earlier
    service_levels: tuple[float, ...] = (1 * HOUR, 8 * HOUR, 64 * HOUR, 512 * HOUR)  # GPU-seconds
    level_delay: float = (
        24 * HOUR
    )  # by which each level that a preemptible job has passed sets it back
    preemption: bool = True
    min_run: float = 0.5 * HOUR  # a job that has run for less is not preempted
    most_preemptions: int = 4  # of one job within `preemption_window`
    preemption_window: float = DAY
    reservations: int = 8  # at most so many jobs have cards kept for them
    drain_after: float = 2 * HOUR  # a job that has waited so long has its cards drained
    guard_after: tuple[float, float, float] = (48 * HOUR, 24 * HOUR, 12 * HOUR)  # low, medium, high
    resume_patience: float = 7.0  # times as long for a job that has had service already
    placement: str = "best-fit"  # or "fragmentation", "random": jobs/core/scheduling/fleet.py
