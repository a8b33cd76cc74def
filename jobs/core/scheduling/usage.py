"""What projects and people have used lately, decayed so that old usage counts less and less.

Usage is *forward decayed*: instead of shrinking what was used, what is used later weighs more, by 2^(t / half-life).
All accounts then age alike, and their order never changes with time alone. Source: Cormode, Shkapenyuk, Srivastava,
Xu, "Forward Decay", ICDE 2009. A start is charged for the minimum run at once, the *entry penalty* of Kueue's
admission fair sharing (KEP 4136), so that a hundred submissions cannot slip in before their usage is seen.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

from jobs.core.snapshot import DeviceView, RunView

_MOST_HALF_LIVES = 400.0  # after which the numbers are scaled back, long before they overflow


def charge_rate(memory: int, card: DeviceView, sm_share: float = 0.0) -> float:
    """Weighted GPU-seconds a second for `memory` bytes of a card: the larger of the shares of memory and of busy time.

    Dominant share as in Ghodsi et al., "Dominant Resource Fairness", NSDI 2011.
    """
    return card.weight * max(memory / card.total if card.total else 0.0, sm_share)


@dataclass(slots=True)
class _Account:
    ended: float = 0.0  # forward-decayed usage of what has ended
    rate: float = 0.0  # of what runs beyond its minimum run
    since: float = 0.0  # sum over those of rate x area(start)
    prepaid: float = 0.0  # of what has started lately


@dataclass(frozen=True, slots=True)
class _Charge:
    project: str
    user: str
    rate: float
    started_at: float


class UsageBooks:
    """Decayed usage of every project, and of every person inside it."""

    def __init__(self, half_life: float, entry_seconds: float) -> None:
        self._half_life = half_life
        self._entry_seconds = entry_seconds
        self._origin: float | None = None
        self._projects: dict[str, _Account] = defaultdict(_Account)
        self._users: dict[tuple[str, str], _Account] = defaultdict(_Account)
        self._charges: dict[str, _Charge] = {}  # by job, while it runs
        self._young: set[str] = set()  # of these, the ones that are prepaid
        self._ripe: list[tuple[float, str]] = []  # until when they are
        self._people: dict[str, set[str]] = {}  # of a project, as last told

    # --- changes -----------------------------------------------------------------------------------

    def set_ended(self, project: str, usage: float, users: Mapping[str, float], now: float) -> None:
        """Take over what ended attempts have used: weighted GPU-seconds, decayed as of `now`."""
        weight = self._weight(now)
        self._projects[project].ended = usage * weight
        told, self._people[project] = self._people.get(project, set()), set(users)
        for user in told | users.keys():  # who is named no more has used nothing
            self._users[project, user].ended = users.get(user, 0.0) * weight

    def start(self, run: RunView, rate: float, now: float) -> None:
        """Charge a running job from its start on."""
        self.stop(run.job.id)
        charge = _Charge(run.job.project, run.job.user, rate, run.started_at)
        self._charges[run.job.id] = charge
        if now - run.started_at < self._entry_seconds:
            self._young.add(run.job.id)
            heappush(self._ripe, (run.started_at + self._entry_seconds, run.job.id))
            self._prepay(charge, 1)
        else:
            self._accrue(charge, 1)

    def advance(self, now: float) -> None:
        """Let time pass: who has run for as long as was charged at the start is charged by the second from here on."""
        while self._ripe and self._ripe[0][0] <= now:
            at, job_id = heappop(self._ripe)
            charge = self._charges.get(job_id)
            if charge and job_id in self._young and at == charge.started_at + self._entry_seconds:
                self._young.discard(job_id)
                self._prepay(charge, -1)
                self._accrue(charge, 1)

    def stop(self, job_id: str, at: float | None = None) -> None:
        """The job runs no more. With `at`, what it used until then is counted as ended here."""
        charge = self._charges.pop(job_id, None)
        if charge is None:
            return
        if job_id in self._young:
            self._young.discard(job_id)
            self._prepay(charge, -1)
        else:
            self._accrue(charge, -1)
        if at is not None:
            used = charge.rate * (self._area(at) - self._area(charge.started_at))
            for account in self._accounts(charge):
                account.ended += used

    # --- answers -----------------------------------------------------------------------------------

    def of_project(self, slug: str, now: float) -> float:
        """Weighted GPU-seconds of the project, decayed as of `now`."""
        return self._amount(self._projects.get(slug), now)

    def of_user(self, project: str, user: str, now: float) -> float:
        """Weighted GPU-seconds of one person in the project, decayed as of `now`."""
        return self._amount(self._users.get((project, user)), now)

    def full_use(self, rate: float) -> float:
        """What an account has used in the long run whose jobs are charged `rate` all the time."""
        return rate * self._half_life / math.log(2)

    # --- the arithmetic ------------------------------------------------------------------------------

    def _amount(self, account: _Account | None, now: float) -> float:
        if account is None:
            return 0.0
        weight = self._weight(now)  # first, because it may scale the accounts back
        raw = account.ended + account.prepaid + account.rate * self._area(now) - account.since
        return max(0.0, raw / weight) if weight else 0.0  # 0: long before anything was used

    def _weight(self, at: float) -> float:
        if self._origin is None:
            self._origin = at
        age = (at - self._origin) / self._half_life
        if age > _MOST_HALF_LIVES:
            self._rescale(at, 2.0**-age)
            return 1.0
        return float(2.0**age)

    def _area(self, at: float) -> float:
        """The integral of the weight up to `at`."""
        return self.full_use(self._weight(at))

    def _rescale(self, origin: float, factor: float) -> None:
        self._origin = origin
        for account in (*self._projects.values(), *self._users.values()):
            account.ended *= factor
            account.since *= factor
            account.prepaid *= factor

    def _accounts(self, charge: _Charge) -> tuple[_Account, _Account]:
        return self._projects[charge.project], self._users[charge.project, charge.user]

    def _accrue(self, charge: _Charge, sign: int) -> None:
        since = charge.rate * self._area(charge.started_at)
        for account in self._accounts(charge):
            account.rate += sign * charge.rate
            account.since += sign * since

    def _prepay(self, charge: _Charge, sign: int) -> None:
        until = self._area(charge.started_at + self._entry_seconds)  # first: it may scale back
        paid = charge.rate * (until - self._area(charge.started_at))
        for account in self._accounts(charge):
            account.prepaid += sign * paid
