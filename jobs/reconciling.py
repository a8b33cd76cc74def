"""What should run against what does: look at the open attempts, and carry out the core's verdicts.

Also tells the processes what their job's state asks of them. Level-triggered: said in every cycle until it is
observed, so that nothing depends on a message that a crash may have swallowed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from jobs import endings, lifecycle, saves, sitesettings, swapping
from jobs.core import reconcile as core
from jobs.core.ending import GAVE_BACK, Ending
from jobs.core.states import JobState, Reason
from jobs.engines.base import FREEZE, SAVE, STOP, THAW, Engine
from jobs.models import Attempt
from jobs.refs import ref_of
from jobs.rundir import Observation

log = logging.getLogger(__name__)


def reconcile(engine: Engine, hinted: Collection[str] | None, took_over_at: datetime) -> None:
    """Look at the open attempts (of the jobs in `hinted`, and of those to be told something; None: at all)."""
    attempts = {attempt.token: attempt for attempt in _open_attempts(hinted)}
    for attempt in attempts.values():
        swapping.note_return(attempt)
    seen = {token: engine.observe(ref_of(attempt)) for token, attempt in attempts.items()}
    verdicts = core.reconcile(
        [_open_attempt(attempt) for attempt in attempts.values()],
        {token: _observed(observation) for token, observation in seen.items()},
        timezone.now().timestamp(),
        took_over_at=took_over_at.timestamp(),
    )
    _carry_out(engine, verdicts, attempts, seen)
    for token, attempt in attempts.items():
        if seen[token].kind == "alive":
            _control(engine, attempt, seen[token])


def _open_attempts(hinted: Collection[str] | None) -> Iterable[Attempt]:
    attempts = Attempt.objects.open().select_related("job")
    return attempts if hinted is None else attempts.worth_a_look(hinted)


def _open_attempt(attempt: Attempt) -> core.OpenAttempt:
    return core.OpenAttempt(
        token=attempt.token,
        state=JobState(attempt.job.state),
        created_at=attempt.created_at.timestamp(),
        started=attempt.started_at is not None,
    )


def _observed(observation: Observation) -> core.Observed:
    started = observation.started or {}
    return core.Observed(
        proof=core.Proof(observation.kind),
        started_at=started.get("at"),
        containment=started.get("containment", ""),
    )


def _carry_out(
    engine: Engine,
    verdicts: Iterable[core.Verdict],
    attempts: dict[str, Attempt],
    seen: dict[str, Observation],
) -> None:
    """The quick ones together in one transaction; what reads logs before it, what waits for processes after it."""
    quick, slow = _split(verdicts)
    _note_last_saves(attempts[verdict.token] for verdict in (*quick, *slow) if _closes(verdict))
    ends = {
        verdict.token: endings.exited(
            attempts[verdict.token], seen[verdict.token].exit or {}, engine
        )
        for verdict in quick
        if isinstance(verdict, core.Finish)
    }
    with transaction.atomic():
        for verdict in quick:
            _note(verdict, attempts[verdict.token], ends)
    for verdict in slow:
        _end(engine, verdict, attempts[verdict.token])


def _closes(verdict: core.Verdict) -> bool:
    return isinstance(verdict, core.Finish | core.Lose | core.Reap)


def _note_last_saves(ending: Iterable[Attempt]) -> None:
    """What an attempt saved when it was told to give its cards back is not lost, even if nobody has looked since."""
    for attempt in ending:
        if attempt.stop_for in GAVE_BACK:
            saves.note(attempt.job, attempt.number)


def _split(verdicts: Iterable[core.Verdict]) -> tuple[list[core.Verdict], list[core.Verdict]]:
    quick: list[core.Verdict] = []
    slow: list[core.Verdict] = []
    for verdict in verdicts:
        waits = isinstance(verdict, core.Revoke | core.Reap | core.Drain)
        (slow if waits else quick).append(verdict)
    return quick, slow


def _note(verdict: core.Verdict, attempt: Attempt, ends: dict[str, Ending]) -> None:
    match verdict:
        case core.MarkRunning(started_at=at, containment=containment):
            lifecycle.mark_running(attempt, started_at=_instant(at), containment=containment)
        case core.Adopt(started_at=at, containment=containment):
            lifecycle.adopt(attempt, started_at=_instant(at), containment=containment)
        case core.Finish(token=token):
            lifecycle.finish(attempt, ends[token])
        case core.Lose(reason=reason):
            lifecycle.finish(attempt, endings.lost(attempt, reason))


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _end(engine: Engine, verdict: core.Verdict, attempt: Attempt) -> None:
    match verdict:
        case core.Revoke():
            if engine.revoke(ref_of(attempt)):
                lifecycle.finish(attempt, endings.lost(attempt, Reason.NOT_CLAIMED))
        case core.Reap():
            if engine.reap(ref_of(attempt)):
                lifecycle.finish(attempt, endings.lost(attempt, Reason.SUPERVISOR_DIED))
            else:
                _drain(attempt)
        case core.Drain():
            _drain(attempt)


def _drain(attempt: Attempt) -> None:
    detail = _("processes of %(job)s do not end") % {"job": attempt.job}
    if lifecycle.mark_stuck(attempt, detail):
        log.error("Cards of %s are out of service: %s.", attempt, detail)


def _control(engine: Engine, attempt: Attempt, observation: Observation) -> None:
    if swapping.steers(engine, attempt, observation):
        return
    wanted = _wanted(JobState(attempt.job.state), observation, saves_itself=attempt.saves_itself)
    if wanted == SAVE:
        engine.control(ref_of(attempt), SAVE, sitesettings.current().save_grace_seconds)
    elif wanted is not None:
        engine.control(ref_of(attempt), wanted)


def _wanted(state: JobState, observation: Observation, *, saves_itself: bool) -> str | None:
    """What a living attempt must be told; None where it does what its job's state asks."""
    applied = (observation.applied or {}).get("action")
    if state is JobState.SUSPENDING and saves_itself:
        return SAVE
    if state in (JobState.STOPPING, JobState.SUSPENDING):
        return STOP
    if state is JobState.SUSPENDED:
        return FREEZE
    if state is JobState.RUNNING and applied == FREEZE:
        return THAW
    return None
