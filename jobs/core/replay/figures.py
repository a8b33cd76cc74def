"""The figures by which two ways to run the same jobs are compared, and those of what really happened.

Waits are from when a job could start to when it first got cards; times to the end likewise. Jobs that ran or waited
when the period began are not counted.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jobs.core.expectation import quantile
from jobs.core.replay.workload import Came, Replayed
from jobs.core.simulation.results import JobResult, Outcome

LONG = 0.9
"""The quantile of waits that is shown beside the mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Of the whole site, or of one project. Seconds; None where there is nothing to measure."""

    jobs: int
    started: int
    finished: int
    mean_wait_s: float | None
    p90_wait_s: float | None
    max_wait_s: float | None
    mean_jct_s: float | None  # from when it could start to its end, of those that ended
    preemptions: int
    share: float | None = (
        None  # of one project, while several had jobs waiting: what it got of what they got
    )
    due: float | None = None  # what it was due by its weight


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One way to run the jobs, or what really happened."""

    whole: Figures
    projects: Mapping[str, Figures]
    makespan_s: (
        float | None
    )  # from the beginning of the period until the last counted job had ended
    lost_gpu_s: float  # GPU-seconds that preemptions cost
    share_error: float | None = None  # the largest relative error of a project's share
    policy_problem: str = ""  # why a policy's order was not used


@dataclass(frozen=True, slots=True)
class _Row:
    project: str
    wait: float | None  # so far, where it has not started; None: it never would
    jct: float | None
    end: float | None
    started: bool
    preemptions: int


def of_outcome(outcome: Outcome, replayed: Replayed) -> Side:
    """What a simulation found."""
    rows = [_simulated(row) for row in outcome.rows if row.job_id in replayed.counted]
    return _side(
        rows,
        replayed,
        lost=outcome.figures.lost_gpu_s,
        shares=outcome.shares,
        share_error=outcome.figures.share_error,
        policy_problem=outcome.policy_problem,
    )


def of_past(replayed: Replayed) -> Side:
    """What really happened to the same jobs. Who still waits has waited until now; makespan: once all have ended."""
    rows = [_real(each, replayed.period.until) for each in replayed.came if each.counted]
    lost = math.fsum(
        attempt.lost
        for each in replayed.came
        for attempt in each.past.attempts
        if attempt.ended is None or attempt.ended > replayed.period.since
    )
    return _side(rows, replayed, lost=lost)


def _simulated(row: JobResult) -> _Row:
    started = row.start is not None
    return _Row(row.project, row.wait, row.jct, row.end, started, row.preemptions)


def _real(each: Came, now: float) -> _Row:
    job, started = each.past, each.started_at
    end = job.ended_at
    return _Row(
        project=job.project,
        wait=(now if started is None else started) - each.queued_at,
        jct=None if end is None else end - each.queued_at,
        end=end,
        started=started is not None,
        preemptions=sum(attempt.preempted for attempt in job.attempts),
    )


def _side(
    rows: Sequence[_Row],
    replayed: Replayed,
    *,
    lost: float,
    shares: Mapping[str, tuple[float, float]] | None = None,
    share_error: float | None = None,
    policy_problem: str = "",
) -> Side:
    by_project: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        by_project[row.project].append(row)
    ends = [row.end for row in rows if row.end is not None]
    all_ended = bool(rows) and len(ends) == len(rows)
    return Side(
        whole=_figures(rows),
        projects={
            slug: _figures(own, (shares or {}).get(slug))
            for slug, own in sorted(by_project.items())
        },
        makespan_s=max(ends) - replayed.period.since if all_ended else None,
        lost_gpu_s=lost,
        share_error=share_error,
        policy_problem=policy_problem,
    )


def _figures(rows: Sequence[_Row], share: tuple[float, float] | None = None) -> Figures:
    waits = _known(rows, lambda row: row.wait)
    got, due = share or (None, None)
    return Figures(
        jobs=len(rows),
        started=sum(row.started for row in rows),
        finished=sum(row.end is not None for row in rows),
        mean_wait_s=_mean(waits),
        p90_wait_s=quantile(waits, LONG) if waits else None,
        max_wait_s=max(waits, default=None),
        mean_jct_s=_mean(_known(rows, lambda row: row.jct)),
        preemptions=sum(row.preemptions for row in rows),
        share=got,
        due=due,
    )


def _known(rows: Iterable[_Row], value: Callable[[_Row], float | None]) -> list[float]:
    return [found for row in rows if (found := value(row)) is not None]


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
