"""How an attempt ended, told from what its supervisor left on disk and what its training wrote."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from jobs import attained, outofmemory, rundir
from jobs.checkpoints import trainer_state
from jobs.core.completion import TAIL_BYTES, Exit, judge_completion
from jobs.core.ending import GAVE_BACK, Ending, Sequel, sequel
from jobs.core.llamafactory import trains
from jobs.core.states import JobState, Outcome, Reason
from jobs.engines.base import Engine
from jobs.models import Attempt, Job, Swap
from jobs.refs import ref_of

LOST_DETAILS = {
    Reason.NOT_CLAIMED: _("No supervisor took this attempt, so nothing of it ran."),
    Reason.SUPERVISOR_DIED: _("The supervisor of this attempt died; what it left has been ended."),
    Reason.NODE_REBOOTED: _("The machine was restarted while this attempt ran."),
    Reason.NODE_LOST: _("The machine that ran this attempt is gone."),
}


def lost(attempt: Attempt, reason: Reason) -> Ending:
    """The end of an attempt that left no exit record. A person's stop is fulfilled all the same."""
    if attempt.swap and (ended := _while_swapped(attempt)) is not None:
        return ended
    never_ran = reason is Reason.NOT_CLAIMED and attempt.stop_for == Outcome.SUSPENDED
    if attempt.stop_for and not never_ran:
        return _as_told(attempt)
    return Ending(outcome=Outcome.LOST, reason=reason, detail=str(LOST_DETAILS[reason]))


def _while_swapped(attempt: Attempt, record: dict[str, Any] | None = None) -> Ending | None:
    """The end of an attempt whose memory was being moved, or had been; None where its end is like any other.

    It does not go on from there, but from its last checkpoint, or from its beginning.
    """
    state, record = attempt.job.state, record or {}
    if state == JobState.SUSPENDING and attempt.swap in {Swap.OUT, Swap.UNDO}:
        return None if record.get("code") == 0 else _as_told(attempt, record)
    if state not in {JobState.SUSPENDED, JobState.HELD, JobState.QUEUED, JobState.STARTING}:
        return None
    if attempt.swap not in {Swap.SWAPPED, Swap.BACK, Swap.BROKEN}:
        return None
    detail = _("Its swapped-out memory is gone; it goes on from what it had saved.")
    return Ending(
        outcome=Outcome.LOST,
        reason=Reason.RESTORE_FAILED,
        detail=str(detail),
        exit_code=record.get("code"),
        signal=record.get("signal"),
    )


def sequel_of(job: Job, ending: Ending) -> Sequel:
    """What follows for the job, counted by its attempts that have really been tried."""
    went_well = ending.outcome is Outcome.SUCCEEDED
    tried = job.attempts.exclude(started_at=None).exclude(outcome__in=GAVE_BACK)
    return sequel(
        ending,
        state=JobState(job.state),
        starts=0 if went_well else tried.count(),
        max_attempts=job.spec.get("max_attempts", 1),
        retry_on=job.spec.get("retry_on", ()),
    )


def launch_failed(detail: str) -> Ending:
    """The end of an attempt of which nothing could be started."""
    return Ending(outcome=Outcome.FAILED, reason=Reason.LAUNCH_FAILED, detail=detail)


def exited(attempt: Attempt, record: dict[str, Any], engine: Engine) -> Ending:
    """The end that an exit record tells of."""
    if attempt.swap and (ended := _while_swapped(attempt, record)) is not None:
        return ended
    if attempt.stop_for and record.get("stopped_by") == "control":
        return _completed_meanwhile(attempt, record, engine) or _as_told(attempt, record)
    if record.get("stopped_by") == "time_limit":
        return _failed(Reason.TIME_LIMIT, str(_("It ran into its time limit.")), record)
    if record.get("launch_error"):
        return _failed(Reason.LAUNCH_FAILED, str(record["launch_error"]), record)
    if record.get("oom_kill"):
        return _failed(
            Reason.HOST_OUT_OF_MEMORY, str(_("The machine ran out of main memory.")), record
        )
    return _judged(attempt, record, engine)


def _judged(attempt: Attempt, record: dict[str, Any], engine: Engine) -> Ending:
    config = attempt.job.spec.get("llamafactory")
    ending = judge_completion(
        Exit(code=record.get("code"), signal=record.get("signal")),
        trains=isinstance(config, dict) and trains(config),
        trainer_state=trainer_state(
            rundir.job_directory(settings.COOP_HOME, attempt.job_id) / "output"
        ),
        log_tail=_log_tail(attempt, engine),
        stopped=record.get("stopped_by") is not None,
    )
    return outofmemory.with_next_need(attempt, ending)


def _completed_meanwhile(attempt: Attempt, record: dict[str, Any], engine: Engine) -> Ending | None:
    """Its success, where it was only to give its cards back, and its training says that it is complete."""
    if attempt.stop_for not in GAVE_BACK or record.get("code") != 0:
        return None
    judged = _judged(attempt, record, engine)
    return judged if judged.outcome is Outcome.SUCCEEDED else None


def _log_tail(attempt: Attempt, engine: Engine) -> str:
    ref = ref_of(attempt)
    size = engine.log_size(ref)
    return engine.read_log(ref, max(0, size - TAIL_BYTES), TAIL_BYTES).decode(errors="replace")


def _as_told(attempt: Attempt, record: dict[str, Any] | None = None) -> Ending:
    outcome = Outcome(attempt.stop_for)
    record = record or {}
    if outcome is Outcome.FAILED:
        ending = _failed(Reason.OVER_MEMORY, attempt.detail, record)
        return outofmemory.with_next_need(attempt, ending)
    return Ending(
        outcome=outcome,
        reason=_reason_to_stop(attempt, outcome),
        detail=_unsaved(attempt) if outcome in GAVE_BACK else "",
        exit_code=record.get("code"),
        signal=record.get("signal"),
    )


def _reason_to_stop(attempt: Attempt, outcome: Outcome) -> Reason:
    if outcome is Outcome.PREEMPTED:
        return Reason.PREEMPTED
    idle = outcome is Outcome.SUSPENDED and attempt.idle_suspended_at is not None
    return Reason.IDLE if idle else Reason.USER


def _unsaved(attempt: Attempt) -> str:
    """What is to be said of a training that was to save when it was told to end, and has not; else nothing."""
    if not attempt.saves_itself or attained.saved_when_told(attempt):
        return ""
    seen = attempt.job.progress.get("at")
    begun = attempt.started_at.timestamp() if attempt.started_at else float("inf")
    if not isinstance(seen, int | float) or seen < begun:
        return str(_("It had not made a step yet, so there was nothing to save."))
    return str(
        _("It was to save before it ended and did not: it goes on from an earlier checkpoint.")
    )


def _failed(reason: Reason, detail: str, record: dict[str, Any]) -> Ending:
    return Ending(
        outcome=Outcome.FAILED,
        reason=reason,
        detail=detail,
        exit_code=record.get("code"),
        signal=record.get("signal"),
    )
