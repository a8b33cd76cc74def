"""Schedulers to compare the production one with, on the production fleet. None of them knows shares or quotas.

    fifo     strictly first come, first served: nobody passes the job at the head
    greedy   in order of arrival, passing over what does not fit
    easy     greedy, but the first job that does not fit has cards kept for it (Lifka 1995), with perfect estimates

Those that preempt are in preemptive.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

from jobs.core.constraints import Need
from jobs.core.plan import Placement, Plan, Preempt, PreemptionRule, Start
from jobs.core.scheduling.fleet import Fleet
from jobs.core.scheduling.preemption import cards_without
from jobs.core.scheduling.rules import Rules
from jobs.core.simulation.waiting import Key, Step, WaitingLines
from jobs.core.snapshot import DeviceView, JobView, NodeView, ProjectView, RunView

Placements = tuple[Placement, ...]


class Rival:
    """What all of them have in common: fleet, queue, running jobs. Derived classes say how a cycle goes."""

    knows_the_future = False  # whether it must be told how long each job still runs
    rule = PreemptionRule.PRIORITY

    def __init__(
        self,
        rules: Rules | None = None,
        *,
        most_nodes: int | None = None,
        pick: Callable[[int], int] | None = None,
    ) -> None:
        self.rules = rules or Rules()
        self.fleet = Fleet(strategy=self.rules.placement, most_nodes=most_nodes, pick=pick)
        self.lines = WaitingLines()
        self.runs: dict[str, RunView] = {}
        self.starts: list[Start] = []
        self.preemptions: list[Preempt] = []
        self.now = 0.0
        self._numbers: dict[str, int] = {}
        self._count = count()

    # --- what is told ----------------------------------------------------------------------------------

    def put_card(self, card: DeviceView) -> None:
        """A card is there."""
        self.fleet.put(card)

    def put_node(self, node: NodeView) -> None:
        """A machine has limits beside its cards."""
        self.fleet.put_node(node)

    def put_project(self, project: ProjectView, now: float) -> None:
        """Projects are no matter here."""

    def queue(self, job: JobView) -> None:
        """A job waits, or has changed."""
        if job.id not in self._numbers:
            self._numbers[job.id] = next(self._count)
        self.lines.put(job, self.key(job))

    def put_run(self, run: RunView) -> None:
        """A running job has changed."""
        self.runs[run.job.id] = run

    def end(self, job_id: str, at: float) -> RunView:
        """A job holds nothing any more."""
        del at
        run = self.runs.pop(job_id)
        self.fleet.give_back(Need.of(run.job), run.placements)
        return run

    # --- what is asked ---------------------------------------------------------------------------------

    def decide(self, now: float) -> Plan:
        """One cycle."""
        self.now, self.starts, self.preemptions = now, [], []
        self.fleet.set_aside_nothing()
        self.cycle()
        return Plan(starts=tuple(self.starts), preemptions=tuple(self.preemptions))

    def next_change(self) -> float:
        """When time alone may change a decision."""
        return math.inf

    # --- for derived classes ---------------------------------------------------------------------------

    def key(self, job: JobView) -> Key:
        """Where the job waits: by default by arrival. Never changes while it waits."""
        return (job.submitted_at, self.number(job.id))

    def number(self, job_id: str) -> int:
        """The place of a job among all that ever arrived."""
        return self._numbers[job_id]

    def cycle(self) -> None:
        """Start and preempt what must be started and preempted now."""
        raise NotImplementedError

    def start(self, job: JobView, need: Need, placements: Placements) -> Step:
        """Let a job start there."""
        self.fleet.take(need, placements)
        end = self.now + job.run_time
        self.runs[job.id] = RunView(
            job=job, placements=placements, started_at=self.now, expected_end=end
        )
        self.starts.append(Start(job=job.id, placements=placements))
        return Step.STARTED

    def room_without(self, need: Need, gone: Sequence[RunView]) -> Placements | None:
        """Where the job would be placed if these had gone; None if nowhere, or only where they are not."""
        return self.fleet.find_if(need, cards_without(self.fleet, gone))

    def fewest_gone(self, need: Need, runs: Sequence[RunView]) -> tuple[int, Placements] | None:
        """How many of these, from the first on, must have gone for the job to have room, and where it is then."""
        enough, known = 1, 0
        placements = None
        while placements is None and known < len(runs):  # twice as many each time, then by halves
            enough = min(enough, len(runs))
            placements = self.room_without(need, runs[:enough])
            known, enough = (known, enough) if placements else (enough, enough * 2)
        if placements is None:
            return None
        while enough - known > 1:
            middle = (known + enough) // 2
            fewer = self.room_without(need, runs[:middle])
            if fewer:
                enough, placements = middle, fewer
            else:
                known = middle
        return enough, placements

    def tell_to_leave(self, run: RunView, beneficiary: str) -> None:
        """Preempt a job."""
        self.runs[run.job.id] = replace(run, leaving=True, leaving_for=beneficiary)
        self.preemptions.append(
            Preempt(
                job=run.job.id,
                beneficiary=beneficiary,
                rule=self.rule,
                lost=run.job.suspend_seconds * run.job.cards,
            )
        )


class Fifo(Rival):
    """First come, first served, strictly."""

    def cycle(self) -> None:
        """Start jobs from the head until one does not fit."""
        self.lines.walk(self._try)

    def _try(self, job: JobView, need: Need, _key: Key) -> Step:
        placements = self.fleet.find(need)
        return self.start(job, need, placements) if placements is not None else Step.STOP


class Greedy(Rival):
    """First come, first served, passing over what does not fit."""

    def cycle(self) -> None:
        """Start whatever fits, in order of arrival."""
        self.lines.walk(self._try)

    def _try(self, job: JobView, need: Need, _key: Key) -> Step:
        placements = self.fleet.find(need)
        return self.start(job, need, placements) if placements is not None else Step.NO_ROOM


class Easy(Rival):
    """Backfilling with one reservation: nobody may delay the first job that does not fit."""

    knows_the_future = True

    def cycle(self) -> None:
        """Start from the head, keep cards for the first that does not fit, then fill the gaps around them."""
        self._kept: frozenset[str] = frozenset()
        self._until = -math.inf
        self._blocked = False
        self._full: set[Need] = set()
        self.lines.walk(self._try)

    def _try(self, job: JobView, need: Need, _key: Key) -> Step:
        if not self._blocked:
            placements = self.fleet.find(need)
            return self.start(job, need, placements) if placements is not None else self._keep(need)
        if need not in self._full:
            placements = self.fleet.find(need)
            if placements is not None:
                return self.start(job, need, placements)
            self._full.add(need)
        if self.now + job.run_time > self._until:
            return Step.LATER  # a shorter one may come
        placements = self.fleet.find(need, also=self._kept)
        return self.start(job, need, placements) if placements is not None else Step.NO_ROOM

    def _keep(self, need: Need) -> Step:
        """Keep the cards that will be free soonest."""
        self._blocked = True
        ends = sorted(self.runs.values(), key=lambda run: (run.expected_end, run.job.id))
        found = self.fewest_gone(need, ends)
        if found:
            gone, placements = found
            self._until = ends[gone - 1].expected_end
            self._kept = frozenset(each.uuid for each in placements)
            self.fleet.set_aside(self._kept)
        return Step.LATER
