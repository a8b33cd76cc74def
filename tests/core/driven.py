"""A scheduler that is told of random changes, with plain records of the same world beside it.

The records know nothing of how the scheduler keeps its books: they are rows, changed one by one, from which a snapshot
can be made at any time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from jobs.core.constraints import in_steps
from jobs.core.plan import Plan
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.rules import Rules
from jobs.core.scheduling.usage import charge_rate
from jobs.core.snapshot import (
    DeviceView,
    JobView,
    Limits,
    ProjectView,
    RunView,
    Snapshot,
    UserView,
)
from jobs.core.states import Priority
from jobs.core.units import GIB
from tests.builders import NOW, card, evolve

PROJECTS = ("vision", "speech", "robots")
PEOPLE = ("ana", "bo")
MOST_CARDS, MOST_QUEUED = 8, 40
FORGOTTEN = 60  # half-lives after which usage is too small to be seen
GIVEN = (None, 1, 2, 4)  # numbers of cards or jobs that limits and guarantees name


class Driven:
    """One world; every method that changes it tells the scheduler and notes it in the records."""

    def __init__(self, seed: int, *, rules: Rules | None = None) -> None:
        self.dice = Random(seed)
        self.rules = rules or Rules(half_life=6 * 3600.0)
        self.now = NOW
        self.cards: dict[str, DeviceView] = {}
        self.queued: dict[str, JobView] = {}
        self.running: dict[str, RunView] = {}
        self.projects: dict[str, ProjectView] = {}
        self.ended: list[tuple[RunView, float, float]] = []  # what ran, its rate, until when
        self.rates: dict[str, float] = {}
        self.ranks: dict[str, int] | None = None
        self.max_workers: int | None = None
        self.scheduler = Planner(self.rules)
        self.count = 0
        for _ in range(self.dice.randint(1, 6)):
            self.new_card()
        for slug in PROJECTS:
            self.change_project(slug)

    # --- questions -------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The records, as one who knows nothing but them would tell them."""
        return Snapshot(
            now=self.now,
            devices=tuple(self.cards.values()),
            queued=tuple(self.queued.values()),
            running=tuple(self.running.values()),
            projects={slug: self.project_now(slug) for slug in PROJECTS},
            max_workers=self.max_workers,
            rules=self.rules,
        )

    def project_now(self, slug: str) -> ProjectView:
        """The project with the usage of its ended jobs as of now."""
        view = self.projects[slug]
        users = {
            name: evolve(user, usage=self.used(slug, name)) for name, user in view.users.items()
        }
        return evolve(view, usage=self.used(slug), users=users)

    def used(self, slug: str, user: str | None = None) -> float:
        """Decayed usage of ended jobs, by its definition: the integral of rate x 2^(-age / half-life)."""
        return math.fsum(
            rate * self.decayed(run.started_at, until)
            for run, rate, until in self.ended
            if run.job.project == slug and user in (None, run.job.user)
        )

    def decayed(self, begin: float, end: float) -> float:
        """Seconds from `begin` to `end`, each counting half as much for every half-life that it is old."""
        scale = self.rules.half_life / math.log(2)
        return scale * (
            2 ** ((end - self.now) / self.rules.half_life)
            - 2 ** ((begin - self.now) / self.rules.half_life)
        )

    # --- what may happen -------------------------------------------------------------------------------

    def step(self) -> None:
        """Let one thing happen, drawn by chance."""
        happenings: list[Callable[[], None]] = (
            [self.submit] * 6
            + [self.end_one] * 4
            + [self.decide] * 4
            + [self.pass_time] * 3
            + [self.change_job, self.withdraw_one, self.change_run, self.change_card]
            + [self.change_project, self.change_limit, self.change_ranks, self.new_card]
            + [self.lose_card]
        )
        self.dice.choice(happenings)()

    def pass_time(self) -> None:
        self.now += self.dice.choice([1.0, 20.0, 40.0, 700.0, 1900.0, 8000.0, 60_000.0])

    def submit(self) -> None:
        if len(self.queued) < MOST_QUEUED:
            self.count += 1
            self.queue(self.new_job(f"job-{self.count}"))

    def queue(self, job: JobView) -> None:
        self.queued[job.id] = job
        self.scheduler.queue(job)

    def new_job(self, name: str) -> JobView:
        pick = self.dice.choice
        return JobView(
            id=name,
            task_id=name,
            project=pick(PROJECTS),
            user=pick(PEOPLE),
            priority=pick(list(Priority)),
            submitted_at=self.now - pick([0, 0, 100, 9000, 200_000]),
            min_memory=pick([4, 8, 20, 40, 78]) * GIB,
            gpus=pick([1, 1, 1, 1, 2, 3]),
            exclusive=pick([False] * 5 + [True]),
            preemptible=pick([True, False]),
            est_time=pick([math.inf, 600.0, 7200.0]),
            not_before=pick([None] * 6 + [self.now + 50]),
            suspend_seconds=pick([0.0, 60.0]),
            sm_share=pick([0.0, 0.3, 0.8]),
        )

    def change_job(self) -> None:
        if self.queued:
            job = self.dice.choice(list(self.queued.values()))
            self.queue(evolve(self.new_job(job.id), project=job.project, user=job.user))

    def withdraw_one(self) -> None:
        if self.queued:
            name = self.dice.choice(list(self.queued))
            del self.queued[name]
            self.scheduler.withdraw(name)

    def end_one(self) -> None:
        """A job ends; one that was preempted waits again."""
        if not self.running:
            return
        run = self.running.pop(self.dice.choice(list(self.running)))
        self.ended.append((run, self.rates.pop(run.job.id), self.now))
        while self.ended[0][2] < self.now - FORGOTTEN * self.rules.half_life:
            del self.ended[0]
        self.count_on_cards(run, -1)
        self.tell_end(run)
        if run.leaving_for:
            had = self.ended[-1][1] * (self.now - run.started_at)
            self.queue(
                evolve(
                    run.job,
                    waiting_since=self.now,
                    service=run.job.service + had,
                    preemptions=run.job.preemptions + 1,
                )
            )

    def tell_end(self, run: RunView) -> None:
        """As a simulation does, or as one who measures and counts by himself."""
        if self.dice.random() < 0.5:
            self.scheduler.end(run.job.id, self.now)
            return
        self.scheduler.drop_run(run.job.id)
        for each in run.placements:
            if each.uuid in self.cards:
                self.scheduler.put_card(self.cards[each.uuid])
        self.scheduler.put_project(self.project_now(run.job.project), self.now)

    def change_run(self) -> None:
        if not self.running:
            return
        run = self.dice.choice(list(self.running.values()))
        self.put_run(
            evolve(
                run,
                expected_end=self.dice.choice([math.inf, self.now + 10, self.now + 5000]),
                saved_at=self.dice.choice([None, self.now]),
                frozen=self.dice.choice([False, False, True]),
            )
        )

    def put_run(self, run: RunView) -> None:
        self.running[run.job.id] = run
        self.scheduler.put_run(run)

    def new_card(self) -> None:
        index = next(index for index in range(99) if uuid_of(index) not in self.cards)
        if index < MOST_CARDS:
            self.put_card(card(index % 3, node=f"node-{index // 3}", max_holders=3, max_busy=1.2))

    def lose_card(self) -> None:
        """A card on which nobody is comes off the list."""
        free = [uuid for uuid, view in self.cards.items() if not view.holders]
        if free and len(self.cards) > 1:
            uuid = self.dice.choice(free)
            del self.cards[uuid]
            self.scheduler.drop_card(uuid)

    def put_card(self, view: DeviceView) -> None:
        self.cards[view.uuid] = view
        self.scheduler.put_card(view)

    def change_card(self) -> None:
        view = self.dice.choice(list(self.cards.values()))
        strange = self.dice.choice([0, 0, 10]) * GIB
        rest = view.total - view.booked - strange
        self.put_card(
            evolve(
                view,
                drained=self.dice.choice([False, False, False, True]),
                foreign=strange,
                measured_free=self.dice.choice([rest, rest, None]),
            )
        )

    def change_project(self, slug: str | None = None) -> None:
        pick = self.dice.choice
        slug = slug or pick(PROJECTS)
        limits = {name: Limits(running=pick(GIVEN)) for name in PEOPLE}
        self.projects[slug] = ProjectView(
            slug=slug,
            limit=Limits(cards=pick(GIVEN), running=pick(GIVEN)),
            guarantee=Limits(cards=pick(GIVEN)),
            weight=pick([1.0, 3.0]),
            users={name: UserView(name=name, limit=limits[name]) for name in PEOPLE},
        )
        self.scheduler.put_project(self.project_now(slug), self.now)

    def change_limit(self) -> None:
        self.max_workers = self.dice.choice([None, None, 3, 6])
        self.scheduler.limit(max_workers=self.max_workers, agents_fresh=True)

    def change_ranks(self) -> None:
        """A policy of the site orders who waits now, or none does."""
        names = self.dice.sample(list(self.queued), len(self.queued))
        self.ranks = self.dice.choice([None, None, {name: at for at, name in enumerate(names)}])
        self.scheduler.rank(self.ranks)

    # --- decisions -------------------------------------------------------------------------------------

    def decide(self) -> Plan:
        plan = self.scheduler.decide(self.now)
        self.carry_out(plan)
        return plan

    def carry_out(self, plan: Plan) -> None:
        """Note what has been decided; the scheduler has counted it already."""
        for start in plan.starts:
            job = self.queued.pop(start.job)
            run = RunView(
                job=job,
                placements=start.placements,
                started_at=self.now,
                expected_end=self.now + job.run_time,
            )
            self.running[job.id] = run
            self.rates[job.id] = sum(
                charge_rate(each.memory, self.cards[each.uuid], job.sm_share)
                for each in start.placements
            )
            self.count_on_cards(run, 1)
        for preempt in plan.preemptions:
            run = self.running[preempt.job]
            self.running[preempt.job] = evolve(run, leaving=True, leaving_for=preempt.beneficiary)

    def count_on_cards(self, run: RunView, sign: int) -> None:
        for each in run.placements:
            view = self.cards[each.uuid]
            free, holders = view.measured_free, view.holders + sign
            self.cards[each.uuid] = evolve(
                view,
                booked=view.booked + sign * each.memory,
                holders=holders,
                measured_free=None if free is None else free - sign * each.memory,
                exclusive=run.job.exclusive if sign > 0 else False,
                busy=view.busy + sign * in_steps(run.job.sm_share) if holders else 0.0,
            )


def uuid_of(index: int) -> str:
    return f"node-{index // 3}-gpu{index % 3}"
