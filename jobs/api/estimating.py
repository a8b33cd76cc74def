"""`/estimate`: the memory that a training would need, without a job."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema

from jobs import memory, memorywords, queue, queuestate, snapshots, tokens
from jobs.api.answers import answer
from jobs.api.auth import Allowed, grant
from jobs.api.estimateschemas import EstimateOut
from jobs.api.finding import project_to_use
from jobs.api.schemas import ProblemOut, VerdictOut
from jobs.api.taskinput import invalid_task, task_in
from jobs.core.estimate.answer import Estimate
from jobs.core.estimate.problems import CannotEstimate
from jobs.core.jobspec import JobSpec, checked_spec
from jobs.core.placement import verdicts
from jobs.core.problems import TaskFileError
from jobs.core.taskfile import parse_llamafactory_config
from jobs.models import Project, User
from jobs.projects import project_for
from jobs.refusals import Refused
from jobs.serialize import verdict_json
from jobs.submission import with_named_config

router = Router()

_OF_A_TASK = frozenset({"task_id", "command", "llamafactory", "resources"})

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A LLaMA-Factory training config, or a task file.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/yaml": {"schema": {"type": "string"}},
        },
    }
}


class Wanted(Schema):
    """What a bare training config does not say."""

    project: str | None = Field(None, description="whose earlier runs are learned from")
    gpus: Annotated[int, Query(ge=1, le=1024)] = 1
    gpu_type: str | None = None


class EstimateAnswerOut(EstimateOut):
    """An estimate, and which cards have room for it."""

    fits_now: list[str] = Field(description="the cards that would take it now, such as gpu0")
    cards: list[VerdictOut]
    cards_more: int = Field(description="cards of a large fleet that are left out")


@router.post(
    "/estimate",
    response={200: EstimateAnswerOut, 422: ProblemOut},
    auth=Allowed(tokens.SUBMIT),
    openapi_extra=BODY,
)
def estimate(request: HttpRequest, wanted: Query[Wanted]) -> HttpResponse:
    """The memory that a training config, or a task, will need on each card; nothing is stored.

    From measured runs of the same kind where there are some, else by formula. `gpus` and `gpu_type` go with a bare
    config; a task says them itself.
    """
    caller, spec = grant(request), _spec_in(request, wanted)
    project = project_for(caller.user, project_to_use(caller, wanted.project or spec.project))
    spec = with_named_config(spec, project).model_copy(update={"project": project.slug})
    try:
        found = memory.estimate_for(spec)
    except CannotEstimate as error:
        raise _unknown(error) from error
    return answer(request, _answer(spec, found, caller.user, project))


def _answer(spec: JobSpec, found: Estimate, user: User, project: Project) -> dict[str, Any]:
    view = snapshots.spec_view(spec, user, project)
    booked = memory.booking(found, view, snapshots.device_views())
    needed = spec.resources.min_memory or booked
    view = snapshots.spec_view(spec.with_min_memory(needed), user, project)
    cards = verdicts(view, queuestate.current().head().snapshot)
    shown = queue.nearest(cards)
    return {
        **memorywords.estimate_json(found),
        "min_memory_bytes": booked,
        "fits_now": [f"gpu{each.index}" for each in cards if each.fits],
        "cards": [verdict_json(each) for each in shown],
        "cards_more": len(cards) - len(shown),
    }


def _spec_in(request: HttpRequest, wanted: Wanted) -> JobSpec:
    """The task in the request, or one made of the training config there."""
    config = _bare_config(request)
    if config is None:
        return task_in(request)
    resources = {"gpus": str(wanted.gpus)}
    if wanted.gpu_type:
        resources["gpu_type"] = wanted.gpu_type
    try:
        return checked_spec(
            {"task_id": "estimate", "llamafactory": config, "resources": resources}, {}
        )
    except TaskFileError as error:
        raise invalid_task(error) from error


def _bare_config(request: HttpRequest) -> dict[str, Any] | None:
    if (request.content_type or "").startswith("multipart/"):
        return None
    try:
        found = parse_llamafactory_config(request.body)
    except TaskFileError:
        return None  # what is wrong is said of the task file
    return None if _OF_A_TASK & found.keys() else found


def _unknown(error: CannotEstimate) -> Refused:
    return Refused(
        code="estimate_unknown",
        title=_("The memory cannot be estimated"),
        detail=f"{error.field}: {error.message}.",
        hint=error.hint[:1].upper() + error.hint[1:] + ".",
    )
