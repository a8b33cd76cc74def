"""A tiny simulation around the production scheduler, for streams of jobs that never end.

Jobs work for as long as their maker says; the scheduler knows only what is in their views. A preempted job stops at
once, holds its cards while it is suspended, and then waits again with what it has left.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from jobs.core.plan import Preempt, WaitCode
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.rules import DAY, Rules
from jobs.core.scheduling.usage import charge_rate
from jobs.core.snapshot import DeviceView, JobView, ProjectView
from tests.builders import NOW, evolve

Arrival = tuple[JobView, float]  # a job, handed in at `submitted_at`, and how long it works


class Loop:
    """One fleet, and what happens on it."""

    def __init__(
        self,
        cards: Iterable[DeviceView],
        arrivals: Iterable[Arrival],
        projects: Iterable[ProjectView] = (),
        rules: Rules | None = None,
    ) -> None:
        self.now = NOW
        self.scheduler = Planner(rules or Rules())
        self.started: dict[str, float] = {}  # when each job started for the first time
        self.handed_in: dict[str, float] = {}
        self.preempted: Counter[str] = Counter()
        self.told: list[
            tuple[float, Preempt, str]
        ] = []  # when, what, and the project that gave way
        self.preempted_at: dict[str, list[float]] = {}
        self.waited: dict[str, float] = {}  # the longest that each job waited at one stretch
        self.ended: dict[str, float] = {}
        self.held: Counter[str] = Counter()  # card-seconds of each project
        self._cards = {card.uuid: card for card in cards}
        self._arrivals: Iterator[Arrival] = iter(arrivals)
        self._next: Arrival | None = next(self._arrivals, None)
        self._jobs: dict[str, JobView] = {}
        self.held_then: Counter[str] = Counter()  # `cards_of` right after the last decision
        self.promised_then: Counter[str] = Counter()  # and `cards_promised_to`
        self._left: dict[str, float] = {}
        self._events: list[tuple[float, int, str]] = []  # when, which attempt, whose
        self._attempt: Counter[str] = Counter()
        for card in self._cards.values():
            self.scheduler.put_card(card)
        for project in projects:
            self.scheduler.put_project(project, self.now)

    def run(self, seconds: float, *, until_started: str = "") -> Loop:
        """Let so much time pass, or less if a certain job starts earlier."""
        while until_started not in self.started and self.step(NOW + seconds):
            pass
        return self

    def step(self, end: float = math.inf) -> bool:
        """One decision, and what happens next, if that is not after `end`; False where nothing does."""
        self._decide()
        upcoming = self._upcoming()
        if upcoming > end or math.isinf(upcoming):
            return False
        self._pass_to(upcoming)
        self._let_happen()
        return True

    def cards_of(self, project: str) -> int:
        """Cards that jobs of the project hold and are not about to give back."""
        runs = [run for run in self.scheduler.runs if run.job.project == project]
        return sum(len(run.placements) for run in runs if not run.leaving)

    def cards_promised_to(self, project: str) -> int:
        """Cards that will be the project's when those who have been told to leave have gone."""
        waits = [wait for wait in self.scheduler.waits() if wait.code is WaitCode.WAIT_PREEMPTION]
        jobs = [self.scheduler.job(wait.job) for wait in waits]
        return sum(job.cards for job in jobs if job and job.project == project)

    def project_of(self, name: str) -> str:
        """Whose job it is."""
        return self._jobs[name].project

    def wait_of(self, name: str) -> float:
        """How long a job waited for its first start; as long as it has waited by now where it still does."""
        return self.started.get(name, self.now) - self.handed_in[name]

    def _upcoming(self) -> float:
        arrival = self._next[0].submitted_at if self._next else math.inf
        event = self._events[0][0] if self._events else math.inf
        return max(self.now, min(arrival, event, max(self.now + 1, self.scheduler.next_change())))

    def _pass_to(self, at: float) -> None:
        for run in self.scheduler.runs:
            self.held[run.job.project] += len(run.placements) * (at - self.now)
        self.now = at

    def _let_happen(self) -> None:
        while self._events and self._events[0][0] <= self.now:
            _at, attempt, name = heappop(self._events)
            if self._attempt[name] == attempt:
                self._end(name)
        while self._next and self._next[0].submitted_at <= self.now:
            job, seconds = self._next
            self._jobs[job.id], self._left[job.id] = job, seconds
            self.handed_in[job.id] = job.submitted_at
            self.scheduler.queue(job)
            self._next = next(self._arrivals, None)

    def _end(self, name: str) -> None:
        run = self.scheduler.end(name, self.now)
        if not run.leaving:
            self.ended[name] = self.now
            return
        rate = sum(charge_rate(each.memory, self._cards[each.uuid]) for each in run.placements)
        lately = [at for at in self.preempted_at[name] if at > self.now - DAY]
        self.scheduler.queue(
            evolve(
                run.job,
                waiting_since=self.now,
                service=run.job.service + rate * (self.now - run.started_at),
                preemptions=len(lately),
                est_time=max(0.0, run.job.est_time - (self.now - run.started_at)),
            )
        )

    def _decide(self) -> None:
        plan = self.scheduler.decide(self.now)
        for preempt in plan.preemptions:
            run = self.scheduler.run(preempt.job)
            self._left[preempt.job] -= self.now - run.started_at
            self.preempted[preempt.job] += 1
            self.told.append((self.now, preempt, run.job.project))
            self.preempted_at.setdefault(preempt.job, []).append(self.now)
            self._happens(preempt.job, self.now + run.job.suspend_seconds)
        slugs = {job.project for job in self._jobs.values()} if plan.preemptions else set()
        self.held_then = Counter({slug: self.cards_of(slug) for slug in slugs})
        self.promised_then = Counter({slug: self.cards_promised_to(slug) for slug in slugs})
        for start in plan.starts:
            job = self.scheduler.run(start.job).job
            waited = self.now - job.queued_at
            self.waited[start.job] = max(waited, self.waited.get(start.job, 0.0))
            self.started.setdefault(start.job, self.now)
            self._happens(start.job, self.now + self._left[start.job])

    def _happens(self, name: str, at: float) -> None:
        self._attempt[name] += 1
        heappush(self._events, (at, self._attempt[name], name))
