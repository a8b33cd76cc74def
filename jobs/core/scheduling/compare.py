"""What another quota or share would do to the queue: the same decision and the same look ahead, made twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from jobs.core.plan import WaitCode
from jobs.core.scheduling.forecast import forecast
from jobs.core.scheduling.planner import Planner
from jobs.core.snapshot import Snapshot

_OF_QUOTA = frozenset({WaitCode.WAIT_QUOTA, WaitCode.OVER_PROJECT_QUOTA})
_SAME = 60.0  # seconds by which two expected starts must differ to be told apart


class Change(StrEnum):
    """What becomes otherwise for one job."""

    STARTS = "starts"  # it would start now
    SOONER = "sooner"
    LATER = "later"
    BLOCKED = "blocked"  # its quota would keep it back, and does not now
    SUSPENDED = "suspended"  # it runs, and would have to make room


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """One job for which something changes. Places count from 1; 0 where it starts now, None where it does not queue."""

    job: str
    change: Change
    place_before: int | None = None
    place_after: int | None = None
    at_before: float | None = None  # expected start, epoch seconds; None: nobody can tell
    at_after: float | None = None


def compare(
    before: Snapshot,
    after: Snapshot,
    *,
    ranks: Mapping[str, int] | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> list[Moved]:
    """The jobs for which the two snapshots decide otherwise, in the order of `before`, running ones first.

    `ranks` is the order of the site's policy. `go_on` is asked by each look ahead; where it says no, starts that were
    not seen until then stay unknown, and places decide.
    """
    first, second = _Course(before, ranks, go_on), _Course(after, ranks, go_on)
    suspended = [
        Moved(job=job, change=Change.SUSPENDED)
        for job in sorted(second.suspended - first.suspended)
    ]
    moved = (_moved(job, first, second) for job in first.jobs)
    return [*suspended, *(each for each in moved if each is not None)]


class _Course:
    """What one snapshot comes to."""

    def __init__(
        self, snapshot: Snapshot, ranks: Mapping[str, int] | None, go_on: Callable[[], bool]
    ) -> None:
        planner = Planner.of(snapshot)
        planner.rank(ranks)
        plan = planner.decide(snapshot.now)
        waiting = planner.order()
        self.starts = {start.job for start in plan.starts}
        self.suspended = {preempt.job for preempt in plan.preemptions}
        self.jobs = [*(start.job for start in plan.starts), *waiting]
        self.places = dict.fromkeys(self.starts, 0) | {
            job: place for place, job in enumerate(waiting, start=1)
        }
        self.blocked = {
            job
            for job in waiting
            if (wait := planner.why(job)) is not None and wait.code in _OF_QUOTA
        }
        seen = forecast(snapshot, frozenset(self.jobs), ranks=ranks, go_on=go_on)
        self.at = {job: expected.at for job, expected in seen.items()}


def _moved(job: str, first: _Course, second: _Course) -> Moved | None:
    change = _change(job, first, second)
    if change is None:
        return None
    return Moved(
        job=job,
        change=change,
        place_before=first.places.get(job),
        place_after=second.places.get(job),
        at_before=first.at.get(job),
        at_after=second.at.get(job),
    )


def _change(job: str, first: _Course, second: _Course) -> Change | None:
    if (job in first.starts) != (job in second.starts):
        return Change.STARTS if job in second.starts else _kept_back(job, second)
    if (job in first.blocked) != (job in second.blocked):
        return Change.BLOCKED if job in second.blocked else Change.SOONER
    at, later = first.at.get(job), second.at.get(job)
    if at is not None and later is not None:
        return _direction(later - at, _SAME)
    if at is None and later is None:
        return _direction(second.places.get(job, 0) - first.places.get(job, 0), 0)
    return Change.SOONER if at is None else Change.LATER


def _kept_back(job: str, second: _Course) -> Change:
    return Change.BLOCKED if job in second.blocked else Change.LATER


def _direction(difference: float, least: float) -> Change | None:
    if abs(difference) <= least:
        return None
    return Change.SOONER if difference < 0 else Change.LATER
