"""What ended attempts have used: decayed for the fair share, and in the current calendar month for quotas.

Computed from the allocations themselves; no table keeps sums that could go wrong. `PastUsage` reads them once and
afterwards only what was released since. What still runs is counted from the running jobs, not here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.utils import timezone

from gpus.attribution import charge
from jobs.core.scheduling.usage import charge_rate
from jobs.core.snapshot import DeviceView
from jobs.models import Allocation

HALF_LIVES = 20.0
"""After so many, what was used counts less than a millionth and is left out."""

LATE = timedelta(minutes=2)
"""By how much a release may become visible after its time: locks that it waited for, clocks that differ."""

_MOST_HALF_LIVES = 400.0  # before the numbers are read anew, long before they overflow
_HOUR = 3600.0
_LN2 = math.log(2)

Owner = tuple[int, int]
"""Primary keys of a project and of a person in it."""


@dataclass(frozen=True, slots=True)
class Used:
    """What the ended attempts of one person in one project, or of a whole project, have used."""

    usage: float = 0.0  # weighted GPU-seconds, decayed
    gpu_hours: float = 0.0  # of the current month, not weighted

    def __add__(self, other: Used) -> Used:
        return Used(self.usage + other.usage, self.gpu_hours + other.gpu_hours)


class _Release(NamedTuple):
    pk: int
    project: int
    owner: int
    device: int
    booked: int
    peak: int | None
    sm_share: float
    created_at: datetime
    released_at: datetime


_COLUMNS = (
    "pk",
    "attempt__job__project",
    "attempt__job__owner",
    "device",
    "booked",
    "peak",
    "sm_share",
    "created_at",
    "released_at",
)


@dataclass(slots=True)
class _Account:
    grown: float = 0.0  # forward-decayed: what is used later weighs more
    hours: float = 0.0


class PastUsage:
    """The usage of all projects and of the people in them, kept up with what ends."""

    def __init__(self) -> None:
        self.month_began = 0.0  # seconds since the epoch
        self._accounts: dict[Owner, _Account] = defaultdict(_Account)
        self._now = 0.0
        self._origin: float | None = (
            None  # when the forward decay's weight is 1; None: nothing was read yet
        )
        self._half_life = 0.0
        self._cards: dict[int, tuple[float, int]] = {}  # weight and bytes, by device
        self._counted: dict[int, datetime] = {}  # late enough to be met again
        self._changes: dict[int, int] = defaultdict(int)  # by project
        self._beginnings = 0

    def refresh(self, now: datetime, half_life: float, cards: Mapping[int, DeviceView]) -> None:
        """Take in what has been released; read all of it where an old sum does not hold any more.

        Args:
            now: the instant as of which `of` answers.
            half_life: seconds after which usage counts half.
            cards: all cards, by the primary key of their device; another weight counts for the past too.
        """
        month_began = beginning_of_month(now).timestamp()
        if self._holds(now, half_life, month_began, cards):
            self._take_in(self._released_since(self._now_before()), cards)
        else:
            self._start_over(now, half_life, month_began)
            since = min(self.month_began, now.timestamp() - HALF_LIVES * half_life)
            self._take_in(_releases(datetime.fromtimestamp(since, now.tzinfo)), cards)
        self._now = now.timestamp()
        self._cards = {pk: (card.weight, card.total) for pk, card in cards.items()}
        self._counted = {pk: at for pk, at in self._counted.items() if at >= now - 2 * LATE}

    def of(self, owner: Owner) -> Used:
        """What one person has used in one project."""
        account = self._accounts.get(owner)
        return self._used(account) if account else Used()

    def state_of(self, project: int) -> tuple[int, int]:
        """Differs where the project's usage has changed otherwise than by the passing of time."""
        return self._beginnings, self._changes[project]

    def by_project(self) -> dict[int, dict[int, Used]]:
        """What everybody has used, by project and person."""
        found: dict[int, dict[int, Used]] = defaultdict(dict)
        for (project, owner), account in self._accounts.items():
            found[project][owner] = self._used(account)
        return found

    def _used(self, account: _Account) -> Used:
        return Used(account.grown / self._weight(self._now), account.hours)

    def _holds(
        self,
        now: datetime,
        half_life: float,
        month_began: float,
        cards: Mapping[int, DeviceView],
    ) -> bool:
        """Whether the sums so far are sums of what is asked for."""
        if self._origin is None or (half_life, month_began) != (self._half_life, self.month_began):
            return False
        if (now.timestamp() - self._origin) / half_life > _MOST_HALF_LIVES:
            return False
        known = self._cards
        return all(
            known.get(pk, (card.weight, card.total)) == (card.weight, card.total)
            for pk, card in cards.items()
        )

    def _start_over(self, now: datetime, half_life: float, month_began: float) -> None:
        self._accounts.clear()
        self._counted.clear()
        self._beginnings += 1
        self._origin, self._half_life = now.timestamp(), half_life
        self.month_began = month_began

    def _now_before(self) -> datetime:
        return datetime.fromtimestamp(self._now, timezone.get_default_timezone())

    def _released_since(self, before: datetime) -> Iterator[_Release]:
        """What was released after `before` and has not been counted; nothing is read where nothing was."""
        since = before - LATE
        released: Any = Allocation.objects.filter(released_at__gte=since)
        rows = released.values_list("pk", "released_at")
        new = [at for pk, at in rows if pk not in self._counted]
        return _releases(min(new)) if new else iter(())

    def _take_in(self, releases: Iterator[_Release], cards: Mapping[int, DeviceView]) -> None:
        for release in releases:
            if release.pk in self._counted:
                continue
            begun, ended = release.created_at.timestamp(), release.released_at.timestamp()
            memory = charge(release.booked, release.peak)
            rate = charge_rate(memory, cards[release.device], release.sm_share)
            account = self._accounts[release.project, release.owner]
            if ended > begun:
                account.grown += rate * (self._area(ended) - self._area(begun))
            if ended > self.month_began:
                account.hours += max(0.0, ended - max(begun, self.month_began)) / _HOUR
            self._counted[release.pk] = release.released_at
            self._changes[release.project] += 1

    def _weight(self, at: float) -> float:
        return math.exp2((at - (self._origin or 0.0)) / self._half_life)

    def _area(self, at: float) -> float:
        """The integral of the weight up to `at`."""
        return self._weight(at) * self._half_life / _LN2


def beginning_of_month(now: datetime) -> datetime:
    """When the calendar month of `now` began, in the site's time zone."""
    local = timezone.localtime(now, timezone.get_default_timezone())
    return local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _releases(since: datetime) -> Iterator[_Release]:
    rows: Any = Allocation.objects.filter(released_at__gte=since).values_list(*_COLUMNS)
    return (_Release(*row) for row in rows.iterator(chunk_size=10_000))
