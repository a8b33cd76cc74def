"""Jobs and what belongs to them as JSON: the one form that API, sockets and command line speak.

Bytes end in `_bytes`, times are RFC 3339 in UTC, `None` means "not known" or "does not apply".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from jobs import bookedspans, failures, idling, queue, why
from jobs.core.placement import Verdict
from jobs.core.scheduling.forecast import Expected
from jobs.core.states import JobState, Priority
from jobs.models import Allocation, Attempt, Job, JobEvent
from jobs.preemptions import Preemption
from jobs.queue import Why
from jobs.remedywords import growth_words
from jobs.starts import Start


def job_json(job: Job, *, base_url: str = "") -> dict[str, Any]:
    """One job, for somebody who may see it; nothing in it is for some of these only."""
    return jobs_json([job], base_url=base_url)[0]


def jobs_json(jobs: Sequence[Job], *, base_url: str = "") -> list[dict[str, Any]]:
    """Jobs with project and owner fetched, in a fixed number of queries, however many they are."""
    bookings = _latest_bookings(jobs)
    is_one = len(jobs) == 1  # the place of one job is worth a longer look
    return [_job(job, bookings[job.pk], base_url, is_one=is_one) for job in jobs]


def why_json(reason: Why) -> dict[str, Any]:
    """Why a job does not run, in short."""
    return {
        "code": str(reason.code),
        "class": reason.who_acts,
        "sentence": reason.sentence,
        "remedy": reason.remedy,
        "numbers": dict(reason.numbers),
    }


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """What one card says to a job."""
    return {
        "gpu": f"gpu{verdict.index}",
        "uuid": verdict.uuid,
        "node": verdict.node,
        "index": verdict.index,
        "name": verdict.name,
        "free_bytes": verdict.free,
        "fits_now": verdict.fits,
        "code": None if verdict.code is None else str(verdict.code),
        "verdict": "" if verdict.code is None else why.card_phrase(verdict.code, verdict.numbers),
    }


def event_json(event: JobEvent, preemption: Preemption | None = None) -> dict[str, Any]:
    """One thing that happened to a job; its event's attempt and actor must have been fetched.

    `preemption` is what the caller may know of it, where the event is one.
    """
    return {
        "id": event.pk,
        "at": instant(event.at),
        "kind": event.kind,
        "old_state": event.old_state or None,
        "new_state": event.new_state,
        "attempt": event.attempt.number if event.attempt else None,
        "actor": event.actor.username if event.actor else None,
        "reason": event.reason or None,
        "detail": _event_detail(event, preemption),
        "preemption": _preemption_json(preemption) if preemption else None,
    }


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """One run of a job's processes."""
    return {
        "number": attempt.number,
        "created_at": instant(attempt.created_at),
        "started_at": instant(attempt.started_at),
        "ended_at": instant(attempt.ended_at),
        "outcome": attempt.outcome or None,
        "reason": attempt.reason or None,
        "detail": attempt.detail or None,
        "exit_code": attempt.exit_code,
        "exit_signal": attempt.exit_signal,
        "lost_gpu_seconds": attempt.lost_seconds,
    }


def start_json(start: Start | None) -> dict[str, Any]:
    """When a waiting job is expected to start; all null where nobody can tell, or where it does not queue."""
    expected = start.expected if start else None
    return {
        "eta": _epoch(expected.at if expected else None),
        "eta_range": _range(expected),
        "eta_unknown": start.sentence if start and start.unknown else None,
    }


def instant(moment: datetime | None) -> str | None:
    """A time as the API writes it."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event_detail(event: JobEvent, preemption: Preemption | None) -> str | None:
    other = preemption.sentence if preemption else bookedspans.sentence(event)
    said = event.detail or other
    grown = growth_words(event.data) if event.kind == "retry" else ""
    return f"{said} {grown}".strip() or None


def _preemption_json(preemption: Preemption) -> dict[str, Any]:
    return {
        "beneficiary": preemption.beneficiary,
        "rule": preemption.rule,
        "lost_gpu_seconds": preemption.lost,
        "expected": preemption.expected,
    }


def _range(expected: Expected | None) -> list[str | None] | None:
    return [_epoch(expected.earliest), _epoch(expected.latest)] if expected else None


def _epoch(seconds: float | None) -> str | None:
    return None if seconds is None else instant(datetime.fromtimestamp(round(seconds), UTC))


def _job(job: Job, bookings: list[Allocation], base_url: str, *, is_one: bool) -> dict[str, Any]:
    reason = queue.why_waiting(job)
    start = start_json(queue.start(job, reason))
    return {
        "id": job.pk,
        "task_id": job.task_id,
        "run": job.run,
        "project": job.project.slug,
        "owner": job.owner.username,
        "priority": Priority(job.priority).name.lower(),
        "state": job.state,
        "state_since": instant(job.state_since),
        "outcome": job.outcome or None,
        "reason": job.reason or None,
        "detail": job.detail or None,
        "why": why_json(reason) if reason else None,
        "position": queue.position(job, exact=is_one) if job.state == JobState.QUEUED else None,
        "eta": start["eta"] or instant(_expected_end(job)),
        "eta_range": start["eta_range"],
        "resources": _resources(job),
        "allocations": [_allocation(booking) for booking in bookings],
        "progress": job.progress or None,
        "idle": _idle(job, bookings),
        "preemptible": job.preemptible,
        "attempts": job.epoch,
        "submitted_at": instant(job.submitted_at),
        "started_at": instant(job.started_at),
        "finished_at": instant(job.finished_at),
        "exit_code": job.exit_code,
        "failure": _failure(job, base_url) if is_one else None,
        "url": base_url + reverse("job", args=[job.pk]),
    }


def _idle(job: Job, bookings: Sequence[Allocation]) -> dict[str, Any] | None:
    attempt = bookings[0].attempt if bookings else None
    found = idling.warning_of(job, attempt)
    if found is None:
        return None
    times = ("since", "warned_at", "suspends_at")
    return found.as_dict() | {name: instant(getattr(found, name)) for name in times}


def _failure(job: Job, base_url: str) -> dict[str, Any] | None:
    found = failures.failure_of(job) if job.epoch else None
    return found.as_dict(base_url) if found else None


def _resources(job: Job) -> dict[str, Any]:
    return {
        "min_memory_bytes": job.min_memory,
        "gpus": job.gpus,
        "gpu_type": job.gpu_type or None,
        "exclusive": job.exclusive,
    }


def _allocation(booking: Allocation) -> dict[str, Any]:
    device = booking.device
    return {
        "key": booking.key,
        "uuid": device.uuid,
        "node": device.node.name,
        "index": device.index,
        "name": device.name,
        "booked_bytes": booking.booked,
        "asked_bytes": booking.was_asked,
        "booked_source": "asked" if booking.booked == booking.was_asked else "measured",
        "peak_bytes": booking.peak,
        "released_at": instant(booking.released_at),
    }


def _expected_end(job: Job) -> datetime | None:
    """When a running job will have made its last step, by its own rate; None where that is not known."""
    left = job.progress.get("eta_s") if job.state == JobState.RUNNING else None
    if not isinstance(left, int | float):
        return None
    seen = job.progress.get("at")
    since = datetime.fromtimestamp(seen, UTC) if isinstance(seen, int | float) else timezone.now()
    return since + timedelta(seconds=left)


def _latest_bookings(jobs: Iterable[Job]) -> dict[str, list[Allocation]]:
    """What each job's latest attempt holds, or held last: one booking a card."""
    found = (
        Allocation.objects.filter(attempt__job__in=[job.pk for job in jobs])
        .filter(attempt__number=F("attempt__job__epoch"))
        .select_related("device__node", "attempt")
        .order_by("device__index", "pk")
    )
    latest = {(booking.attempt.job_id, booking.device_id): booking for booking in found}
    grouped: dict[str, list[Allocation]] = defaultdict(list)
    for (job, _device), booking in latest.items():
        grouped[job].append(booking)
    return grouped
