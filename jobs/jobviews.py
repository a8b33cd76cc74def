"""Rows of jobs -> `JobView` and `RunView`, as the scheduler sees them. Reads only, and only columns that it needs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import QuerySet

from jobs.cardviews import Booking
from jobs.core.expectation import Expectation, Past, last_step_at
from jobs.core.plan import Placement
from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import SUSPEND_SECONDS, JobView, RunView
from jobs.core.states import HOLDS_DEVICE, JobState, Outcome, Priority
from jobs.history import History
from jobs.models import Attempt, Job
from jobs.querysets import in_parts

_PRIORITIES = {priority.value: priority for priority in Priority}
_LEAVING = frozenset({JobState.SUSPENDING, JobState.STOPPING})


class JobRow(NamedTuple):
    """What the scheduler reads of a job."""

    pk: str
    task_id: str
    project: str
    owner: str
    priority: int
    submitted_at: datetime
    state_since: datetime
    min_memory: int
    gpus: int
    nodes: int
    gpu_type: str
    exclusive: bool
    preemptible: bool
    est_time: float | None
    time_limit: float | None
    template: str
    epoch: int
    not_before: datetime | None
    service: float
    state: str
    wait_code: str


_RENAMED = {"project": "project__slug", "owner": "owner__username"}
_JOB_COLUMNS = tuple(_RENAMED.get(name, name) for name in JobRow._fields)


class RunRow(NamedTuple):
    """What the scheduler reads of an open attempt, beside its job."""

    pk: int
    started_at: datetime | None
    created_at: datetime
    resumed_at: datetime | None
    saved_at: datetime | None
    saves_itself: bool
    preempted_for: str
    progress: Mapping[str, Any]
    job: JobRow

    @property
    def begun(self) -> float:
        """Since when it holds its cards, or runs on them."""
        return (self.started_at or self.created_at).timestamp()

    @property
    def held_since(self) -> float:
        """The same of this stay on its cards; what it had before it was swapped out is counted already."""
        return self.begun if self.resumed_at is None else self.resumed_at.timestamp()


_RUN_COLUMNS = (
    "pk",
    "started_at",
    "created_at",
    "resumed_at",
    "saved_at",
    "saves_itself",
    "preempted_for",
    "job__progress",
    *(f"job__{name}" for name in _JOB_COLUMNS),
)


@dataclass(slots=True)
class Earlier:
    """What a job's ended attempts leave behind."""

    preempted_at: list[float] = field(default_factory=list)
    saved: float = 0.0  # seconds of work that checkpoints keep
    left: float | None = (
        None  # seconds that its last attempt would still have run from its checkpoint on
    )

    def next_expiry(self, now: float, rules: Rules) -> float | None:
        """When the oldest preemption within the window leaves it; None without one."""
        ends = [at + rules.preemption_window for at in self.preempted_at]
        return min((end for end in ends if end > now), default=None)

    def preemptions(self, now: float, rules: Rules) -> int:
        """How often it was preempted within the rules' window."""
        return sum(now - at < rules.preemption_window for at in self.preempted_at)


_NOTHING = Earlier()


def queued(ids: Collection[str] | None = None) -> list[JobRow]:
    """The queued jobs; with `ids`, those of them."""
    if ids is None:
        return list(_job_rows(Job.objects.queued()))
    rows = (row for part in in_parts(ids) for row in _job_rows(Job.objects.filter(pk__in=part)))
    # Sorted out here: asked for the state as well, SQLite would go through the whole queue for a few ids.
    return [row for row in rows if row.state == JobState.QUEUED]


def row_of(job: Job) -> JobRow:
    """The row of a job that has been read already."""
    known = {"project": job.project.slug, "owner": job.owner.username}
    return JobRow._make(
        known[name] if name in known else getattr(job, name) for name in JobRow._fields
    )


def running(ids: Collection[int] | None = None) -> list[RunRow]:
    """The open attempts with their jobs; with `ids`, those of them."""
    attempts = Attempt.objects.open()
    if ids is None:
        return list(_run_rows(attempts))
    return [row for part in in_parts(ids) for row in _run_rows(attempts.filter(pk__in=part))]


def earlier(ids: Collection[str] | None = None) -> dict[str, Earlier]:
    """What the ended attempts of queued and running jobs leave behind; with `ids`, of those jobs."""
    attempts = Attempt.objects.filter(ended_at__isnull=False)
    found: dict[str, Earlier] = defaultdict(Earlier)
    if ids is None:
        live = (JobState.QUEUED, JobState.SUSPENDED, *HOLDS_DEVICE)
        _add_all(found, attempts.filter(job__state__in=live, job__epoch__gt=0))
    else:
        for part in in_parts(ids):
            _add_all(found, attempts.filter(job__in=part))
    return found


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """Makes views of rows, as of one instant."""

    now: float
    rules: Rules
    history: History
    earlier: Mapping[str, Earlier]  # by job

    def job(self, row: JobRow) -> JobView:
        """One waiting job as policies and placement see it."""
        return self._job(row, self.history.of(row.template))

    def run(self, row: RunRow, booked: Iterable[Booking], uuids: Mapping[int, str]) -> RunView:
        """One open attempt with its bookings; `uuids` are the cards' names by the keys of their rows."""
        held = tuple(booked)
        past = self.history.of(row.job.template)
        counted = max((each.sm_share for each in held), default=0.0)
        state = row.job.state
        leaving = state in _LEAVING
        return RunView(
            job=replace(
                self._job(row.job, replace(past, sm_share=counted)), saves_itself=row.saves_itself
            ),
            placements=tuple(
                Placement(uuid=uuids[each.device], memory=each.charge) for each in held
            ),
            started_at=row.held_since,
            expected_end=self._expected_end(row, past),
            saved_at=row.saved_at.timestamp() if row.saved_at else None,
            frozen=state == JobState.SUSPENDED,
            leaving=leaving,
            leaving_for=row.preempted_for if leaving else "",
        )

    def _job(self, row: JobRow, past: Past) -> JobView:
        earlier = self.earlier.get(row.pk, _NOTHING) if row.epoch else _NOTHING
        return JobView(
            id=row.pk,
            task_id=row.task_id,
            project=row.project,
            user=row.owner,
            priority=_PRIORITIES[row.priority],
            submitted_at=row.submitted_at.timestamp(),
            min_memory=row.min_memory,
            gpus=row.gpus,
            nodes=row.nodes,
            gpu_type=row.gpu_type or None,
            exclusive=row.exclusive,
            preemptible=row.preemptible,
            est_time=math.inf if row.est_time is None else row.est_time,
            attempts=row.epoch,
            not_before=row.not_before.timestamp() if row.not_before else None,
            waiting_since=row.state_since.timestamp() if row.state == JobState.QUEUED else None,
            expected_run=_expected_run(row, earlier, past),
            sm_share=past.sm_share,
            service=row.service,
            preemptions=earlier.preemptions(self.now, self.rules),
            suspend_seconds=SUSPEND_SECONDS if past.suspend is None else past.suspend,
        )

    def _expected_end(self, row: RunRow, past: Past) -> float:
        if row.job.state == JobState.SUSPENDED:
            return math.inf  # nobody can tell when it will be thawed
        seen = row.progress.get("at")
        is_its_own = isinstance(seen, int | float) and seen >= row.begun
        return _expectation(row.job, past).end(
            row.begun,
            self.now,
            ran_before=self.earlier.get(row.job.pk, _NOTHING).saved,
            by_progress=last_step_at(row.progress) if is_its_own else None,
        )


def _job_rows(jobs: QuerySet[Job]) -> Iterator[JobRow]:
    rows: Any = jobs.order_by().values_list(*_JOB_COLUMNS)
    return (JobRow._make(row) for row in rows.iterator(chunk_size=10_000))


def _run_rows(attempts: QuerySet[Attempt]) -> Iterator[RunRow]:
    own = len(RunRow._fields) - 1
    rows: Any = attempts.order_by("pk").values_list(*_RUN_COLUMNS)
    return (
        RunRow._make((*row[:own], JobRow._make(row[own:])))
        for row in rows.iterator(chunk_size=10_000)
    )


def _add_all(found: dict[str, Earlier], attempts: QuerySet[Attempt]) -> None:
    columns = ("job", "outcome", "started_at", "ended_at", "saved_at", "job__progress")
    rows: Any = attempts.order_by("pk").values_list(*columns)
    for job, *told in rows.iterator(chunk_size=10_000):
        _add(found[job], *told)


def _add(
    earlier: Earlier,
    outcome: str,
    started_at: datetime | None,
    ended_at: datetime,
    saved_at: datetime | None,
    progress: Mapping[str, Any],
) -> None:
    """Count one more ended attempt, the newest so far."""
    if outcome == Outcome.PREEMPTED:
        earlier.preempted_at.append(ended_at.timestamp())
    earlier.left = None
    if saved_at is not None and started_at is not None:
        earlier.saved += max(0.0, (saved_at - started_at).total_seconds())
        left = progress.get("eta_s")
        if isinstance(left, int | float):
            earlier.left = left + max(0.0, (ended_at - saved_at).total_seconds())


def _expectation(row: JobRow, past: Past) -> Expectation:
    return Expectation(
        est_time=math.inf if row.est_time is None else row.est_time,
        time_limit=math.inf if row.time_limit is None else row.time_limit,
        past=past,
    )


def _expected_run(row: JobRow, earlier: Earlier, past: Past) -> float:
    if earlier.left is not None:
        return earlier.left
    if row.est_time is None and row.time_limit is None and not past.count:
        return math.inf  # most jobs of a long queue: no object for each
    return _expectation(row, past).left_after(earlier.saved)
