"""The queue as one viewer may see it: position, reason and needs of every job that waits.

Computed when read, by the same `decide` that the dispatcher runs, so that the numbers are those of now. What a
viewer may not see stays anonymous: "another project, 23 GiB".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from jobs import heartbeats, permissions, sitesettings, snapshots, why
from jobs.core.decide import decide, in_order
from jobs.core.placement import Verdict, verdicts
from jobs.core.plan import WaitCode
from jobs.core.snapshot import Snapshot
from jobs.core.states import JobState
from jobs.models import Job, User

FRESH_FOR = 1.0  # seconds that a computed queue serves every reader of this process


@dataclass(frozen=True, kw_only=True)
class Why:
    """Why a job does not run: the code and its numbers; the words in the language of whoever reads them."""

    code: str
    numbers: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    verdicts: tuple[Verdict, ...] = ()

    @property
    def sentence(self) -> str:
        """The reason in one sentence."""
        return why.sentence(self.code, self.numbers)

    @property
    def remedy(self) -> str:
        """What would make it start."""
        return why.remedy(self.code)

    @property
    def who_acts(self) -> str:
        """Whether to wait, to change the task, or to call an admin."""
        return why.who_acts(self.code)


@dataclass(frozen=True, kw_only=True)
class QueueRow:
    """One waiting job. `job` is None where the viewer may not know it; `named` where only its name is shown."""

    position: int | None  # from 1; None for a held job
    needs: int  # bytes a card
    gpus: int
    job: Job | None
    named: str = ""
    owner: str = ""
    why: Why | None = None


@dataclass(frozen=True, kw_only=True)
class _Queue:
    made_at: float
    snapshot: Snapshot
    order: tuple[str, ...]
    positions: Mapping[str, int]
    reasons: Mapping[str, Why]
    jobs: Mapping[str, Job]


_lock = threading.Lock()
_latest: _Queue | None = None


def rows(viewer: User) -> list[QueueRow]:
    """Every waiting job: the queued ones in their order, then the held ones."""
    queue = _current()
    open_to_all = sitesettings.current().queue_is_open
    mine = {project.pk for project in permissions.projects_visible_to(viewer)}
    queued = [queue.jobs[job_id] for job_id in queue.order]
    held = (
        Job.objects.filter(state=JobState.HELD).in_queue_order().select_related("project", "owner")
    )
    return [_row(job, queue, job.project_id in mine, open_to_all) for job in [*queued, *held]]


def position(job: Job) -> int | None:
    """The job's place in the queue, from 1; None where it does not queue."""
    return _current().positions.get(job.pk)


def why_waiting(job: Job, *, with_verdicts: bool = False) -> Why | None:
    """Why the job does not run; None where it runs or has ended."""
    if job.state == JobState.HELD:
        return Why(code=job.wait_code or WaitCode.HELD_BY_YOU, numbers=job.wait_numbers)
    if job.state != JobState.QUEUED:
        return None
    queue = _current()
    reason = queue.reasons.get(job.pk) or Why(code=why.STARTS_NOW)
    if not with_verdicts:
        return reason
    cards = tuple(verdicts(snapshots.job_view(job), queue.snapshot))
    return replace(reason, verdicts=cards)


def forget() -> None:
    """Compute afresh at the next reading: something changed."""
    global _latest  # noqa: PLW0603 - the one cached queue of this process
    _latest = None


def _row(job: Job, queue: _Queue, is_mine: bool, open_to_all: bool) -> QueueRow:
    named = is_mine or open_to_all
    return QueueRow(
        position=queue.positions.get(job.pk),
        needs=job.min_memory,
        gpus=job.gpus,
        job=job if is_mine else None,
        named=str(job) if named else "",
        owner=job.owner.username if named else "",
        why=(queue.reasons.get(job.pk) or why_waiting(job)) if is_mine else None,
    )


def _current() -> _Queue:
    global _latest  # noqa: PLW0603 - the one cached queue of this process
    with _lock:
        if _latest is None or time.monotonic() - _latest.made_at > FRESH_FOR:
            _latest = _compute()
        return _latest


def _compute() -> _Queue:
    picture = snapshots.take()
    plan = decide(picture.snapshot)
    order = tuple(view.id for view in in_order(picture.snapshot))
    stalled = not next(
        life.fresh for life in heartbeats.lives() if life.name == heartbeats.DISPATCHER
    )
    reasons = {wait.job: Why(code=wait.code, numbers=wait.numbers) for wait in plan.waits}
    if stalled:
        reasons = dict.fromkeys(order, Why(code=WaitCode.SCHEDULER_STALLED))
    return _Queue(
        made_at=time.monotonic(),
        snapshot=picture.snapshot,
        order=order,
        positions={job_id: place for place, job_id in enumerate(order, start=1)},
        reasons=reasons,
        jobs=picture.jobs,
    )
