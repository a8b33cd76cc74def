"""Everything about why one job waits, for one viewer: reason, expected start, order, who is ahead, what would help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from jobs import orderwords, permissions, queue, queuestate, why
from jobs.core.plan import WaitCode
from jobs.core.scheduling.whatif import WhatIf, what_ifs
from jobs.core.states import JobState, Priority
from jobs.core.units import GIB
from jobs.models import Job, User
from jobs.orderwords import Step
from jobs.queue import QueueRow, Why
from jobs.sight import Sight
from jobs.starts import Start

MOST_AHEAD = 20
"""Jobs ahead that are listed; there may be thousands."""

_ASKED_FOR_NOTHING = frozenset(
    {why.STARTS_NOW, WaitCode.SCHEDULER_STALLED, WaitCode.AGENT_OFFLINE, WaitCode.WAIT_PREEMPTION}
)
_FIELDS = {
    "min_memory": "resources.min_memory",
    "gpu_type": "resources.gpu_type",
    "exclusive": "resources.exclusive",
    "priority": "priority",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A change that would help, as one writes it in a task file, and what it would bring."""

    field: str  # dotted
    value: str | None  # None: leave the field out
    starts_now: bool
    position: int | None
    suspended: int  # running jobs that would make room
    needs_lead: bool
    allowed: bool  # to this viewer

    @property
    def sentence(self) -> str:
        """What it would bring, with what."""
        words = {"change": self._change, "position": self.position, "jobs": self.suspended}
        if self.starts_now:
            said = _("Starts now with %(change)s") % words
        elif self.suspended:
            said = (
                ngettext(
                    "With %(change)s, %(jobs)s running job makes room for it",
                    "With %(change)s, %(jobs)s running jobs make room for it",
                    self.suspended,
                )
                % words
            )
        else:
            said = _("Position %(position)s with %(change)s") % words
        return said + (_(" (needs a lead)") if self.needs_lead else "")

    @property
    def _change(self) -> str:
        name = self.field.rpartition(".")[2]
        return _("no %(field)s") % {"field": name} if self.value is None else f"{name} {self.value}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why a job waits, as one viewer may know it."""

    why: Why
    position: int | None
    start: Start | None
    steps: tuple[Step, ...] = ()
    ahead: tuple[QueueRow, ...] = ()
    ahead_more: int | None = (
        0  # beside those in `ahead`; None: it stands too far back to be counted
    )
    changes: tuple[Change, ...] = ()


def explain(job: Job, viewer: User, sight: Sight) -> Explanation | None:
    """Why the job waits; None where it runs or has ended."""
    reason = queue.why_waiting(job, with_verdicts=True, sight=sight)
    if reason is None:
        return None
    if job.state != JobState.QUEUED:
        return Explanation(why=reason, position=None, start=None)
    place = queue.position(job, exact=True)
    ahead, more = _ahead(place)
    return Explanation(
        why=reason,
        position=place,
        start=queue.start(job, reason),
        steps=_steps(job),
        ahead=tuple(queue.rows_of(ahead, sight)),
        ahead_more=more,
        changes=_changes(job, viewer, reason),
    )


def _steps(job: Job) -> tuple[Step, ...]:
    state = queuestate.current()
    standing = state.standing(job.pk)
    if standing is None:
        return ()
    look = state.look()
    return tuple(orderwords.steps(standing, job.owner.username, look.at, look.policy))


def _ahead(place: int | None) -> tuple[Sequence[str], int | None]:
    """The first jobs of the queue that are ahead of this place, and how many there are beside them."""
    look = queuestate.current().look()
    if place is None:
        return ((), 0) if look.is_whole else (look.order[:MOST_AHEAD], None)
    ahead = place - 1
    return look.order[: min(ahead, MOST_AHEAD)], max(0, ahead - MOST_AHEAD)


def _changes(job: Job, viewer: User, reason: Why) -> tuple[Change, ...]:
    if reason.code in _ASKED_FOR_NOTHING:
        return ()
    state = queuestate.current()
    head = state.head(job.pk)
    if not any(each.id == job.pk for each in head.snapshot.queued):
        return ()
    leads = permissions.can_manage(viewer, job.project)
    gone = len(state.look().starting)
    return tuple(
        _change(each, gone, leads=leads, controls=permissions.can_control(viewer, job))
        for each in what_ifs(head.snapshot, job.pk, ranks=head.ranks)
    )


def _change(found: WhatIf, gone: int, *, leads: bool, controls: bool) -> Change:
    """`gone`: how many jobs of the queue start before it, and are not in the order that was asked."""
    needs_lead = found.field == "priority"
    return Change(
        field=_FIELDS[found.field],
        value=_written(found.value),
        starts_now=found.starts_now,
        position=found.position + gone if found.position else None,
        suspended=found.suspended,
        needs_lead=needs_lead,
        allowed=leads if needs_lead else controls,
    )


def _written(value: object) -> str | None:
    """As a task file has it."""
    if isinstance(value, Priority):
        return value.name.lower()
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value // GIB}G" if isinstance(value, int) else None
