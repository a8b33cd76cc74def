"""What projects and people hold, beside what they may and what they are guaranteed; a start counts at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from jobs.core.constraints import Obstacle
from jobs.core.plan import WaitCode
from jobs.core.snapshot import JobView, Limits, ProjectView, RunView, UserView

_NO_LIMITS = Limits()
_NOTHING = {"cards": 0, "memory": 0, "running": 0}
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class _Claim:
    """What one job counts for."""

    project: str
    user: str
    cards: int
    memory: int
    since: float  # from here on it counts towards the month
    leaves: bool = False  # it holds all this, but has been told to give it back


class QuotaBooks:
    """The accounts of all projects and of the people in them."""

    def __init__(self) -> None:
        self._projects: dict[str, _Account] = {}
        self._users: dict[tuple[str, str], _Account] = {}
        self._claims: dict[str, _Claim] = {}  # by job
        self._people: dict[str, set[str]] = {}  # of a project, as last told
        self.guaranteed: frozenset[str] = frozenset()  # projects with a guarantee

    def put(self, project: ProjectView) -> None:
        """Take over a project's limits and what its ended jobs have used this month."""
        account = self._project(project.slug)
        account.set(project.limit, project.guarantee, project.gpu_hours_month, project.month_began)
        has_one = {project.slug} if project.guarantee != _NO_LIMITS else frozenset()
        self.guaranteed = (self.guaranteed - {project.slug}) | has_one
        told = self._people.get(project.slug, set())
        self._people[project.slug] = set(project.users)
        for name in told | project.users.keys():  # who is named no more has no limits
            user = project.users.get(name) or UserView(name=name)
            self._user(project.slug, name).set(
                user.limit, _NO_LIMITS, user.gpu_hours_month, project.month_began, name
            )

    def hold(self, run: RunView) -> None:
        """Count a job that holds cards; one that is counted already is counted anew."""
        memory = sum(each.memory for each in run.placements)
        self._claim(run.job, len(run.placements), memory, run.started_at, leaves=run.leaving)

    def promise(self, job: JobView, now: float) -> None:
        """Count a job for which room is being made."""
        # it holds nothing yet, so it is no reason to take from the project what it is guaranteed
        self._claim(job, job.cards, job.cards * job.min_memory, now, leaves=True)

    def release(self, job_id: str) -> None:
        """Count the job no more."""
        claim = self._claims.pop(job_id, None)
        if claim is not None:
            for account in self._accounts(claim):
                account.add(claim, -1)

    def counts(self, job_id: str) -> bool:
        """Whether the job is counted."""
        return job_id in self._claims

    def still_allows(self, job: JobView, now: float) -> bool:
        """Whether a job that was promised room may still start: its project's limits may have changed since."""
        self.release(job.id)
        allowed = self.obstacle(job, now) is None
        self.promise(job, now)
        return allowed

    def obstacle(self, job: JobView, now: float) -> Obstacle | None:
        """Why the job may not start now; None where project and owner may start it, or where it counts already."""
        if job.id in self._claims:
            return None
        project = self._projects.get(job.project)
        user = self._users.get((job.project, job.user))
        return (project.obstacle(job, now) if project else None) or (
            user.obstacle(job, now) if user else None
        )

    def is_within_guarantee(self, job: JobView, now: float) -> bool:
        """Whether the project would still be within its guarantee with this job started, or is with it counted."""
        account = self._projects.get(job.project)
        more = _NOTHING if job.id in self._claims else dict(_amounts(job))
        return account is not None and account.is_guaranteed(more, now)

    def stays_guaranteed_without(self, run: RunView, now: float) -> bool:
        """Whether the project would still hold all that it is guaranteed if this job were gone: it borrows it."""
        account = self._projects.get(run.job.project)
        return account is None or account.borrows(run, now)

    def over_share(self, slug: str) -> float:
        """How far a project is above its guarantee, as a share of it; infinite without a guarantee."""
        account = self._projects.get(slug)
        return account.over_share() if account else float("inf")

    def held(self, slug: str) -> tuple[int, int, int]:
        """Cards, bytes and jobs that the project holds."""
        account = self._projects.get(slug)
        return (account.cards, account.memory, account.running) if account else (0, 0, 0)

    def _claim(
        self, job: JobView, cards: int, memory: int, since: float, *, leaves: bool = False
    ) -> None:
        self.release(job.id)
        claim = _Claim(job.project, job.user, cards, memory, since, leaves)
        self._claims[job.id] = claim
        for account in self._accounts(claim):
            account.add(claim, 1)

    def _accounts(self, claim: _Claim) -> tuple[_Account, _Account]:
        return self._project(claim.project), self._user(claim.project, claim.user)

    def _project(self, slug: str) -> _Account:
        return self._projects.setdefault(slug, _Account())

    def _user(self, slug: str, name: str) -> _Account:
        return self._users.setdefault((slug, name), _Account())


@dataclass(slots=True)
class _Account:
    limit: Limits = _NO_LIMITS
    guarantee: Limits = _NO_LIMITS
    user: str = ""  # whose account it is; empty for a project's
    cards: int = 0
    memory: int = 0
    running: int = 0
    leaving: Counter[str] = field(
        default_factory=Counter
    )  # what of these is about to be given back
    hours_ended: float = 0.0
    month_began: float = 0.0
    claims: dict[_Claim, int] = field(default_factory=dict)

    def set(
        self, limit: Limits, guarantee: Limits, hours: float, month_began: float, user: str = ""
    ) -> None:
        self.limit, self.guarantee, self.user = limit, guarantee, user
        self.hours_ended, self.month_began = hours, month_began

    def add(self, claim: _Claim, sign: int) -> None:
        self.cards += sign * claim.cards
        self.memory += sign * claim.memory
        self.running += sign
        if claim.leaves:
            for what, amount in (("cards", claim.cards), ("memory", claim.memory), ("running", 1)):
                self.leaving[what] += sign * amount
        count = self.claims.get(claim, 0) + sign
        if count:
            self.claims[claim] = count
        else:
            del self.claims[claim]

    def hours(self, now: float) -> float:
        """GPU-hours of this month, of the ended and the running jobs."""
        running = sum(
            count * claim.cards * max(0.0, now - max(claim.since, self.month_began))
            for claim, count in self.claims.items()
        )
        return self.hours_ended + running / _HOUR

    def obstacle(self, job: JobView, now: float) -> Obstacle | None:
        if self.limit is _NO_LIMITS:
            return None
        for what, asked in _amounts(job):
            limit: int | None = getattr(self.limit, what)
            if limit is None:
                continue
            if asked > limit:
                return self._said(WaitCode.OVER_PROJECT_QUOTA, what, need=asked, limit=limit)
            if getattr(self, what) + asked > limit:
                return self._said(WaitCode.WAIT_QUOTA, what, used=getattr(self, what), limit=limit)
        return self._month_obstacle(now)

    def is_guaranteed(self, more: Mapping[str, int], now: float) -> bool:
        if self.guarantee is _NO_LIMITS or self.guarantee == _NO_LIMITS:
            return False
        within = all(
            getattr(self.guarantee, what) is None
            or getattr(self, what) + asked <= getattr(self.guarantee, what)
            for what, asked in more.items()
        )
        hours = self.guarantee.gpu_hours_month
        return within and (hours is None or self.hours(now) < hours)

    def borrows(self, run: RunView, now: float) -> bool:
        if self.guarantee is _NO_LIMITS or self.guarantee == _NO_LIMITS:
            return True
        hours = self.guarantee.gpu_hours_month
        if hours is not None and self.hours(now) >= hours:
            return True
        memory = sum(each.memory for each in run.placements)
        gone = {"cards": len(run.placements), "memory": memory, "running": 1}
        left = {what: self._staying(what) - amount for what, amount in gone.items()}
        guaranteed = {what: getattr(self.guarantee, what) for what in left}
        return any(least is not None and left[what] >= least for what, least in guaranteed.items())

    def over_share(self) -> float:
        shares = [
            self._staying(what) / getattr(self.guarantee, what)
            for what in ("cards", "memory", "running")
            if getattr(self.guarantee, what)
        ]
        return max(shares, default=float("inf"))

    def _staying(self, what: str) -> int:
        held: int = getattr(self, what)
        return held - self.leaving[what]

    def _month_obstacle(self, now: float) -> Obstacle | None:
        limit = self.limit.gpu_hours_month
        if limit is None:
            return None
        used = self.hours(now)
        if used < limit:
            return None
        return self._said(WaitCode.WAIT_QUOTA, "gpu_hours_month", used=round(used, 2), limit=limit)

    def _said(self, code: WaitCode, what: str, **amounts: float) -> Obstacle:
        whose: dict[str, object] = {"user": self.user} if self.user else {}
        return Obstacle(code=code, numbers={"what": what, **whose, **amounts})


def _amounts(job: JobView) -> Iterator[tuple[str, int]]:
    yield "cards", job.cards
    yield "memory", job.cards * job.min_memory
    yield "running", 1
