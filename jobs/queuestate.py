"""The queue as this process sees it: a scheduler kept in step with the database, asked when somebody reads.

Web processes decide as the dispatcher does, and carry nothing out. So what they show are the numbers of now, in the
order that holds. All readers share one look a second; where looking takes long, they share it for longer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.conf import settings
from django.utils import timezone

from jobs import heartbeats, projectviews, sitesettings
from jobs.core.plan import Wait
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.standing import Standing
from jobs.core.snapshot import DeviceView, JobView, Snapshot
from jobs.estimates import Estimates, Forecast, Head
from jobs.mirror import Mirror
from jobs.policies.host import PolicyHost
from jobs.policies.runner import MOST_TASKS, Ranks

POSITIONS = 200
"""Places of the queue that are always known, and for which starts are expected."""

FURTHEST = 10_000
"""Places up to which one job is looked for when somebody asks for its own."""

FRESH_FOR = 1.0  # seconds that one look serves every reader of this process
_SHARE = 0.2  # of the time that looking may take, where it takes long
_QUICK = 0.1  # seconds; a look that takes no longer is taken anew when something has changed
_POLICY_PATIENCE = 0.3  # seconds for a policy to order jobs that it has not seen

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The queue at one moment."""

    at: float  # epoch seconds
    order: tuple[str, ...]  # the first `POSITIONS` of it
    positions: Mapping[str, int]  # of these, from 1
    starting: frozenset[str]  # jobs that start with the dispatcher's next cycle
    cards: tuple[DeviceView, ...]  # before these start
    policy: str  # the setting of the policy whose order holds; empty for the default order
    is_stalled: bool  # the dispatcher gives no sign of life

    @property
    def is_whole(self) -> bool:
        """Whether nobody queues beyond `order`."""
        return len(self.order) < POSITIONS


class QueueState:
    """The queue of one process. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._mirror = Mirror()
        self._policies: PolicyHost | None = None
        self._ranks: Ranks | None = None
        self._ordered: frozenset[str] = frozenset()  # what the policy was last asked to order
        self._look: _Aged[Look] = _Aged(FRESH_FOR)
        self._places: _Aged[Mapping[str, int]] = _Aged(FRESH_FOR)
        self._estimates = Estimates()

    # --- the queue -----------------------------------------------------------------------------------

    def look(self) -> Look:
        """The queue as of now, or as of a moment ago."""
        with self._lock:
            return self._look.get(self._take_look)

    def place(self, job_id: str) -> int | None:
        """The place of one job, from 1; None where it does not queue, or stands further back than `FURTHEST`."""
        with self._lock:
            look = self.look()
            if job_id in look.positions or look.is_whole:
                return look.positions.get(job_id)
            return self._places.get(self._take_places).get(job_id)

    def forget(self) -> None:
        """Something has changed: look anew for the next reader, unless that takes long. Waits for nobody."""
        self._look.expire(_QUICK)
        self._places.expire(_QUICK)

    def close(self) -> None:
        """End the process of the policy, where there is one."""
        if self._policies is not None:
            self._policies.close()

    # --- one job -------------------------------------------------------------------------------------

    def wait(self, job_id: str) -> Wait | None:
        """Why the job does not start; None where it will, or is not known to queue."""
        with self._lock:
            self.look()
            return self._mirror.scheduler.why(job_id)

    def standing(self, job_id: str) -> Standing | None:
        """The steps by which the job is ordered; None where it is not known to queue."""
        with self._lock:
            self.look()
            return self._mirror.scheduler.standing(job_id)

    def job(self, job_id: str) -> JobView | None:
        """The job as the scheduler sees it; None where it is not known to queue, or starts now."""
        with self._lock:
            self.look()
            return self._mirror.scheduler.job(job_id)

    def cards(self, job_id: str = "") -> tuple[DeviceView, ...]:
        """The cards with all that starts now on them; for a job that starts itself, as they are before."""
        with self._lock:
            look = self.look()
            return look.cards if job_id in look.starting else self._mirror.scheduler.cards

    def usage(self, project: str, user: str | None = None) -> float:
        """What a project, or one person in it, has used lately, as the order counts it (weighted GPU-seconds)."""
        with self._lock:
            self.look()
            return self._mirror.scheduler.usage(project, user)

    # --- looking ahead -------------------------------------------------------------------------------

    def forecast(self) -> Forecast | None:
        """When the head of the queue is expected to start; None where that is still being worked out."""
        return self._estimates.latest(self.head)

    def head(self, *more: str) -> Head:
        """What is decided from, with the first of the queue only, and with `more` jobs from further back."""
        with self._lock:
            look = self.look()
            scheduler = self._mirror.scheduler
            ids = dict.fromkeys([*look.order, *more])
            values = sitesettings.current()
            snapshot = Snapshot(
                now=look.at,
                devices=scheduler.cards,
                queued=tuple(job for each in ids if (job := scheduler.job(each)) is not None),
                running=scheduler.runs,
                projects={row.view.slug: row.view for row in projectviews.read(self._mirror.usage)},
                max_workers=values.max_workers,
                agents_fresh=any(card.measured_free is not None for card in look.cards),
                rules=values.rules,
            )
            return Head(snapshot=snapshot, ranks=self._ranks)

    # --- inside --------------------------------------------------------------------------------------

    def _take_look(self) -> Look:
        now = timezone.now()
        scheduler = self._mirror.refresh(now)
        policy = self._rank(scheduler)
        order = tuple(scheduler.order(POSITIONS))
        cards = scheduler.cards
        plan = self._mirror.decide(now.timestamp())
        return Look(
            at=now.timestamp(),
            order=order,
            positions={job_id: place for place, job_id in enumerate(order, start=1)},
            starting=frozenset(start.job for start in plan.starts),
            cards=cards,
            policy=policy,
            is_stalled=not _dispatcher_lives(),
        )

    def _take_places(self) -> Mapping[str, int]:
        """More of the order, as of now: jobs that start meanwhile are gone from it."""
        order = self._mirror.scheduler.order(FURTHEST)
        gone = len(self.look().starting)
        return {job_id: place for place, job_id in enumerate(order, start=1 + gone)}

    def _rank(self, scheduler: Planner) -> str:
        """Order as the site's policy says; its setting, or "" where the default order holds."""
        setting = sitesettings.current().policy
        if not setting and self._policies is None:
            return ""
        if self._policies is None:
            self._policies = PolicyHost(base=settings.BASE_DIR, rules=sitesettings.rules())
        self._policies.use(setting)
        self._ranks = self._ask(self._policies, scheduler)
        self._mirror.rank(self._ranks)
        return setting if self._ranks is not None else ""

    def _ask(self, policies: PolicyHost, scheduler: Planner) -> Ranks | None:
        tasks = scheduler.eligible()
        ids = frozenset(task.id for task in tasks)
        patience = _POLICY_PATIENCE if ids - self._ordered and len(tasks) <= MOST_TASKS else 0.0
        self._ordered = ids
        return policies.order(tasks, patience=patience)


class _Aged(Generic[T]):
    """A value that serves for a while: the longer it took to make, the longer."""

    def __init__(self, fresh_for: float) -> None:
        self._fresh_for = fresh_for
        self._value: T | None = None
        self._took = 0.0
        self._fresh_until = 0.0
        self._is_expired = False

    def get(self, make: Callable[[], T]) -> T:
        """The value, made anew where it has grown old."""
        is_old = self._is_expired or time.monotonic() >= self._fresh_until
        if self._value is None or is_old:
            self._is_expired = False  # before it is made: what changes meanwhile counts
            begun = time.thread_time()  # waiting for a policy or a database costs nobody anything
            self._value = make()
            self._took = time.thread_time() - begun
            self._fresh_until = time.monotonic() + max(self._fresh_for, self._took / _SHARE)
        return self._value

    def expire(self, quick: float) -> None:
        """Make it anew for the next reader, if that takes no longer than `quick` seconds."""
        if self._took <= quick:
            self._is_expired = True


def _dispatcher_lives() -> bool:
    return next(life.fresh for life in heartbeats.lives() if life.name == heartbeats.DISPATCHER)


_states: list[QueueState] = []
_making = threading.Lock()


def current() -> QueueState:
    """The queue of this process."""
    with _making:
        if not _states:
            _states.append(QueueState())
        return _states[0]


def drop() -> None:
    """Know nothing any more: for tests, which throw away what was stored."""
    with _making:
        for state in _states:
            state.close()
        _states.clear()
