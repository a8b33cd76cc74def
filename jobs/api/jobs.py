"""`/jobs`: list, hand in, look at, change."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema

from jobs import actions, idling, suspension, tokens
from jobs.api import submitting
from jobs.api.answers import LARGEST_PAGE, answer, base_url, job_page
from jobs.api.auth import Allowed, grant
from jobs.api.finding import find_job
from jobs.api.problems import Invalid
from jobs.api.schemas import (
    CloneIn,
    JobChangeIn,
    JobOut,
    JobsOut,
    KeepIn,
    PauseCostOut,
    PausedOut,
    PauseIn,
    ProblemOut,
    SubmittedOut,
)
from jobs.core.problems import shortened
from jobs.core.states import ACTIVE, TERMINAL, JobState, Priority
from jobs.core.units import UnitError, parse_duration
from jobs.models import Job
from jobs.serialize import job_json, jobs_json

router = Router()

LOOK_EVERY_S = 0.25  # pause between two looks of a long poll
LONGEST_WAIT_S = 60

STATE_GROUPS: dict[str, frozenset[JobState]] = {"active": ACTIVE, "ended": TERMINAL}

TASK_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A task file; docs/cli.md explains its fields.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/yaml": {"schema": {"type": "string"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["task"],
                    "properties": {
                        "task": {"type": "string", "format": "binary"},
                        "config": {
                            "type": "string",
                            "format": "binary",
                            "description": "a LLaMA-Factory YAML for the field llamafactory",
                        },
                    },
                }
            },
        },
    }
}


class JobFilter(Schema):
    """Which jobs, and which page of them."""

    state: Annotated[
        list[str], Query(description=f"one or more of {', '.join(JobState)}, active, ended")
    ] = []
    project: str | None = None
    task_id: str | None = None
    run: int | None = None
    mine: bool = False
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 50
    cursor: str | None = None


@router.get("/jobs", response=JobsOut, auth=Allowed(tokens.READ))
def list_jobs(request: HttpRequest, wanted: Query[JobFilter]) -> HttpResponse:
    """Jobs that you may see, newest first. `state` may be repeated; `active` and `ended` are groups."""
    page = job_page(_chosen(request, wanted), wanted.limit, wanted.cursor)
    items = jobs_json(page.items, base_url=base_url(request))
    return answer(request, {"items": items, "next_cursor": page.next_cursor})


@router.post(
    "/jobs",
    response={200: SubmittedOut, 201: SubmittedOut, 409: ProblemOut, 422: ProblemOut},
    auth=Allowed(tokens.SUBMIT),
    openapi_extra=TASK_BODY,
)
def submit_job(
    request: HttpRequest,
    project: str | None = None,
    dry_run: bool = False,
    keep_impossible: bool = False,
) -> HttpResponse:
    """Hand in a job: 201 for a new one, 200 for one that is active with the same content.

    Other content under an active task_id is refused with 409. With the header `Idempotency-Key` a repeat
    within 24 hours gets the first answer. `dry_run` only says what would happen; see `PlanOut`.
    """
    wanted = submitting.Wanted(project=project, keep_impossible=keep_impossible, door="api")
    if dry_run:
        return answer(request, submitting.plan(request, wanted))
    return submitting.submit(request, wanted)


@router.get("/jobs/{job_id}", response=JobOut, auth=Allowed(tokens.READ))
async def show_job(
    request: HttpRequest,
    job_id: str,
    wait: Annotated[int, Query(ge=0, le=LONGEST_WAIT_S)] = 0,
    state: JobState | None = None,
) -> HttpResponse:
    """One job. With `wait` (seconds) the answer comes as soon as its state is another than `state`.

    Without `state`, another than the one it has when the request comes. A job that has ended is answered at once.
    """
    deadline = time.monotonic() + wait
    seen = state or await _state(request, job_id)
    while (current := await _state(request, job_id)) == seen and current not in TERMINAL:
        if time.monotonic() >= deadline:
            break
        await asyncio.sleep(LOOK_EVERY_S)
    return await sync_to_async(_one)(request, job_id)


@router.patch("/jobs/{job_id}", response=JobOut, auth=Allowed(tokens.CONTROL))
def change_job(request: HttpRequest, job_id: str, wanted: JobChangeIn) -> HttpResponse:
    """Change a job's priority; for leads of its project and admins."""
    job = find_job(request, job_id)
    priority = Priority[wanted.priority.upper()]
    actions.set_priority(job, grant(request).user, priority, reason=wanted.reason)
    return _one(request, job_id)


@router.get("/jobs/{job_id}/pause-cost", response=PauseCostOut, auth=Allowed(tokens.READ))
def cost_of_pause(request: HttpRequest, job_id: str) -> HttpResponse:
    """What a pause without `keep_memory` would free, how long it takes, and what would be done again."""
    return answer(request, suspension.cost_of_pause(find_job(request, job_id)).as_dict())


@router.post(
    "/jobs/{job_id}/pause", response={200: PausedOut, 409: ProblemOut}, auth=Allowed(tokens.CONTROL)
)
def pause_job(request: HttpRequest, job_id: str, wanted: PauseIn | None = None) -> HttpResponse:
    """Hold a queued job; have a running one give its cards back, or with `keep_memory` freeze it where it stands.

    Nothing is asked: `pause` in the answer says what it means, such as that a command will begin anew. Ask
    `/pause-cost` before.
    """
    keep_memory = wanted is not None and wanted.keep_memory
    job = find_job(request, job_id)
    means = suspension.frozen(job) if keep_memory else suspension.cost_of_pause(job)
    job = actions.pause(job, grant(request).user, keep_memory=keep_memory)
    return answer(request, job_json(job, base_url=base_url(request)) | {"pause": means.as_dict()})


@router.post(
    "/jobs/{job_id}/resume", response={200: JobOut, 409: ProblemOut}, auth=Allowed(tokens.CONTROL)
)
def resume_job(request: HttpRequest, job_id: str) -> HttpResponse:
    """Let a held or suspended job queue again, at its old place, or a frozen one go on."""
    job = actions.resume(find_job(request, job_id), grant(request).user)
    return answer(request, job_json(job, base_url=base_url(request)))


@router.post(
    "/jobs/{job_id}/keep",
    response={200: JobOut, 409: ProblemOut, 422: ProblemOut},
    auth=Allowed(tokens.CONTROL),
)
def keep_job(request: HttpRequest, job_id: str, wanted: KeepIn | None = None) -> HttpResponse:
    """Let a running job do nothing for so long: it is neither warned nor suspended for it until then."""
    seconds = _seconds(wanted.duration) if wanted else idling.USUAL_KEEP
    job = actions.keep(find_job(request, job_id), grant(request).user, seconds)
    return answer(request, job_json(job, base_url=base_url(request)))


@router.post(
    "/jobs/{job_id}/cancel", response={200: JobOut, 409: ProblemOut}, auth=Allowed(tokens.CONTROL)
)
def cancel_job(request: HttpRequest, job_id: str) -> HttpResponse:
    """End a job for good."""
    job = actions.cancel(find_job(request, job_id), grant(request).user)
    return answer(request, job_json(job, base_url=base_url(request)))


@router.post(
    "/jobs/{job_id}/clone",
    response={200: SubmittedOut, 201: SubmittedOut, 409: ProblemOut, 422: ProblemOut},
    auth=Allowed(tokens.SUBMIT),
)
def clone_job(request: HttpRequest, job_id: str, wanted: CloneIn | None = None) -> HttpResponse:
    """Hand in a copy, with some fields changed. While the job is active, the copy needs a `task_id` of its own."""
    return submitting.clone(request, find_job(request, job_id), wanted.changes if wanted else {})


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except UnitError as error:
        raise Invalid(f"for: {error.message}.", f"{error.hint}.", status=422) from error


def _chosen(request: HttpRequest, wanted: JobFilter) -> QuerySet[Job]:
    caller = grant(request)
    jobs = caller.jobs().select_related("project", "owner")
    if wanted.state:
        jobs = jobs.filter(state__in=_states(wanted.state))
    exact = {"project__slug": wanted.project, "task_id": wanted.task_id, "run": wanted.run}
    jobs = jobs.filter(**{name: value for name, value in exact.items() if value is not None})
    return jobs.filter(owner=caller.user) if wanted.mine else jobs


def _states(wanted: list[str]) -> set[JobState]:
    return {state for each in wanted for state in _state_group(each)}


def _state_group(name: str) -> frozenset[JobState]:
    """One state, in upper or lower case, or the states of a named group."""
    if name.lower() in STATE_GROUPS:
        return STATE_GROUPS[name.lower()]
    if name.upper() in JobState.__members__:
        return frozenset({JobState(name.upper())})
    raise Invalid(
        _("There is no state %(name)s.") % {"name": shortened(name)},
        _("Allowed: %(states)s, active, ended.") % {"states": ", ".join(JobState)},
    )


@sync_to_async
def _state(request: HttpRequest, job_id: str) -> str:
    return find_job(request, job_id).state


def _one(request: HttpRequest, job_id: str) -> HttpResponse:
    job: Job = find_job(request, job_id)
    return answer(request, job_json(job, base_url=base_url(request)))
