"""What would happen to a job that is not handed in: the decision of now, with it in the queue."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.utils import timezone

from jobs import queue, queuestate, snapshots, why
from jobs.core.placement import Verdict, verdicts
from jobs.core.plan import WaitCode
from jobs.core.scheduling.forecast import forecast
from jobs.core.scheduling.planner import Planner
from jobs.core.snapshot import JobView, Snapshot
from jobs.core.template import template_of
from jobs.estimates import Forecast, endless
from jobs.history import History
from jobs.models import User
from jobs.queue import Why
from jobs.queuestate import POSITIONS, Look
from jobs.sight import Sight
from jobs.starts import Start, start_of
from jobs.submission import Prepared

_BUDGET = 0.2  # seconds of looking ahead: a person waits for the answer


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRun:
    """What would happen. `why` is None where the job would start at once."""

    starts_now: bool
    position: int | None  # None: further back than places are counted
    why: Why | None
    start: Start
    verdicts: tuple[Verdict, ...]
    more_cards: int  # that were left out of `verdicts`


def dry_run(prepared: Prepared, user: User, sight: Sight) -> DryRun:
    """What would happen to the job if `user` handed it in now."""
    state = queuestate.current()
    look, head = state.look(), state.head()
    view = _view(prepared, user)
    with_it = replace(head.snapshot, queued=(*head.snapshot.queued, view))
    scheduler = Planner.of(with_it)
    scheduler.rank(head.ranks)
    look = _with_order(look, scheduler)
    started = any(start.job == view.id for start in scheduler.decide(with_it.now).starts)
    reason = Why(code=why.STARTS_NOW) if started else _why(view, scheduler, look, sight)
    cards = verdicts(view, head.snapshot)
    shown = queue.nearest(cards)
    return DryRun(
        starts_now=started,
        position=look.positions.get(view.id),
        why=None if started else reason,
        start=_start(view, reason, look, with_it, head.ranks),
        verdicts=shown,
        more_cards=len(cards) - len(shown),
    )


def _view(prepared: Prepared, user: User) -> JobView:
    history = History()
    history.refresh(timezone.now(), [template_of(prepared.spec)])
    return snapshots.spec_view(prepared.spec, user, prepared.project, history)


def _with_order(look: Look, scheduler: Planner) -> Look:
    """The look with the new job in it; what starts before it has left the scheduler's order already."""
    order = tuple(scheduler.order(POSITIONS))
    gone = len(look.starting)
    positions = {job_id: place for place, job_id in enumerate(order, start=1 + gone)}
    return replace(look, order=order, positions=positions)


def _why(view: JobView, scheduler: Planner, look: Look, sight: Sight) -> Why:
    wait = scheduler.why(view.id)
    if wait is None:
        return Why(
            code=WaitCode.WAIT_TURN, numbers={"ahead": look.positions.get(view.id, POSITIONS) - 1}
        )
    return Why(code=wait.code, numbers=queue.told(wait.numbers, sight, scheduler.job, look.at))


def _start(
    view: JobView, reason: Why, look: Look, with_it: Snapshot, ranks: Mapping[str, int] | None
) -> Start:
    deadline = time.monotonic() + _BUDGET
    found = start_of(view.id, (reason.code, reason.numbers), look, None)
    if found.unknown != "working":
        return found
    ahead = forecast(with_it, [view.id], ranks=ranks, go_on=lambda: time.monotonic() < deadline)
    made = Forecast(expected=ahead, asked=frozenset({view.id}), endless=endless(with_it))
    return start_of(view.id, (reason.code, reason.numbers), look, made)
