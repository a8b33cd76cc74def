"""The running jobs: what holds which card, who may be preempted, and when time alone changes that."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from heapq import heappop, heappush

from jobs.core.scheduling.keys import level, urgency
from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import RunView

_SLACK = 64  # entries that say nothing new, before they are taken out


class Runs:
    """All jobs that hold cards, frozen and leaving ones included."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._runs: dict[str, RunView] = {}
        self._rates: dict[str, float] = {}
        self._on_card: dict[str, dict[str, int]] = defaultdict(dict)  # card -> job -> bytes
        self._victims: dict[str, dict[float, dict[str, None]]] = defaultdict(dict)
        self._urgency: dict[str, float] = {}  # of each job that is listed in `_victims`
        self._timeline: list[tuple[float, str]] = []
        self._leaving: dict[str, dict[str, None]] = {}  # beneficiary -> jobs
        self.people: dict[str, dict[str, int]] = {}  # project -> person -> running jobs

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[RunView]:
        return iter(self._runs.values())

    def get(self, job_id: str) -> RunView | None:
        """A running job."""
        return self._runs.get(job_id)

    def on_card(self, uuid: str) -> list[tuple[RunView, int]]:
        """The jobs on one card, with the bytes that each is charged there."""
        return [(self._runs[job_id], memory) for job_id, memory in self._on_card[uuid].items()]

    def put(self, run: RunView, rate: float) -> None:
        """Add a running job, or take over its new values; `rate` is what it is charged a second."""
        self.drop(run.job.id)
        job_id = run.job.id
        self._runs[job_id] = run
        self._rates[job_id] = rate
        for each in run.placements:
            self._on_card[each.uuid][job_id] = each.memory
        people = self.people.setdefault(run.job.project, {})
        people[run.job.user] = people.get(run.job.user, 0) + 1
        if run.leaving_for:
            self._leaving.setdefault(run.leaving_for, {})[job_id] = None
        heappush(self._timeline, (run.started_at + self._rules.min_run, job_id))
        if len(self._timeline) > 4 * len(self._runs) + _SLACK:
            self._timeline = sorted({entry for entry in self._timeline if entry[1] in self._runs})

    def drop(self, job_id: str) -> RunView | None:
        """Forget a job that holds nothing any more."""
        run = self._runs.pop(job_id, None)
        if run is None:
            return None
        del self._rates[job_id]
        for each in run.placements:
            self._on_card[each.uuid].pop(job_id, None)
        people = self.people[run.job.project]
        people[run.job.user] -= 1
        if not people[run.job.user]:
            del people[run.job.user]
        self._unlist(run)
        if run.leaving_for in self._leaving:
            self._leaving[run.leaving_for].pop(job_id, None)
            if not self._leaving[run.leaving_for]:
                del self._leaving[run.leaving_for]
        return run

    def tell_to_leave(self, job_id: str, beneficiary: str) -> RunView:
        """The job has been preempted; it holds its cards until it is dropped."""
        run = self._runs[job_id]
        self._unlist(run)
        self._leaving.setdefault(beneficiary, {})[job_id] = None
        run = self._runs[job_id] = replace(run, leaving=True, leaving_for=beneficiary)
        return run

    def leaving_for(self, beneficiary: str) -> list[RunView]:
        """The jobs that are on their way out for this one."""
        return [self._runs[job_id] for job_id in self._leaving.get(beneficiary, ())]

    @property
    def beneficiaries(self) -> list[str]:
        """The jobs for which others are on their way out."""
        return list(self._leaving)

    # --- who may be preempted ------------------------------------------------------------------------

    def advance(self, now: float) -> list[str]:
        """Let time pass: the jobs whose minimum run is over since the last call."""
        due: list[str] = []
        while self._timeline and self._timeline[0][0] <= now:
            at, job_id = heappop(self._timeline)
            run = self._runs.get(job_id)
            if run is None or at < run.started_at + self._rules.min_run:
                continue
            due.append(job_id)
            self._list(run, now)
            crossing = self._next_level_at(run, now)
            if not math.isinf(crossing):
                heappush(self._timeline, (crossing, job_id))
        return due

    @property
    def next_change(self) -> float:
        """When a job may be preempted that could not before; infinity if none."""
        return self._timeline[0][0] if self._timeline else math.inf

    def service(self, run: RunView, now: float) -> float:
        """Weighted GPU-seconds that the job has had, in ended attempts and this one."""
        return run.job.service + self._rates[run.job.id] * max(0.0, now - run.started_at)

    def lowest_urgency(self, project: str) -> float:
        """Of the jobs of the project that may be preempted; infinity where there are none."""
        return (
            min(self._victims[project], default=math.inf) if project in self._victims else math.inf
        )

    def victims(self, project: str, below: float = math.inf) -> list[RunView]:
        """The jobs of the project that may be preempted and are less urgent than `below`, the least urgent first."""
        groups = self._victims.get(project, {})
        return [
            self._runs[job_id]
            for urgent in sorted(groups)
            if urgent < below
            for job_id in groups[urgent]
        ]

    @property
    def projects_with_victims(self) -> list[str]:
        """Projects in which something may be preempted."""
        return [slug for slug, groups in self._victims.items() if groups]

    def urgency(self, run: RunView, now: float) -> float:
        """How urgent a running job is, with the service that it has had by now."""
        return urgency(run.job, self.service(run, now), self._rules)

    def _list(self, run: RunView, now: float) -> None:
        self._unlist(run)
        may_go = run.job.preemptible and not run.leaving and not run.frozen
        if may_go and run.job.preemptions < self._rules.most_preemptions:
            urgent = self._urgency[run.job.id] = self.urgency(run, now)
            self._victims[run.job.project].setdefault(urgent, {})[run.job.id] = None

    def _unlist(self, run: RunView) -> None:
        urgent = self._urgency.pop(run.job.id, None)
        if urgent is None:
            return
        groups = self._victims[run.job.project]
        del groups[urgent][run.job.id]
        if not groups[urgent]:
            del groups[urgent]

    def _next_level_at(self, run: RunView, now: float) -> float:
        rate, had = self._rates[run.job.id], self.service(run, now)
        passed = level(run.job, had, self._rules)
        levels = self._rules.service_levels
        if not run.job.preemptible or passed >= len(levels) or rate <= 0:
            return math.inf
        # a moment later than the crossing itself, so that the comparison there has flipped for certain
        return run.started_at + (levels[passed] - run.job.service) / rate + 1e-3
