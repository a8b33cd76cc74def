"""Event rows of jobs -> facts that people are told. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jobs.core.states import TERMINAL, JobState
from jobs.models import JobEvent
from jobs.notify.kinds import Fact, Kind

_PAUSES = frozenset({"hold", "pause", "freeze"})
_KINDS = {"run": Kind.STARTED, "preempt": Kind.PREEMPTED, "retry": Kind.RETRIED}


def facts_of(events: Iterable[JobEvent]) -> list[Fact]:
    """What is worth telling of these rows; their jobs, attempts and actors must have been fetched."""
    rows = [(event, kind) for event in events if (kind := _kind(event)) is not None]
    cancelled_by = _cancelled_by([event for event, kind in rows if kind is Kind.ENDED])
    return [_fact(event, kind, cancelled_by.get(event.job_id)) for event, kind in rows]


def _kind(event: JobEvent) -> Kind | None:
    if event.new_state in TERMINAL and event.old_state not in TERMINAL:
        return Kind.ENDED
    if event.kind in _PAUSES:
        # without a person it is how a job comes to rest that somebody had paused before
        return Kind.PAUSED if event.actor_id else None
    return _KINDS.get(event.kind)


def _fact(event: JobEvent, kind: Kind, cancelled: JobEvent | None) -> Fact:
    by = cancelled or event
    return Fact(
        kind=kind,
        key=f"event:{event.pk}",
        at=event.at,
        project=event.job.project_id,
        users=frozenset({event.job.owner_id}),
        job=event.job,
        actor=by.actor_id,
        data=_data(event, kind, by),
    )


def _data(event: JobEvent, kind: Kind, by: JobEvent) -> dict[str, Any]:
    data: dict[str, Any] = {"event": event.pk, "by": by.actor.username if by.actor else ""}
    if kind is Kind.STARTED:
        data["attempt"] = event.attempt.number if event.attempt else 1
    elif kind in {Kind.ENDED, Kind.RETRIED}:
        data |= {"state": event.new_state, "reason": event.reason, "detail": event.detail}
        data |= {"loss": event.job.progress.get("loss"), "seconds": _seconds(event)}
    return data


def _seconds(event: JobEvent) -> float | None:
    """How long the attempt ran."""
    begun = event.attempt.started_at if event.attempt else None
    return (event.at - begun).total_seconds() if begun else None


def _cancelled_by(ends: Sequence[JobEvent]) -> dict[str, JobEvent]:
    """Who asked for the end of the jobs that were cancelled while they ran, by job."""
    ids = [event.job_id for event in ends if event.new_state == JobState.CANCELLED]
    asked = JobEvent.objects.filter(job__in=ids, kind="cancel").select_related("actor")
    return {event.job_id: event for event in asked.order_by("pk")}
