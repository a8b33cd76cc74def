"""When waiting jobs are expected to start: the plan run forward on what is known of how long jobs run.

What nobody can tell is left open: a job of unknown length never ends in a forecast, and what waits behind it gets no
time. The range comes from running the plan forward again with all remaining times shorter and longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from heapq import heappop, heappush

from jobs.core.plan import Plan
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.usage import charge_rate
from jobs.core.snapshot import JobView, RunView, Snapshot

EARLY, LATE = 0.7, 1.5  # by which remaining times are shortened and stretched for the range
_MOST_STEPS = 2_000
_FURTHEST = 30 * 24 * 3600.0  # seconds; what lies beyond is not worth a number
_FINE, _COARSE, _MANY_RUNS = 0.01, 0.1, 10_000
"""A step is this part of the time looked ahead: the fine one where few jobs run, the coarse one where many do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """When a job is expected to start (epoch seconds): likely, and the two ends of the range."""

    at: float
    earliest: float
    latest: float


def forecast(
    snapshot: Snapshot,
    wanted: Collection[str],
    *,
    ranks: Mapping[str, int] | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> dict[str, Expected]:
    """The expected starts of the `wanted` queued jobs; those of which nobody can tell are left out.

    Every queued job of the snapshot takes part, so a caller with a long queue passes its head only. `ranks` is the
    order of the site's policy. `go_on` is asked before each step of the likely course; where it says no, only what was
    seen until then is told.
    """
    course = _Play(snapshot, 1.0, ranks)
    likely = course.starts_of(wanted, go_on=go_on)
    if not likely:
        return {}
    most = 2 * course.steps + 50  # the two other courses have about as many steps
    early = _Play(snapshot, EARLY, ranks).starts_of(likely, most=most)
    late = _Play(snapshot, LATE, ranks).starts_of(likely, most=most)
    return {
        job_id: Expected(
            at=at,
            earliest=min(at, early.get(job_id, at)),
            latest=max(at, late[job_id]),
        )
        for job_id, at in likely.items()
        if job_id in late  # else its end of the range is out of sight, and so is the range
    }


class _Play:
    """The future of a snapshot, with all remaining times multiplied by one factor."""

    def __init__(
        self, snapshot: Snapshot, factor: float, ranks: Mapping[str, int] | None = None
    ) -> None:
        self.steps = 0
        self._now = self._begun = snapshot.now
        self._until = snapshot.now + _FURTHEST
        self._factor = factor
        self._grain = _FINE + (_COARSE - _FINE) * min(1.0, len(snapshot.running) / _MANY_RUNS)
        self._scheduler = Planner.of(snapshot)
        self._scheduler.rank(ranks)
        self._ends: dict[str, float] = {}
        self._events: list[tuple[float, str]] = []
        self._starts: dict[str, float] = {}
        self._cards = {card.uuid: card for card in snapshot.devices}
        self._left: dict[str, float] = {}  # what preempted jobs will still run, seconds
        for run in snapshot.running:
            left = (
                run.job.suspend_seconds
                if run.leaving
                else (run.expected_end - snapshot.now) * factor
            )
            self._end_at(run.job.id, self._now + max(0.0, left))
            if run.leaving_for:  # who leaves for nobody has been stopped, and does not come back
                self._left[run.job.id] = max(0.0, run.expected_end - snapshot.now)

    def starts_of(
        self,
        wanted: Collection[str],
        *,
        go_on: Callable[[], bool] = lambda: True,
        most: int = _MOST_STEPS,
    ) -> Mapping[str, float]:
        """When each of these jobs starts; those that do not start within sight, or `most` steps, are missing."""
        missing = set(wanted)
        while self.steps < most and go_on():
            self.steps += 1
            self._follow(self._scheduler.decide(self._now))
            missing.difference_update(self._starts)
            upcoming = self._upcoming()
            if not missing or upcoming > self._until:
                break
            self._now = upcoming
            self._let_end()
        return {job_id: at for job_id, at in self._starts.items() if job_id in wanted}

    def _upcoming(self) -> float:
        """When something happens next; what happens shortly after one another is taken together."""
        at = self._events[0][0] if self._events else math.inf
        step = self._grain * (self._now - self._begun)
        return max(self._now + step, min(at, self._scheduler.next_change()))

    def _follow(self, plan: Plan) -> None:
        for start in plan.starts:
            self._starts.setdefault(start.job, self._now)
            run = self._scheduler.run(start.job)
            self._end_at(start.job, self._now + run.job.run_time * self._factor)
        for preempt in plan.preemptions:
            job = self._scheduler.run(preempt.job).job
            self._left[job.id] = max(0.0, self._ends[job.id] - self._now) / self._factor
            self._end_at(job.id, self._now + job.suspend_seconds)

    def _end_at(self, job_id: str, at: float) -> None:
        self._ends[job_id] = at
        if not math.isinf(at):
            heappush(self._events, (at, job_id))

    def _let_end(self) -> None:
        while self._events and self._events[0][0] <= self._now:
            at, job_id = heappop(self._events)
            if self._ends.get(job_id) != at:
                continue
            del self._ends[job_id]
            run = self._scheduler.end(job_id, self._now)
            left = self._left.pop(job_id, None)
            if left is not None:
                self._scheduler.queue(self._again(run, left))

    def _again(self, run: RunView, left: float) -> JobView:
        """A preempted job as it queues again."""
        rate = sum(
            charge_rate(each.memory, self._cards[each.uuid], run.job.sm_share)
            for each in run.placements
            if each.uuid in self._cards
        )
        return replace(
            run.job,
            waiting_since=self._now,
            est_time=math.inf,
            expected_run=left,
            service=run.job.service + rate * (self._now - run.started_at),
            preemptions=run.job.preemptions + 1,
        )
