"""A discrete-event simulation around a scheduler: the production one, or one to compare it with.

Four things happen: a job is handed in, a job is done, a preempted job has gone, and an instant comes at which the
scheduler said that time alone may change its mind. After each instant the scheduler is asked once. A preempted job
stops working at once, holds its cards for the first half of its suspend cost, and spends the other half before it
works again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import count

from jobs.core.plan import Start
from jobs.core.simulation import views
from jobs.core.simulation.conditions import Conditions
from jobs.core.simulation.deciding import Decider
from jobs.core.simulation.fleet_spec import MODES, FleetSpec, GivenCards
from jobs.core.simulation.results import Outcome, Totals, figures
from jobs.core.simulation.running import CardTable, Live, row
from jobs.core.simulation.shapes import Shapes
from jobs.core.simulation.shares import ShareMeter
from jobs.core.simulation.workload import WorkloadJob

_END, _GONE, _SUBMIT, _FORGIVEN, _LOOK = range(5)
"""Kinds of events; of those at one instant, smaller ones come first."""

_MOST_IDLE_LOOKS = 1000  # before a scheduler that starts nothing is given up
_MOST_ROUNDS = 1000  # at one instant, before a scheduler is said to go round in circles


class SimulationStuck(RuntimeError):
    """A scheduler preempts and starts the same jobs over and over, without time passing."""


def simulate(
    jobs: Iterable[WorkloadJob],
    fleet: FleetSpec | GivenCards,
    decider: Decider,
    conditions: Conditions | None = None,
    *,
    heed: Callable[[float], None] | None = None,
) -> Outcome:
    """Run the jobs on the machines as the scheduler decides.

    `heed` is told each instant before it happens; what it raises ends the simulation.

    Raises:
        SimulationStuck: the scheduler goes round in circles.
    """
    return _Simulation(jobs, fleet, decider, conditions or Conditions()).run(heed)


class _Simulation:
    def __init__(
        self,
        jobs: Iterable[WorkloadJob],
        fleet: FleetSpec | GivenCards,
        decider: Decider,
        conditions: Conditions,
    ) -> None:
        self._decider = decider
        self._conditions = conditions
        self._jobs = tuple(jobs)
        cards = fleet.cards(MODES[conditions.mode])
        self._by_uuid = {card.uuid: card for card in cards}
        self._cards = CardTable(cards, conditions.overlap)
        shapes = Shapes(cards, fleet.nodes())
        self._lives = {
            job.id: Live(job, shape) for job in self._jobs if (shape := shapes.of(job)) is not None
        }
        self._waiting: set[str] = set()
        self._shares = ShareMeter(conditions.weight)
        self._events: list[tuple[float, int, int, str, int]] = []
        self._numbers = count()
        self._look_at = math.inf
        self._to_come = self._to_end = len(self._lives)
        self._idle_looks = 0  # in a row, while nothing runs and nobody comes
        self._now = min(map(_coming, self._jobs), default=0.0)
        self._busy_time = self._booked_time = self._passed = 0.0
        self._policy_problem = ""
        for card in cards:
            decider.put_card(card)
        for node in fleet.nodes():
            decider.put_node(node)
        for project in views.projects(self._jobs, conditions):
            decider.put_project(project, self._now)

    def run(self, heed: Callable[[float], None] | None = None) -> Outcome:
        """Let everything happen, then count."""
        for live in self._lives.values():
            self._plan_event(_coming(live.job), _SUBMIT, live)
        rounds = 0
        while self._events and self._goes_on():
            now = self._events[0][0]
            rounds = rounds + 1 if now == self._now else 0
            if rounds > _MOST_ROUNDS:
                raise SimulationStuck(
                    f"At {now:.0f} s the scheduler preempts and starts jobs for ever; its order must not depend on "
                    "what it has just started."
                )
            if heed is not None:
                heed(now)
            self._pass_time(now)
            if self._handle_events(now):
                self._decide(now)
        return self._outcome()

    def _goes_on(self) -> bool:
        """Until all is done or, where nothing departs, all have come; or where nothing is left but idle looks."""
        if not self._conditions.departures:
            return self._to_come > 0
        return self._to_come + self._to_end > 0 and self._idle_looks < _MOST_IDLE_LOOKS

    # --- events --------------------------------------------------------------------------------------

    def _plan_event(self, at: float, kind: int, live: Live | None, number: int = 0) -> None:
        name = live.job.id if live else ""
        heappush(self._events, (at, kind, next(self._numbers), name, number))

    def _handle_events(self, now: float) -> bool:
        """Let happen what happens now. Whether the scheduler must be asked."""
        asked = False
        while self._events and self._events[0][0] == now:
            _at, kind, _number, name, due = heappop(self._events)
            if kind == _LOOK:
                asked = asked or now == self._look_at
                self._idle_looks += 1
                continue
            self._idle_looks = 0
            live = self._lives[name]
            if kind == _SUBMIT:
                self._to_come -= 1
                self._queue(live, now)
            elif kind == _END:
                asked = self._end(live, now, due) or asked
                continue
            elif kind == _GONE:
                self._gone(live, now)
            else:
                self._forgive(live, now)
            asked = True
        return asked

    def _queue(self, live: Live, now: float) -> None:
        self._waiting.add(live.job.id)
        self._shares.wait(live.job.project, 1)
        self._decider.queue(views.job(live, self._conditions, now))

    def _end(self, live: Live, now: float, due: int) -> bool:
        """The job is done; False where that was predicted before its speed changed."""
        if due != live.due or live.placements is None or live.leaving:
            return False
        live.advance(now)
        live.left, live.end = 0.0, now
        self._to_end -= 1
        self._retime(self._cards.remove(live), now)
        self._release(live, now)
        return True

    def _gone(self, live: Live, now: float) -> None:
        """A preempted job has given its cards back, and waits again."""
        live.leaving = False
        live.lost += (now - live.since) * live.cards
        live.waiting_since = now
        live.to_start = live.job.start_overhead + self._conditions.suspend_seconds / 2
        self._release(live, now)
        self._queue(live, now)

    def _forgive(self, live: Live, now: float) -> None:
        """A preemption is so long ago that it no longer counts."""
        if live.job.id in self._waiting:
            self._decider.queue(views.job(live, self._conditions, now))
        elif live.placements is not None and not live.leaving:
            live.advance(now)
            self._decider.put_run(views.run(live, self._conditions, now))

    def _release(self, live: Live, now: float) -> None:
        self._cards.book(live, -1)
        run = self._decider.end(live.job.id, now)
        rate = views.charge_rate_of(run, self._by_uuid)
        live.service += (now - live.started_at) * rate
        self._shares.hold(live.job.project, -live.cards)
        live.placements = None

    # --- decisions -----------------------------------------------------------------------------------

    def _decide(self, now: float) -> None:
        plan = self._decider.decide(now)
        self._policy_problem = plan.policy_problem or self._policy_problem
        for preemption in plan.preemptions:
            self._preempt(self._lives[preemption.job], now)
        for start in plan.starts:
            self._start(start, now)
        self._look_at = self._decider.next_change()
        if now < self._look_at < math.inf:
            self._plan_event(self._look_at, _LOOK, None)

    def _preempt(self, live: Live, now: float) -> None:
        live.advance(now)
        live.leaving = True
        live.due += 1
        live.preempted_at.append(now)
        self._retime(self._cards.remove(live), now)
        self._plan_event(now + self._conditions.suspend_seconds / 2, _GONE, live)
        self._plan_event(now + self._conditions.preemption_window, _FORGIVEN, live)

    def _start(self, start: Start, now: float) -> None:
        live = self._lives[start.job]
        self._waiting.discard(start.job)
        self._shares.wait(live.job.project, -1)
        self._shares.hold(live.job.project, live.cards)
        live.start(start.placements, now)
        self._cards.book(live, 1)
        others = self._cards.add(live)
        live.speed = self._cards.speed(live)
        self._predict_end(live)
        self._retime(others, now)

    def _retime(self, others: Iterable[Live], now: float) -> None:
        """Let the jobs whose cards have changed work on at their new speed."""
        for live in others:
            live.advance(now)
            live.speed = self._cards.speed(live)
            self._predict_end(live)

    def _predict_end(self, live: Live) -> None:
        live.due += 1
        if self._conditions.departures:
            self._plan_event(live.expected_end(), _END, live, live.due)

    # --- counting ------------------------------------------------------------------------------------

    def _pass_time(self, now: float) -> None:
        passed = now - self._now
        if passed:
            self._passed += passed
            self._busy_time += passed * self._cards.busy
            self._booked_time += passed * self._cards.booked
            self._shares.pass_time(passed)
            self._now = now

    def _outcome(self) -> Outcome:
        rows = tuple(row(job, self._lives.get(job.id)) for job in self._jobs)
        totals = Totals(
            lost_gpu_s=math.fsum(live.lost for live in self._lives.values()),
            gpu_busy_ratio=self._ratio(self._busy_time, self._cards.busy, self._cards.number),
            memory_booked_ratio=self._ratio(
                self._booked_time, self._cards.booked, self._cards.memory
            ),
            share_error=self._shares.error(),
        )
        return Outcome(
            figures=figures(rows, totals),
            rows=rows,
            never_fit=tuple(job.id for job in self._jobs if job.id not in self._lives),
            shares=self._shares.shares(),
            policy_problem=self._policy_problem,
        )

    def _ratio(self, over_time: float, at_the_end: float, whole: float) -> float | None:
        """Over the whole time or, where nothing departs, at the end."""
        if not self._conditions.departures:
            return at_the_end / whole
        return over_time / (whole * self._passed) if self._passed else None


def _coming(job: WorkloadJob) -> float:
    return job.submit if job.comes is None else job.comes
