"""Event rows: what the one writer records of each change, announced after the commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from jobs import events
from jobs.models import Attempt, Job, JobEvent, User


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What an event row says of a change: the verb, who, on which attempt, why, numbers. No actor: the scheduler."""

    kind: str
    actor: User | None = None
    attempt: Attempt | None = None
    reason: str = ""
    detail: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


def record(job: Job, cause: Cause, at: datetime, *, old: str) -> None:
    """Write the row of a change that has just been made; `old` is the state before it."""
    event = JobEvent.objects.create(
        job=job,
        attempt=cause.attempt,
        at=at,
        actor=cause.actor,
        kind=cause.kind,
        old_state=old,
        new_state=job.state,
        reason=cause.reason,
        detail=cause.detail,
        data=dict(cause.data),
    )
    transaction.on_commit(lambda: _announce(event))


def note(
    job: Job,
    attempt: Attempt,
    kind: str,
    data: Mapping[str, object],
    *,
    actor: User | None = None,
    detail: str = "",
) -> None:
    """Record what changes no state, such as a booking; in the caller's transaction, which holds the job's row."""
    cause = Cause(kind=kind, actor=actor, attempt=attempt, detail=detail, data=data)
    record(job, cause, timezone.now(), old=job.state)


def _announce(event: JobEvent) -> None:
    """The dispatcher's own moves do not wake it: it decides after it has made them anyway."""
    events.announce([event.job_id], event.pk)
    if event.actor_id is not None:
        events.wake_dispatcher(event.job_id)
