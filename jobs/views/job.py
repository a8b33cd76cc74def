"""The page of one job, its live part, and the buttons on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.contrib import messages
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from jobs import actions, idling, preemptions, queue
from jobs.core.states import JobState, Priority
from jobs.explain import explain
from jobs.failures import failure_of
from jobs.models import Allocation, Job, JobEvent, User
from jobs.preemptions import Preemption
from jobs.refusals import Refused
from jobs.sight import sight_of
from jobs.views import goingahead, story
from jobs.views.deeds import deeds_for, held_words
from jobs.views.joblog import last_lines
from jobs.views.signedin import job_for, viewer_of
from jobs.views.tasktext import task_text


@require_safe
@never_cache
def job_page(request: HttpRequest, job_id: str) -> HttpResponse:
    """Everything about one job."""
    job = job_for(request, job_id)
    viewer = viewer_of(request)
    context = _live(job, viewer) | {
        "goes_ahead": goingahead.panel(job, viewer),
        "spec": task_text(job.spec),
        "datasets": job.datasets.all(),
    }
    return render(request, "jobs/job.html", context)


@require_safe
@never_cache
def job_part(request: HttpRequest, job_id: str) -> HttpResponse:
    """What changes with the job's state: head, reasons, progress, time line, attempts."""
    job = job_for(request, job_id)
    return render(request, "jobs/_live.html", _live(job, viewer_of(request)) | {"swap_aside": True})


@require_POST
def pause(request: HttpRequest, job_id: str) -> HttpResponse:
    """Hold a queued job; with `keep_memory`, freeze a running one."""
    keep = request.POST.get("keep_memory") == "yes"
    return _do(request, job_id, lambda job, user: actions.pause(job, user, keep_memory=keep))


@require_POST
def resume(request: HttpRequest, job_id: str) -> HttpResponse:
    """Release a held job, or let a suspended one go on."""
    return _do(request, job_id, actions.resume)


@require_POST
def keep(request: HttpRequest, job_id: str) -> HttpResponse:
    """Let a running job do nothing for the usual time without being suspended for it."""
    return _do(request, job_id, lambda job, user: actions.keep(job, user, idling.USUAL_KEEP))


@require_POST
def cancel(request: HttpRequest, job_id: str) -> HttpResponse:
    """End a job for good."""
    return _do(request, job_id, actions.cancel)


@require_POST
def priority(request: HttpRequest, job_id: str) -> HttpResponse:
    """Give a job another priority."""
    job_for(request, job_id)  # first of all: what one may not see is not there
    wanted = request.POST.get("priority", "").upper()
    if wanted not in Priority.__members__:
        return HttpResponseBadRequest("priority: low, medium or high")
    reason = request.POST.get("reason", "").strip()
    return _do(
        request,
        job_id,
        lambda job, user: actions.set_priority(job, user, Priority[wanted], reason=reason),
    )


def _do(request: HttpRequest, job_id: str, deed: Callable[[Job, User], Job]) -> HttpResponse:
    job, viewer, refusal = job_for(request, job_id), viewer_of(request), None
    try:
        job = deed(job, viewer)
    except Refused as refused:
        refusal = refused
    queue.forget()
    if request.headers.get("HX-Request"):
        context = _live(job, viewer) | {"swap_aside": True, "refusal": refusal}
        return render(
            request, "jobs/_live.html", context, status=refusal.status if refusal else 200
        )
    if refusal:
        messages.error(request, f"{refusal.detail} {refusal.hint}")
    return redirect("job", job.pk)


def _live(job: Job, viewer: User) -> dict[str, Any]:
    attempts = list(job.attempts.select_related("node").prefetch_related(_bookings()))
    events = list(job.events.select_related("actor", "attempt"))
    told = preemptions.told(events, Job.objects.visible_to(viewer))
    failure = failure_of(job, attempts)
    return {
        "job": job,
        "state": JobState(job.state),
        "deeds": deeds_for(job, viewer),
        "held": held_words(job) if any(each.ended_at is None for each in attempts) else "",
        "told": explain(job, viewer, sight_of(viewer)),
        "steps": story.steps(events, told),
        "preempted": _preempted(job, events, told),
        "runs": story.runs(attempts),
        "idle": idling.warning_of(job, job.open_attempt),
        "failure": failure,
        "failure_text": "\n".join(last_lines(job, failure.attempt.number)) if failure else "",
    }


def _preempted(
    job: Job, events: list[JobEvent], told: Mapping[int, Preemption]
) -> Preemption | None:
    """The preemption that explains where the job is now: it makes room, or waits because it did."""
    if job.state not in {JobState.SUSPENDING, JobState.QUEUED}:
        return None
    moves = [event for event in events if event.old_state != event.new_state]
    return told.get(moves[-1].pk) if moves else None


def _bookings() -> Prefetch:
    return Prefetch("allocations", queryset=Allocation.objects.select_related("device"))
