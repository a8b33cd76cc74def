"""What an attempt has had of its cards, and what of it is done again: computed when it ends, from what is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from gpus.attribution import charge
from jobs import bookedspans
from jobs.core.states import JobState
from jobs.models import Allocation, Attempt, Job

_STANDS_STILL = ("freeze", "suspend", "requeue")
"""Event rows within an attempt from which on it does not compute; the last two where it was swapped out."""


def service(attempt: Attempt, bookings: Iterable[Allocation], ended_at: datetime) -> float:
    """Weighted GPU-seconds: seconds that it ran x the weight of each card x the share of it that was held."""
    if attempt.started_at is None:
        return 0.0
    # What it had before it was swapped out is counted already.
    begun = attempt.resumed_at or attempt.started_at
    changes, had = bookedspans.changes_of(attempt), 0.0
    for booking in bookings:
        changed = changes.get(booking.key, ())
        for span in bookedspans.spans_of(booking.booked, begun, ended_at, changed):
            seconds = max(0.0, (span.ended - max(begun, span.begun)).total_seconds())
            had += seconds * _rate(booking, span.booked)
    return had


def lost(attempt: Attempt, cards: int, ended_at: datetime) -> float:
    """GPU-seconds of work since its last checkpoint, or since its start without one; frozen time is none."""
    if attempt.started_at is None:
        return 0.0
    saved_at = Attempt.objects.filter(pk=attempt.pk).values_list("saved_at", flat=True).first()
    since = max(attempt.started_at, saved_at or attempt.started_at)
    return worked(attempt, since, ended_at) * cards


def worked(attempt: Attempt, since: datetime, until: datetime) -> float:
    """Seconds between these times in which it was not frozen."""
    seconds = (until - since).total_seconds() - _frozen(attempt.job, since, until)
    return max(0.0, seconds)


def suspension(attempt: Attempt) -> dict[str, Any]:
    """What the event row of a finished pause says: whether it was to save and did, and what was lost (GPU-seconds)."""
    return {
        "lost": attempt.lost_seconds,
        "was_to_save": attempt.saves_itself,
        "saved": saved_when_told(attempt),
    }


def saved_when_told(attempt: Attempt) -> bool:
    """Whether a checkpoint of it was complete after it had been told to give its cards back."""
    told = attempt.events.filter(new_state=JobState.SUSPENDING).values_list("at", flat=True).first()
    return told is not None and Attempt.objects.filter(pk=attempt.pk, saved_at__gte=told).exists()


def preemption(attempt: Attempt) -> dict[str, Any]:
    """What the event row of its return to the queue says: for which job, by which rule, and what was lost."""
    told = attempt.events.filter(kind="preempt").values_list("data", flat=True).first() or {}
    return {
        "beneficiary": told.get("beneficiary", ""),
        "rule": told.get("rule", ""),
        "lost": attempt.lost_seconds,
    }


def _rate(booking: Allocation, booked: int) -> float:
    """Weighted GPU-seconds a second: the larger of the shares of memory and of busy time."""
    card = booking.device
    memory = charge(booked, booking.peak) / card.memory_total if card.memory_total else 0.0
    return card.weight * max(memory, booking.sm_share)


def _frozen(job: Job, since: datetime, until: datetime) -> float:
    """Seconds between `since` and `until` in which the job was frozen or swapped out."""
    told = job.events.filter(kind__in=(*_STANDS_STILL, "thaw", "run"), at__gt=since, at__lt=until)
    return _seconds_frozen([(event.kind, event.at) for event in told], until)


def _seconds_frozen(changes: Sequence[tuple[str, datetime]], until: datetime) -> float:
    total, frozen_at = 0.0, None
    for kind, at in changes:
        if kind in _STANDS_STILL:
            frozen_at = frozen_at or at
        elif frozen_at is not None:
            total += (at - frozen_at).total_seconds()
            frozen_at = None
    return total + ((until - frozen_at).total_seconds() if frozen_at is not None else 0.0)
