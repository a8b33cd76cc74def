"""What other quotas and shares would do to the queue as it is now, before anybody saves them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from jobs import queue, queuestate
from jobs.core.scheduling.compare import Change, Moved, compare
from jobs.core.snapshot import Limits, ProjectView, UserView
from jobs.models import Job
from jobs.queue import QueueRow
from jobs.queuestate import POSITIONS
from jobs.quotas import WHAT, QuotaChange, quota_of
from jobs.sight import Sight

BUDGET = 1.0  # seconds of looking ahead, of each of the two courses at most
MOST_SHOWN = 40
_VIEW_NAMES = {what: what for what in WHAT} | {"gpu_hours": "gpu_hours_month"}


@dataclass(frozen=True, kw_only=True)
class EffectRow:
    """A job for which something changes, as the viewer may know it."""

    row: QueueRow
    moved: Moved


@dataclass(frozen=True, kw_only=True)
class Effect:
    """All that would change now."""

    rows: tuple[EffectRow, ...]
    more: int  # jobs for which something changes, and that are not shown
    waiting: int  # jobs looked at
    is_whole: bool  # whether nobody queues beyond those

    def count(self, *changes: Change) -> int:
        """How many of the shown jobs change so."""
        return sum(each.moved.change in changes for each in self.rows)

    @property
    def starts(self) -> int:
        """Jobs that would start now."""
        return self.count(Change.STARTS)

    @property
    def sooner(self) -> int:
        """Jobs that would start sooner, but not now."""
        return self.count(Change.SOONER)

    @property
    def later(self) -> int:
        """Jobs that would wait longer, for others or for their quota."""
        return self.count(Change.LATER, Change.BLOCKED)

    @property
    def suspended(self) -> int:
        """Running jobs that would have to make room."""
        return self.count(Change.SUSPENDED)


def effect_of(changes: Iterable[QuotaChange], sight: Sight) -> Effect:
    """What would change. Decided by the scheduler itself, for the first of the queue."""
    state = queuestate.current()
    head = state.head()
    projects = dict(head.snapshot.projects)
    for each in changes:
        view = projects.get(each.project.slug)
        if view is not None:
            projects[view.slug] = changed_view(view, each)
    after = replace(head.snapshot, projects=MappingProxyType(projects))
    moved = compare(head.snapshot, after, ranks=head.ranks, go_on=_patience())
    shown = _rows(moved[:MOST_SHOWN], sight)
    return Effect(
        rows=shown,
        more=len(moved) - len(shown),
        waiting=len(head.snapshot.queued),
        is_whole=len(head.snapshot.queued) < POSITIONS,
    )


def changed_view(view: ProjectView, wanted: QuotaChange) -> ProjectView:
    """The project as the scheduler would see it with this change."""
    if wanted.person is not None:
        name = wanted.person.username
        person = view.users.get(name) or UserView(name=name)
        changed = replace(person, limit=_limits(wanted, "limit"))
        return replace(view, users=MappingProxyType({**view.users, name: changed}))
    return replace(
        view,
        weight=view.weight if wanted.weight is None else wanted.weight,
        limit=_limits(wanted, "limit"),
        guarantee=_limits(wanted, "guarantee"),
    )


def _limits(wanted: QuotaChange, side: str) -> Limits:
    """One side as it would be: what is named, over what is stored."""
    row = quota_of(wanted.project, wanted.person)
    amounts = {
        _VIEW_NAMES[what]: wanted.fields.get(f"{side}_{what}", getattr(row, f"{side}_{what}"))
        for what in WHAT
    }
    return Limits(**amounts)


def _rows(moved: Sequence[Moved], sight: Sight) -> tuple[EffectRow, ...]:
    jobs = Job.objects.select_related("project", "owner").in_bulk([each.job for each in moved])
    return tuple(
        EffectRow(row=queue.plain_row(jobs[each.job], None, sight), moved=each)
        for each in moved
        if each.job in jobs
    )


def _patience() -> Callable[[], bool]:
    deadline = time.monotonic() + 2 * BUDGET
    return lambda: time.monotonic() < deadline
