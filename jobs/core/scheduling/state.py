"""What the scheduler knows and keeps between cycles, and every change that can be made to it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from heapq import heappop, heappush

from jobs.core.constraints import Need
from jobs.core.plan import Placement, WaitCode
from jobs.core.scheduling.fleet import Fleet
from jobs.core.scheduling.keys import Kind
from jobs.core.scheduling.line import Line, ProjectLine
from jobs.core.scheduling.preemption import Preemption, cards_without
from jobs.core.scheduling.promises import Promises
from jobs.core.scheduling.quota import QuotaBooks
from jobs.core.scheduling.reservations import Reservations
from jobs.core.scheduling.rules import Rules
from jobs.core.scheduling.runs import Runs
from jobs.core.scheduling.usage import UsageBooks, charge_rate
from jobs.core.snapshot import DeviceView, JobView, Limits, ProjectView, RunView

FRAGMENTATION = "fragmentation"  # the way of placing that looks at what else is asked for

_FURTHEST_STEP = 3  # people who have used more than three times their share are all alike
_GRAIN = 3  # decimals of a weighted GPU-second: below it sits only the noise of rounding
_REVIEW = 600.0  # seconds after which those who wait for the same quota are put in order again


class State:
    """The books that belong together. Each change costs little, and marks that there is something to decide."""

    def __init__(
        self,
        rules: Rules,
        *,
        most_nodes: int | None = 1,
        max_workers: int | None = None,
        agents_fresh: bool = True,
        pick: Callable[[int], int] | None = None,
    ) -> None:
        self.rules = rules
        self.max_workers = max_workers
        self.agents_fresh = agents_fresh
        self.fleet = Fleet(strategy=rules.placement, most_nodes=most_nodes, pick=pick)
        self.line = Line(rules)
        self.runs = Runs(rules)
        self.quota = QuotaBooks()
        self.usage = UsageBooks(rules.half_life, min(rules.min_run, rules.half_life))
        self.reservations = Reservations(self.fleet, self.runs, rules)
        self.promises = Promises()
        self.preemption = Preemption(self.fleet, self.runs, self.quota, rules)
        self.weights: dict[str, float] = {}
        self.is_dirty = True
        self._kept: list[str] = []  # jobs that count against quotas because cards are kept for them
        self._look_at = math.inf
        self._kept_quota: dict[tuple[str, str], str] = {}
        self._resting: list[tuple[float, str]] = []
        self.rested: dict[str, JobView] = {}  # jobs that wait out a back-off

    # --- questions -----------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether as many jobs hold cards as may."""
        return self.max_workers is not None and len(self.runs) >= self.max_workers

    @property
    def is_reachable(self) -> bool:
        """Whether anything can be started at all."""
        return self.agents_fresh and len(self.fleet) > 0

    def usage_by_share(self, slug: str, now: float) -> float:
        """What the project has used lately for each unit of its weight: the lowest goes first."""
        return round(self.usage.of_project(slug, now) / self.weights.get(slug, 1.0), _GRAIN)

    def steps(self, line: ProjectLine, now: float) -> dict[str, int]:
        """How many times each waiting person of a project has used their share of it, in whole steps."""
        people = set(line.people) | set(self.runs.people.get(line.slug, ()))
        if len(people) < 2 or self.line.has_policy:
            return {}
        entitled = self.entitled(line.slug) / len(people)
        used = {user: self.usage.of_user(line.slug, user, now) for user in line.people}
        return {
            user: min(_FURTHEST_STEP, int(amount / entitled)) if entitled > 0 else 0
            for user, amount in used.items()
            if amount >= entitled
        }

    def overdue(self, now: float) -> dict[str, list[JobView]]:
        """By project, the first of those who have waited too long and whom no quota forbids for good."""

        def is_of_use(job: JobView) -> bool:
            obstacle = self.quota.obstacle(job, now)
            return obstacle is None or obstacle.code is WaitCode.WAIT_QUOTA

        return self.line.overdue(now, is_of_use)

    def goes_before_borrowers(self, job: JobView, now: float, *, is_late: bool) -> bool:
        """Whether its project is within its guarantee with the job, or it has waited too long while others are.

        Not where it could be suspended: those with a guarantee would take its place back at once.
        """
        stays = not (job.preemptible and self.rules.preemption)
        if is_late and stays and self.quota.guaranteed:
            return True
        return self.quota.is_within_guarantee(job, now)

    def entitled(self, slug: str) -> float:
        """What the project would have used by now, had it always had its share of the whole fleet."""
        whole = sum(self.weights.get(name, 1.0) for name in self.active_projects) or 1.0
        share = self.weights.get(slug, 1.0) / whole
        return self.usage.full_use(self.fleet.weight * share)

    @property
    def active_projects(self) -> set[str]:
        """Projects in which somebody waits or runs."""
        waiting = {slug for slug, line in self.line.projects.items() if line.people}
        return waiting | {slug for slug, people in self.runs.people.items() if people}

    def entry_charge(self, job: JobView) -> float:
        """Roughly by how much a start of this job raises its project's usage by share."""
        share = min(1.0, job.min_memory / self.fleet.largest) if self.fleet.largest else 1.0
        charged = job.cards * max(share, job.sm_share) * self.rules.min_run
        return charged / self.weights.get(job.project, 1.0)

    @property
    def guaranteed_projects(self) -> frozenset[str]:
        """Projects that may reclaim what others borrow; empty while nothing can be preempted."""
        if not self.rules.preemption or not self.runs.projects_with_victims:
            return frozenset()
        return self.quota.guaranteed

    def expect_more_of_the_same(self) -> None:
        """Tell the fleet what is asked for, where its way of placing wants to know."""
        if self.rules.placement != FRAGMENTATION:
            return
        shapes = Counter(Need.of(run.job) for run in self.runs)
        for kind, group in self.line.groups.items():
            shapes[kind.need] += sum(len(lane.jobs) for lane in group.lanes)
        self.fleet.expect(shapes)

    def waiting(self, job_id: str) -> JobView | None:
        """A queued job, wherever it waits."""
        promise = self.promises.get(job_id)
        if promise is not None:
            return promise.job
        return self.rested.get(job_id) or self.line.get(job_id)

    # --- changes -------------------------------------------------------------------------------------

    def put_card(self, card: DeviceView) -> None:
        """A card that is new or has changed."""
        if self.fleet.get(card.uuid) == card:
            return
        self.fleet.put(card)
        self._touch([card.uuid])

    def drop_card(self, uuid: str) -> None:
        """A card that is no more."""
        self.fleet.drop(uuid)
        self._touch([uuid])

    def put_project(self, project: ProjectView, now: float) -> None:
        """A project's quota, share and past usage as of `now`."""
        self.quota.put(project)
        self.weights[project.slug] = project.weight
        limited = {name for name, user in project.users.items() if user.limit != Limits()}
        self.line.set_limited(project.slug, limited)
        users = {user.name: user.usage for user in project.users.values()}
        self.usage.set_ended(project.slug, project.usage, users, now)
        self.is_dirty = True

    def queue(self, job: JobView, now: float) -> None:
        """A job that waits, or new values of one."""
        until = -math.inf if job.not_before is None else job.not_before
        rests = until > now
        promise = self.promises.get(job.id)
        if promise is not None and not rests and Need.of(job) == Need.of(promise.job):
            promise.job = job
            self.is_dirty = True
            return
        self._unpromise(job.id)
        if rests:
            self.line.remove(job.id)
            self.rested[job.id] = job
            heappush(self._resting, (until, job.id))
        else:
            self.rested.pop(job.id, None)
            self.line.add(job)
        self.is_dirty = True

    def withdraw(self, job_id: str) -> None:
        """The job waits no more."""
        self._unpromise(job_id)
        self.rested.pop(job_id, None)
        self.line.remove(job_id)
        self.is_dirty = True

    def put_run(self, run: RunView, now: float) -> None:
        """A job that holds cards."""
        if self.runs.get(run.job.id) == run:
            return
        self._unpromise(run.job.id)
        rate = self._rate(run)
        self.runs.put(run, rate)
        self.quota.hold(run)
        self.usage.start(run, rate, now)
        self._touch(each.uuid for each in run.placements)

    def drop_run(self, job_id: str, at: float | None = None) -> RunView | None:
        """The job holds nothing any more. `at`: its usage is counted here as ended then."""
        run = self.runs.drop(job_id)
        if run is None:
            return None
        self.quota.release(job_id)
        self.usage.stop(job_id, at)
        self._touch(each.uuid for each in run.placements)
        return run

    def tell_to_leave(self, run: RunView, beneficiary: JobView) -> None:
        """The job has been preempted for another; it holds its cards until it is dropped."""
        self.quota.hold(self.runs.tell_to_leave(run.job.id, beneficiary.id))
        self._touch(each.uuid for each in run.placements)

    def start(
        self, job: JobView, kind: Kind, placements: tuple[Placement, ...], now: float
    ) -> None:
        """The job gets these cards."""
        self.line.remove(job.id)
        self.fleet.take(kind.need, placements)
        for each in placements:
            self.reservations.use(each.uuid, each.memory, kind.need.sm_share)
        self.put_run(
            RunView(
                job=job, placements=placements, started_at=now, expected_end=now + job.run_time
            ),
            now,
        )

    def keep(self, job: JobView, kind: Kind, now: float) -> None:
        """Keep cards for the job where there are any, and the quota that it will need, until the next cycle."""
        if self.reservations.keep_for(job, kind, now):
            self.quota.promise(job, now)
            self._kept.append(job.id)

    def keep_quota(self, job: JobView, now: float, *, whole_project: bool) -> None:
        """Let nobody else take the quota for which this job waits, until the next cycle."""
        self.look_again_at(now + _REVIEW)  # use shifts with time, and with it who comes first
        account = (job.project, "" if whole_project else job.user)
        self._kept_quota.setdefault(account, job.id)

    def look_again_at(self, at: float) -> None:
        """A decision of this cycle may be another one from then on."""
        self._look_at = min(self._look_at, at)

    def kept_quota(self, job: JobView) -> str | None:
        """The other job for which the quota that this one would use is kept."""
        project = self._kept_quota.get((job.project, ""))
        holder = project or self._kept_quota.get((job.project, job.user))
        return None if holder == job.id else holder

    def keep_nothing(self) -> None:
        """A new cycle begins."""
        self.reservations.clear()
        self._kept_quota.clear()
        self._look_at = math.inf
        for job_id in self._kept:
            if job_id not in self.promises and self.runs.get(job_id) is None:
                self.quota.release(job_id)
        self._kept.clear()

    def promise(self, job: JobView, uuids: Collection[str], now: float) -> None:
        """Room is being made for the job on these cards."""
        self.line.remove(job.id)
        self.promises.make(job, uuids)
        self.quota.promise(job, now)

    def renew_promises(self, now: float) -> None:
        """Promise again what had been promised before a restart or a change: room that others are about to make."""
        for job_id in self.runs.beneficiaries:
            job = self.line.get(job_id)
            if job is None or self.quota.obstacle(job, now) is not None:
                continue
            placements = self.room_made_for(job)
            if placements:
                self.promise(job, [each.uuid for each in placements], now)

    def room_made_for(
        self, job: JobView, promised: Iterable[str] = ()
    ) -> tuple[Placement, ...] | None:
        """Where the job can go when all who leave for it have gone; None where nobody leaves, or in vain.

        On cards that they hold or that were `promised` to it before, but on none that is promised to another.
        """
        leaving = self.runs.leaving_for(job.id)
        if not leaving:
            return None
        kept = {uuid: card for uuid in promised if (card := self.fleet.get(uuid)) is not None}
        kept.update(cards_without(self.fleet, leaving))
        free = {uuid: card for uuid, card in kept.items() if uuid not in self.reservations.taken}
        return self.fleet.find_if(Need.of(job), free)

    def back_in_line(self, job_id: str) -> None:
        """What was promised did not come true: the job waits like everybody else."""
        promise = self._unpromise(job_id)
        if promise is not None:
            self.line.add(promise)

    def step_back(self, now: float) -> None:
        """Tell people apart by how much of their share they have used."""
        for slug, project in self.line.projects.items():
            self.line.set_steps(slug, self.steps(project, now))

    # --- time ----------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Let time pass: minimum runs end, service levels are crossed, back-offs are over."""
        self.usage.advance(now)
        if self.runs.advance(now):
            self.is_dirty = True
        while self._resting and self._resting[0][0] <= now:
            at, job_id = heappop(self._resting)
            job = self.rested.get(job_id)
            if job is not None and job.not_before == at:
                del self.rested[job_id]
                self.line.add(job)
                self.is_dirty = True

    def next_change(self, now: float) -> float:
        """When time alone may change a decision; infinity if it never will."""
        return min(
            self.runs.next_change,
            self._resting[0][0] if self._resting else math.inf,
            self.promises.next_lapse,
            self.line.next_guard(now),
            self._look_at,
        )

    # --- inside --------------------------------------------------------------------------------------

    def _touch(self, uuids: Iterable[str]) -> None:
        self.reservations.touch(uuids)
        self.is_dirty = True

    def _unpromise(self, job_id: str) -> JobView | None:
        promise = self.promises.drop(job_id)
        if promise is None:
            return None
        self.quota.release(job_id)
        return promise.job

    def _rate(self, run: RunView) -> float:
        cards = [(each.memory, self.fleet.seen(each.uuid)) for each in run.placements]
        return sum(
            charge_rate(memory, card, run.job.sm_share)
            for memory, card in cards
            if card is not None
        )
