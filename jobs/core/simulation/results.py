"""What a simulation found: one row for each job, and the figures that are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

GPU_CLASSES = (("1", 1), ("2-7", 7), ("8-15", 15), ("16+", math.inf))
"""Sizes of jobs that are told apart: the name, and the most cards."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobResult:
    """What became of one job. Times are seconds; None where it did not come to that."""

    job_id: str
    project: str
    gpus: int  # that it asked for
    submit: float
    start: float | None  # of its first start
    end: float | None
    wait: float | None  # from its submit to its first start
    jct: float | None  # from its submit to its end, the job completion time
    preemptions: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """The figures of one simulation, by the names they have in JSON. None: there was nothing to measure."""

    jobs: int
    finished: int
    makespan_s: float | None  # from the first submit to the last end
    mean_jct_s: float | None
    p50_jct_s: float | None
    p99_jct_s: float | None
    mean_wait_s: float | None
    max_wait_s: float | None
    max_wait_s_by_gpus: dict[str, float | None]
    preemptions: int
    lost_gpu_s: float  # GPU-seconds spent on suspending, resuming and starting again
    gpu_busy_ratio: float | None  # of all cards' computing time, that jobs computed
    memory_booked_ratio: float | None  # of all cards' memory x time, that was booked
    share_error: float | None  # the largest relative error of a saturated project's share


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Everything that a simulation found."""

    figures: Figures
    rows: tuple[JobResult, ...]  # in the order of the workload
    never_fit: tuple[str, ...]  # jobs that ask for more than the machines have
    shares: dict[
        str, tuple[float, float]
    ]  # saturated project -> what it got and was due, parts of one
    policy_problem: str = ""  # why a policy's order was not used, the last one told


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """What adds up over a simulation."""

    lost_gpu_s: float
    gpu_busy_ratio: float | None
    memory_booked_ratio: float | None
    share_error: float | None


def figures(rows: Sequence[JobResult], totals: Totals) -> Figures:
    """The figures of all jobs together. Quantiles are those of the job at that rank, not interpolated."""
    times = sorted(row.jct for row in rows if row.jct is not None)
    waits = [row.wait for row in rows if row.wait is not None]
    ends = [row.end for row in rows if row.end is not None]
    return Figures(
        jobs=len(rows),
        finished=len(times),
        makespan_s=max(ends) - min(row.submit for row in rows) if ends else None,
        mean_jct_s=_mean(times),
        p50_jct_s=_quantile(times, 0.5),
        p99_jct_s=_quantile(times, 0.99),
        mean_wait_s=_mean(waits),
        max_wait_s=max(waits, default=None),
        max_wait_s_by_gpus=_longest_waits(rows),
        preemptions=sum(row.preemptions for row in rows),
        **asdict(totals),
    )


def _longest_waits(rows: Sequence[JobResult]) -> dict[str, float | None]:
    longest: dict[str, float | None] = {name: None for name, _most in GPU_CLASSES}
    for row in rows:
        name = next(name for name, most in GPU_CLASSES if row.gpus <= most)
        if row.wait is not None:
            longest[name] = max(row.wait, longest[name] or 0.0)
    return longest


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
