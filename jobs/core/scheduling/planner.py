"""The scheduler: takes in changes, and decides what starts, who gives way, and why everybody else waits.

`decide` on a snapshot builds one of these, asks it once and forgets it. The dispatcher keeps one and tells it only
what has changed; both decide the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jobs.core.constraints import Need
from jobs.core.plan import Plan, Preempt, Reservation, Wait
from jobs.core.scheduling.givingway import GivingWay
from jobs.core.scheduling.rules import Rules
from jobs.core.scheduling.sequence import sequence
from jobs.core.scheduling.standing import Standing, standing_of
from jobs.core.scheduling.state import State
from jobs.core.scheduling.waits import Waits
from jobs.core.scheduling.walk import Walk
from jobs.core.snapshot import DeviceView, JobView, NodeView, ProjectView, RunView, Snapshot


class Planner:
    """Everything that waits and runs on one fleet. Nothing is started here, and no clock is read."""

    def __init__(
        self,
        rules: Rules | None = None,
        *,
        most_nodes: int | None = 1,
        max_workers: int | None = None,
        agents_fresh: bool = True,
        pick: Callable[[int], int] | None = None,
    ) -> None:
        self._state = State(
            rules or Rules(),
            most_nodes=most_nodes,
            max_workers=max_workers,
            agents_fresh=agents_fresh,
            pick=pick,
        )
        self._waits = Waits(self._state)
        self._now = 0.0
        self._next = 0.0
        self._reservations: Plan = Plan()

    @classmethod
    def of(cls, snapshot: Snapshot) -> Planner:
        """A scheduler that knows what the snapshot shows."""
        scheduler = cls(
            snapshot.rules,
            most_nodes=snapshot.most_nodes,
            max_workers=snapshot.max_workers,
            agents_fresh=snapshot.agents_fresh,
        )
        scheduler.load(snapshot)
        return scheduler

    def load(self, snapshot: Snapshot) -> None:
        """Take over all of a snapshot, in an order of our own, so that the order of its rows decides nothing."""
        self._now = snapshot.now
        for card in sorted(snapshot.devices, key=lambda card: (card.node, card.index, card.uuid)):
            self.put_card(card)
        for node in snapshot.nodes:
            self.put_node(node)
        for project in snapshot.projects.values():
            self.put_project(project, snapshot.now)
        for run in sorted(snapshot.running, key=lambda run: (run.started_at, run.job.id)):
            self.put_run(run)
        for job in sorted(snapshot.queued, key=lambda job: job.id):
            self.queue(job)

    # --- changes -------------------------------------------------------------------------------------

    def limit(self, *, max_workers: int | None, agents_fresh: bool) -> None:
        """The most jobs that may hold cards, and whether any agent has reported lately."""
        state = self._state
        if (state.max_workers, state.agents_fresh) != (max_workers, agents_fresh):
            state.max_workers, state.agents_fresh = max_workers, agents_fresh
            state.is_dirty = True

    def put_card(self, card: DeviceView) -> None:
        """A card that is new or has changed."""
        self._state.put_card(card)

    def drop_card(self, uuid: str) -> None:
        """A card that is no more."""
        self._state.drop_card(uuid)

    def put_node(self, node: NodeView) -> None:
        """A machine's processors and main memory."""
        self._state.fleet.put_node(node)
        self._state.is_dirty = True

    def put_project(self, project: ProjectView, now: float) -> None:
        """A project's quota, share and past usage as of `now`."""
        self._state.put_project(project, now)

    def queue(self, job: JobView) -> None:
        """A job that waits, or new values of one."""
        self._state.queue(job, self._now)

    def withdraw(self, job_id: str) -> None:
        """A job that waits no more."""
        self._state.withdraw(job_id)

    def put_run(self, run: RunView) -> None:
        """A job that holds cards; what is left of the cards is told by `put_card`."""
        self._state.put_run(run, self._now)

    def drop_run(self, job_id: str) -> RunView | None:
        """A job that holds nothing any more; what its cards have left is told by `put_card`."""
        return self._state.drop_run(job_id)

    def end(self, job_id: str, at: float) -> RunView:
        """A job that ends in a simulation: its cards are given back, and its usage is counted, here."""
        run = self._state.drop_run(job_id, at)
        if run is None:
            raise KeyError(f"{job_id} does not run, so it cannot end.")
        self._state.fleet.give_back(Need.of(run.job), run.placements)
        return run

    def rank(self, ranks: Mapping[str, int] | None) -> None:
        """Order by a policy's ranks (job id -> place) from here on; None: by fair share, priority and age."""
        if ranks is not self._state.line.ranks:
            self._state.line.rank(ranks)
            self._state.is_dirty = True

    # --- decisions -----------------------------------------------------------------------------------

    def decide(self, now: float) -> Plan:
        """What starts and who gives way now. Both are counted here as if they were carried out already."""
        self._now = now
        self._state.advance(now)
        if not self._state.is_dirty and now < self._next:
            return self._reservations
        plan = Walk(self._state, now).run()
        self._waits.forget()
        self._state.is_dirty = False  # a walk gives away all it can
        self._next = self._state.next_change(now)
        self._reservations = Plan(reservations=plan.reservations)
        return plan

    def relieve(self, uuid: str, job_id: str, short: int, now: float) -> tuple[Preempt, ...]:
        """Who gives way on a card so that a job there may keep `short` bytes beyond what the card has; counted here."""
        return GivingWay(self._state).for_memory(uuid, job_id, short, now)

    def unpack(self, uuid: str, now: float) -> tuple[Preempt, ...]:
        """Who gives way on a card whose jobs get less done together than one alone; counted here."""
        return GivingWay(self._state).for_pace(uuid, now)

    def next_change(self) -> float:
        """When time alone may change a decision (epoch seconds); infinity if it never will."""
        return self._state.next_change(self._now)

    # --- answers -------------------------------------------------------------------------------------

    def why(self, job_id: str) -> Wait | None:
        """Why a queued job does not start, as of the last decision; None where it does not queue."""
        return self._waits.of(job_id, self._now)

    def waits(self) -> tuple[Wait, ...]:
        """The reasons of all queued jobs, in their order."""
        return tuple(wait for job_id in self.order() if (wait := self.why(job_id)) is not None)

    def order(self, most: int | None = None) -> list[str]:
        """The queued jobs as they will be tried, at most so many: first those that could start, then the others."""
        return sequence(self._state, self._waits, self._now, most)

    def standing(self, job_id: str) -> Standing | None:
        """The steps by which a queued job is ordered; None where it does not queue."""
        job = self._state.waiting(job_id)
        return standing_of(self._state, job, self._now) if job else None

    def usage(self, project: str, user: str | None = None) -> float:
        """What a project, or one person in it, has used lately: decayed, weighted GPU-seconds."""
        books = self._state.usage
        if user is None:
            return books.of_project(project, self._now)
        return books.of_user(project, user, self._now)

    def run(self, job_id: str) -> RunView:
        """A job that holds cards.

        Raises:
            KeyError: it holds none.
        """
        found = self._state.runs.get(job_id)
        if found is None:
            raise KeyError(f"{job_id} does not run.")
        return found

    def job(self, job_id: str) -> JobView | None:
        """A queued job; None where it does not queue."""
        return self._state.waiting(job_id)

    @property
    def runs(self) -> tuple[RunView, ...]:
        """The jobs that hold cards, with those that the last decision started."""
        return tuple(self._state.runs)

    @property
    def cards(self) -> tuple[DeviceView, ...]:
        """All cards, with what has been counted on them."""
        return self._state.fleet.cards

    @property
    def reservations(self) -> tuple[Reservation, ...]:
        """The cards that are kept, as of the last decision."""
        return self._state.reservations.listed()

    def eligible(self) -> list[JobView]:
        """The jobs that a policy may order: none is kept back by a quota, a back-off or its size."""
        standing = self._waits.standing
        return [job for job in self._state.line if standing(job, self._now) is None]
