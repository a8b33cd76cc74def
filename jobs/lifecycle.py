"""The one writer of where jobs are: every change of a job's or attempt's state is a function here.

Each is a *guarded move*: an update that filters on the state as it was read, and the event row, in one
transaction; announced after the commit. Where the guard finds that somebody was first, nothing changes and the
function returns False (or None): the caller reads afresh and decides again.

No process is started and nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from gpus.models import Device, Node
from jobs import attained, bookings, endings
from jobs.core.ending import GAVE_BACK, Ending, Sequel, as_wished
from jobs.core.plan import PreemptionRule, WaitCode
from jobs.core.states import JobState, Outcome, Reason, may_move
from jobs.models import Allocation, Attempt, Job, Swap, User
from jobs.records import Cause as _Cause
from jobs.records import record as _record
from jobs.suspendtimes import SWAP

STAYS = (JobState.SUSPENDED, JobState.QUEUED, JobState.HELD)
"""States of a job with a swapped-out attempt; when that ends, the job stays and begins another one in its turn."""

OVER_MEMORY = "over_memory"
"""The kind of the event row of a job that is measured above its booking, and is warned or ended."""


class _Stale(Exception):
    """Somebody else changed the row first; the whole step is undone."""


def submit(job: Job, actor: User, *, wait: WaitCode | None = None) -> None:
    """Write a new job: QUEUED, or HELD where `wait` says what it waits for.

    Raises:
        IntegrityError: an active job of this task_id, or this very run, exists already.
    """
    now = timezone.now()
    job.state = JobState.HELD if wait else JobState.QUEUED
    job.wait_code = wait or ""
    job.submitted_at = job.state_since = now
    with transaction.atomic():
        job.save(force_insert=True)
        _record(job, _Cause(kind="submit", actor=actor), now, old="")


def hold(job: Job, actor: User, *, by_admin: bool = False) -> bool:
    """Keep a queued job from starting until it is released."""
    code = WaitCode.HELD_BY_ADMIN if by_admin else WaitCode.HELD_BY_YOU
    return _move(
        job,
        JobState.HELD,
        _Cause(kind="hold", actor=actor),
        wait_code=code,
        wait_numbers={},
        hold_by_admin=by_admin,
    )


def release(job: Job, actor: User | None = None) -> bool:
    """Put a held job back into the queue, at its old place."""
    return _move(
        job,
        JobState.QUEUED,
        _Cause(kind="release", actor=actor),
        wait_code="",
        wait_numbers={},
        hold_by_admin=False,
    )


def start(
    job: Job, node: Node, placements: Sequence[tuple[Device, int]], sm_share: float = 0.0
) -> Attempt | None:
    """Book memory and make the attempt, all or nothing; no process exists yet.

    `placements` are cards of `node` with the bytes to book on each; `sm_share` is what the job is known to compute
    with on each of them, 0 where nothing is known. None where the job has moved on, or a card has less left than the
    plan believed.
    """
    now = timezone.now()
    try:
        with transaction.atomic():
            return _start(job, node, placements, sm_share, now)
    except (_Stale, IntegrityError):
        return None


def mark_running(attempt: Attempt, *, started_at: datetime, containment: str) -> bool:
    """The process of the attempt runs: its start record is on disk."""
    job = attempt.job
    first = {} if job.started_at else {"started_at": started_at}
    cause = _Cause(kind="run", attempt=attempt)
    with transaction.atomic():
        if not _move(job, JobState.RUNNING, cause, expected=JobState.STARTING, **first):
            return False
        attempt.started_at, attempt.containment = started_at, containment
        attempt.save(update_fields=["started_at", "containment"])
        if _is_paused(attempt):  # paused while it was starting
            _move(job, JobState.SUSPENDING, _Cause(kind="pause", attempt=attempt))
    return True


def adopt(attempt: Attempt, *, started_at: datetime, containment: str) -> None:
    """Note that an attempt which was told to stop before it was seen running did start."""
    if attempt.started_at is None:
        attempt.started_at, attempt.containment = started_at, containment
        attempt.save(update_fields=["started_at", "containment"])


def freeze(job: Job, actor: User | None) -> bool:
    """Stop a running job in memory; it keeps its bookings and its attempt."""
    cause = _Cause(kind="freeze", actor=actor)
    return _move(job, JobState.SUSPENDED, cause, expected=JobState.RUNNING)


def thaw(job: Job, actor: User | None) -> bool:
    """Let a frozen job go on."""
    cause = _Cause(kind="thaw", actor=actor)
    return _move(job, JobState.RUNNING, cause, expected=JobState.SUSPENDED)


def suspend(
    job: Job, attempt: Attempt, actor: User | None, *, by_admin: bool = False, reason: str = ""
) -> bool:
    """Tell a running job to give its cards back and wait; it keeps them until its processes are known to be dead.

    A starting one is told as soon as it runs. False where it does neither any more, or runs in another attempt.

    Args:
        job: the one to pause.
        attempt: its open attempt.
        actor: who asks for it; None: the site.
        by_admin: only an admin lets it go on.
        reason: why, where no person asks.
    """
    if attempt.number != job.epoch:
        return False
    cause = _Cause(kind="pause", actor=actor, attempt=attempt, reason=reason)
    with transaction.atomic():
        if job.state == JobState.STARTING:
            told = _stays(job, JobState.STARTING, cause, hold_by_admin=by_admin)
        else:
            told = _move(
                job,
                JobState.SUSPENDING,
                cause,
                expected=JobState.RUNNING,
                hold_by_admin=by_admin,
            )
        if told:
            Attempt.objects.open().filter(pk=attempt.pk).update(stop_for=Outcome.SUSPENDED)
    return told


def unsuspend(job: Job, attempt: Attempt, actor: User) -> bool:
    """Take back a pause that a starting job has not followed yet."""
    cause = _Cause(kind="unpause", actor=actor, attempt=attempt)
    with transaction.atomic():
        if not _stays(job, JobState.STARTING, cause, hold_by_admin=False):
            return False
        Attempt.objects.open().filter(pk=attempt.pk, stop_for=Outcome.SUSPENDED).update(stop_for="")
    return True


def preempt(
    job: Job,
    attempt: Attempt,
    *,
    beneficiary: str,
    rule: PreemptionRule,
    lost: float,
    also: Mapping[str, object] | None = None,
) -> bool:
    """Tell a running job to give its cards to another one; it keeps them until its processes are known to be dead.

    False where it does not run any more, or runs in another attempt.

    Args:
        job: the one that gives way.
        attempt: its open attempt.
        beneficiary: public id of the job that room is made for.
        rule: why that one may take its place.
        lost: GPU-seconds of work that are expected to be done again.
        also: what else its event row tells.
    """
    data = {"beneficiary": beneficiary, "rule": rule, "lost": lost, **(also or {})}
    cause = _Cause(kind="preempt", attempt=attempt, reason=Reason.PREEMPTED, data=data)
    if attempt.number != job.epoch:
        return False
    with transaction.atomic():
        if not _move(job, JobState.SUSPENDING, cause, expected=JobState.RUNNING):
            return False
        Attempt.objects.open().filter(pk=attempt.pk).update(
            stop_for=Outcome.PREEMPTED, preempted_for=beneficiary
        )
    attempt.stop_for, attempt.preempted_for = Outcome.PREEMPTED, beneficiary
    return True


def cancel(job: Job, actor: User) -> bool:
    """End a job for good: at once where nothing of it runs, else by way of STOPPING."""
    attempt = job.open_attempt
    cause = _Cause(kind="cancel", actor=actor, attempt=attempt, reason=Reason.USER)
    if attempt is None:
        return _end(job, JobState.CANCELLED, cause, Outcome.CANCELLED)
    with transaction.atomic():
        if not _move(job, JobState.STOPPING, cause):
            return False
        Attempt.objects.open().filter(pk=attempt.pk).update(stop_for=Outcome.CANCELLED)
    return True


def finish(attempt: Attempt, ending: Ending) -> bool:
    """Close an attempt whose processes are known to be dead, free its bookings, and move its job on."""
    now = timezone.now()
    try:
        with transaction.atomic():
            # Locked first, as every other move does, so that nobody waits for each other.
            job = Job.objects.select_for_update().get(pk=attempt.job_id)
            ending = as_wished(ending, JobState(job.state))
            if not _close(attempt, ending, now):
                return False
            # a late end of an old attempt frees its bookings and changes nothing else
            if job.epoch == attempt.number and job.is_active:
                _follow(job, attempt, ending, endings.sequel_of(job, ending), now)
    except _Stale:
        return False
    return True


def mark_stuck(attempt: Attempt, detail: str) -> bool:
    """Processes of the attempt cannot be ended: keep the bookings, and take its cards out of service."""
    now = timezone.now()
    with transaction.atomic():
        changed = (
            Attempt.objects.open().filter(pk=attempt.pk, stuck_since=None).update(stuck_since=now)
        )
        if not changed:
            return False
        Device.objects.filter(allocations__attempt=attempt, drained=False).update(
            drained=True, drain_reason=detail[:200]
        )
        cause = _Cause(kind="stuck", attempt=attempt, detail=detail)
        _record(attempt.job, cause, now, old=attempt.job.state)
    return True


def warn_over_memory(attempt: Attempt, detail: str) -> bool:
    """Note, once an attempt, that it is measured above its booking; changes no state."""
    if attempt.events.filter(kind=OVER_MEMORY).exists():
        return False
    cause = _Cause(kind=OVER_MEMORY, attempt=attempt, reason=Reason.OVER_MEMORY, detail=detail)
    job = attempt.job
    with transaction.atomic():
        return _stays(job, JobState.RUNNING, cause, hold_by_admin=job.hold_by_admin)


def over_memory(job: Job, attempt: Attempt, detail: str, *, ends: bool) -> bool:
    """Have a running job that is measured above its booking give its cards back, or end it for good."""
    kind, state = (OVER_MEMORY, JobState.STOPPING) if ends else ("pause", JobState.SUSPENDING)
    cause = _Cause(kind=kind, attempt=attempt, reason=Reason.OVER_MEMORY, detail=detail)
    if attempt.number != job.epoch:
        return False
    with transaction.atomic():
        if not _move(job, state, cause, expected=JobState.RUNNING):
            return False
        told: dict[str, str] = {"stop_for": Outcome.FAILED if ends else Outcome.SUSPENDED}
        told |= {"detail": detail} if ends else {}
        Attempt.objects.open().filter(pk=attempt.pk).update(**told)
    return True


def swapped_out(attempt: Attempt, detail: str) -> bool:
    """The memory of the attempt is seen gone from its cards: free them, and suspend its job or queue it again."""
    now, job = timezone.now(), attempt.job
    preempted = attempt.stop_for == Outcome.PREEMPTED
    data = attained.preemption(attempt) | {"lost": 0.0} if preempted else {}
    kind, state = ("requeue", JobState.QUEUED) if preempted else ("suspend", JobState.SUSPENDED)
    cause = _Cause(kind=kind, attempt=attempt, detail=detail, data=data | {"rung": SWAP})
    with transaction.atomic():
        if not _move(job, state, cause, expected=JobState.SUSPENDING):
            return False
        Attempt.objects.open().filter(pk=attempt.pk).update(swap=Swap.SWAPPED, stop_for="")
        _give_back(attempt, bookings.open_ones(attempt), now)
    return True


def take_back(job: Job, attempt: Attempt, device: Device, memory: int) -> bool:
    """Book its card again for a queued job whose memory is swapped out; it runs when that is back."""
    fields: dict[str, Any] = {"not_before": None, "wait_code": "", "wait_numbers": {}}
    try:
        with transaction.atomic():
            cause = _Cause(kind="swap_in", attempt=attempt)
            if not _move(job, JobState.STARTING, cause, expected=JobState.QUEUED, **fields):
                return False
            now = timezone.now()
            if not bookings.make(attempt, [(device, memory)], 0.0, now):
                raise _Stale
            Attempt.objects.open().filter(pk=attempt.pk).update(swap=Swap.BACK, resumed_at=now)
    except (_Stale, IntegrityError):
        return False
    return True


def swapped_back(attempt: Attempt) -> bool:
    """The memory of the attempt is on its card again, and its job runs."""
    with transaction.atomic():
        cause = _Cause(kind="run", attempt=attempt)
        if not _move(attempt.job, JobState.RUNNING, cause, expected=JobState.STARTING):
            return False
        Attempt.objects.open().filter(pk=attempt.pk).update(swap=Swap.NO)
        if _is_paused(attempt):
            _move(attempt.job, JobState.SUSPENDING, _Cause(kind="pause", attempt=attempt))
    return True


def keep_running(attempt: Attempt, detail: str) -> bool:
    """Let a job run on that was told to give its cards back, and cannot."""
    cause = _Cause(kind="unpause", attempt=attempt, detail=detail)
    with transaction.atomic():
        if not _move(attempt.job, JobState.RUNNING, cause, expected=JobState.SUSPENDING):
            return False
        Attempt.objects.open().filter(pk=attempt.pk).update(stop_for="", preempted_for="")
    return True


def explain_wait(job_ids: Sequence[str], code: WaitCode, numbers: Mapping[str, object]) -> None:
    """Keep the reason why queued jobs wait; changes no state and leaves no event."""
    Job.objects.queued().filter(pk__in=job_ids).update(wait_code=code, wait_numbers=dict(numbers))


def explain_hold(job: Job, numbers: Mapping[str, object]) -> None:
    """Keep what a held job's dependency has come to."""
    Job.objects.waiting().filter(pk=job.pk).update(wait_numbers=dict(numbers))


def reprioritise(job: Job, priority: int, actor: User | None, *, detail: str = "") -> bool:
    """Give a waiting or running job another priority; `detail` says why, in the words of a person."""
    now = timezone.now()
    with transaction.atomic():
        if not Job.objects.active().filter(pk=job.pk).update(priority=priority):
            return False
        data = {"old": job.priority, "new": priority}
        job.priority = priority
        _record(
            job, _Cause(kind="priority", actor=actor, detail=detail, data=data), now, old=job.state
        )
    return True


def _start(
    job: Job,
    node: Node,
    placements: Sequence[tuple[Device, int]],
    sm_share: float,
    now: datetime,
) -> Attempt:
    number = job.epoch + 1
    attempt = Attempt(job=job, number=number, node=node, created_at=now)
    fields: dict[str, Any] = {
        "epoch": number,
        "not_before": None,
        "wait_code": "",
        "wait_numbers": {},
    }
    if job.colour is None:
        fields["colour"] = bookings.free_colour([device for device, _memory in placements])
    if not _move(job, JobState.STARTING, _Cause(kind="start"), **fields):
        raise _Stale
    attempt.save(force_insert=True)
    if not bookings.make(attempt, placements, sm_share, now):
        raise _Stale
    return attempt


def _close(attempt: Attempt, ending: Ending, now: datetime) -> bool:
    """Mark the attempt ended, note what it has had of its cards, and give its bookings back, once."""
    held = bookings.open_ones(attempt)
    gave_back = ending.outcome in GAVE_BACK
    attempt.lost_seconds = attained.lost(attempt, len(held), now) if gave_back else None
    closed = Attempt.objects.open().filter(pk=attempt.pk)
    if not closed.update(
        ended_at=now,
        outcome=ending.outcome,
        reason=ending.reason,
        detail=ending.detail,
        exit_code=ending.exit_code,
        exit_signal=ending.signal,
        lost_seconds=attempt.lost_seconds,
    ):
        return False
    _give_back(attempt, held, now)
    return True


def _give_back(attempt: Attempt, held: Sequence[Allocation], now: datetime) -> None:
    bookings.release(attempt, held, now)
    if had := attained.service(attempt, held, now):
        Job.objects.filter(pk=attempt.job_id).update(service=F("service") + had)


def _follow(job: Job, attempt: Attempt, ending: Ending, following: Sequel, now: datetime) -> None:
    kind = {JobState.QUEUED: "retry", JobState.SUSPENDED: "suspend"}.get(following.state, "end")
    grown = ending.grown if kind == "retry" else {}
    data: Mapping[str, object] = ending.shortage_data | grown
    if ending.outcome is Outcome.PREEMPTED:
        kind, data = "requeue", attained.preemption(attempt)
    elif kind == "suspend":
        data = attained.suspension(attempt)
    cause = _Cause(
        kind=kind, attempt=attempt, reason=ending.reason, detail=ending.detail, data=data
    )
    if job.state in STAYS and attempt.swap in {
        Swap.SWAPPED,
        Swap.BROKEN,
    }:  # it ended while its memory was swapped out
        moved = _stays(job, JobState(job.state), cause, hold_by_admin=job.hold_by_admin)
    elif kind == "end":
        moved = _end(job, following.state, cause, ending.outcome, ending.exit_code)
    else:
        not_before = now + timedelta(seconds=following.backoff) if following.backoff else None
        moved = _move(job, following.state, cause, not_before=not_before, **grown)
    if not moved:
        raise _Stale
    if job.state == JobState.QUEUED and _is_paused(attempt):
        # It ended by itself before it could follow; a person wants it not to run.
        code = WaitCode.HELD_BY_ADMIN if job.hold_by_admin else WaitCode.HELD_BY_YOU
        _move(job, JobState.HELD, _Cause(kind="hold"), wait_code=code, wait_numbers={})


def _is_paused(attempt: Attempt) -> bool:
    return Attempt.objects.filter(pk=attempt.pk, stop_for=Outcome.SUSPENDED).exists()


def _end(
    job: Job, state: JobState, cause: _Cause, outcome: Outcome, exit_code: int | None = None
) -> bool:
    return _move(
        job,
        state,
        cause,
        finished_at=timezone.now(),
        outcome=outcome,
        reason=cause.reason,
        detail=cause.detail,
        exit_code=exit_code,
        wait_code="",
        wait_numbers={},
    )


def _move(
    job: Job,
    new: JobState,
    cause: _Cause,
    *,
    expected: JobState | None = None,
    **fields: object,
) -> bool:
    """The guarded move itself. On success `job` shows the new values."""
    old = JobState(job.state)
    if (expected is not None and old is not expected) or not may_move(old, new):
        return False
    now = timezone.now()
    fields |= {"state": new, "state_since": now}
    with transaction.atomic(
        savepoint=False
    ):  # a refused guard changes nothing that had to be undone
        guard = Job.objects.filter(pk=job.pk, state=old, epoch=job.epoch)
        if not guard.update(**fields):
            return False
        for name, value in fields.items():
            setattr(job, name, value)
        _record(job, cause, now, old=old)
    return True


def _stays(job: Job, state: JobState, cause: _Cause, **fields: object) -> bool:
    """Note something of a job that stays in `state`; guarded like a move, and its row is locked from here on."""
    guard = Job.objects.filter(pk=job.pk, state=state, epoch=job.epoch)
    if job.state != state or not guard.update(**fields):
        return False
    for name, value in fields.items():
        setattr(job, name, value)
    _record(job, cause, timezone.now(), old=state)
    return True
