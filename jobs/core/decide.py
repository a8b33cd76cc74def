"""The rule of the house: from a snapshot to a plan. Start reading here.

What this does not do yet: hold memory back for a job that waits for it. A job that does not fit is passed over, and
those behind it are tried, so a large job can be kept waiting by an endless stream of small ones, even of lower
priority. Reservations with backfill are to end that.
"""

from __future__ import annotations

import math

from jobs.core.constraints import Need, Obstacle
from jobs.core.placement import Fleet, lasting_obstacle
from jobs.core.plan import Placement, Plan, Start, Wait, WaitCode
from jobs.core.policy import BasePolicy, ordered
from jobs.core.quota import QuotaBooks
from jobs.core.snapshot import JobView, Snapshot

_BACKOFF_STEP = 10  # seconds; the number shown changes this often, and so is stored this often


def decide(snapshot: Snapshot, policy: BasePolicy | None = None) -> Plan:
    """What starts now, on which cards, and why each other queued job does not.

    The same snapshot gives the same plan. Nothing is started here.
    """
    # 1. Open the books: what is left of the cards, of the projects' quotas and of the site's limit.
    books = _Books(snapshot)
    # 2. Set aside the jobs that could not start even if nobody were ahead of them.
    eligible, waits = _set_aside(snapshot, books)
    # 3. The policy orders the others.
    order = ordered(eligible, policy)
    # 4. In that order, start each job that fits; what it takes is gone for those behind it.
    starts: list[Start] = []
    left: list[JobView] = []
    for job in order.jobs:
        placements = books.place(job)
        if placements:
            starts.append(Start(job=job.id, placements=placements))
        else:
            left.append(job)
    # 5. Everybody else waits, for what stands in the way after those starts.
    waits += [_wait(job, books.obstacle(job)) for job in left]
    return Plan(starts=tuple(starts), waits=tuple(waits), policy_problem=order.problem)


def in_order(snapshot: Snapshot, policy: BasePolicy | None = None) -> tuple[JobView, ...]:
    """All queued jobs as they will be tried: first those that could start, in the policy's order, then the others."""
    eligible, waits = _set_aside(snapshot, _Books(snapshot))
    aside = {wait.job for wait in waits}
    others = [job for job in snapshot.queued if job.id in aside]
    return ordered(eligible, policy).jobs + ordered(others).jobs


def _set_aside(snapshot: Snapshot, books: _Books) -> tuple[list[JobView], list[Wait]]:
    eligible: list[JobView] = []
    waits: list[Wait] = []
    for job in snapshot.queued:
        obstacle = books.standing_obstacle(job)
        if obstacle is None:
            eligible.append(job)
        else:
            waits.append(_wait(job, obstacle))
    return eligible, waits


def _wait(job: JobView, obstacle: Obstacle) -> Wait:
    return Wait(job=job.id, code=obstacle.code, numbers=obstacle.numbers)


class _Books:
    """What one cycle may still give away.

    It only ever shrinks: what did not fit once does not fit later in the cycle. So of each class of equal needs only
    the first failure costs a search, and the reason found at the end holds for all of them.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._fleet = Fleet(snapshot.devices)
        self._quotas = QuotaBooks(snapshot.projects)
        self._holding = snapshot.holding
        self._lasting: dict[Need, Obstacle | None] = {}
        self._full: set[Need] = set()
        self._reasons: dict[Need, Obstacle] = {}

    def standing_obstacle(self, job: JobView) -> Obstacle | None:
        """What keeps the job from starting even with nobody ahead of it: its size, its project's quota, a back-off."""
        need = Need.of(job)
        if need not in self._lasting:
            self._lasting[need] = lasting_obstacle(need, self._snapshot.devices)
        return self._lasting[need] or self._quotas.obstacle(job) or self._backoff(job)

    def place(self, job: JobView) -> tuple[Placement, ...] | None:
        """Cards for the job, counted as taken; None where it cannot start now."""
        need = Need.of(job)
        if need in self._full or self._site_obstacle() or self._quotas.obstacle(job):
            return None
        placements = self._fleet.place(need)
        if placements is None:
            self._full.add(need)
            return None
        self._quotas.take(job)
        self._holding += 1
        return placements

    def obstacle(self, job: JobView) -> Obstacle:
        """Why `place` gave the job nothing."""
        passing = self._site_obstacle() or self._quotas.obstacle(job)
        if passing:
            return passing
        need = Need.of(job)
        if need not in self._reasons:
            self._reasons[need] = self._fleet.obstacle(need)
        return self._reasons[need]

    def _site_obstacle(self) -> Obstacle | None:
        if not self._snapshot.devices or not self._snapshot.agents_fresh:
            return Obstacle(code=WaitCode.AGENT_OFFLINE, numbers={})
        most = self._snapshot.max_workers
        if most is None or self._holding < most:
            return None
        numbers = {"holding": self._holding, "max_workers": most}
        return Obstacle(code=WaitCode.WAIT_MAX_WORKERS, numbers=numbers)

    def _backoff(self, job: JobView) -> Obstacle | None:
        if job.not_before is None or job.not_before <= self._snapshot.now:
            return None
        steps = math.ceil((job.not_before - self._snapshot.now) / _BACKOFF_STEP)
        numbers = {"until": job.not_before, "wait": steps * _BACKOFF_STEP}
        return Obstacle(code=WaitCode.WAIT_BACKOFF, numbers=numbers)
