"""Handing in a job by HTTP: what `/submit`, `POST /jobs`, a dry run and a clone have in common."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from jobs import queue, submission
from jobs.api.answers import answer, base_url
from jobs.api.auth import grant
from jobs.api.finding import project_to_use
from jobs.api.taskinput import invalid_task, task_in
from jobs.core.jobspec import JobSpec, checked_spec
from jobs.core.problems import TaskFileError
from jobs.core.taskfile import parse_llamafactory_config
from jobs.dryrun import dry_run
from jobs.idempotency import Answer, keyed, once
from jobs.memorywords import estimate_json
from jobs.models import Job
from jobs.refusals import Warned
from jobs.serialize import job_json, start_json, verdict_json, why_json
from jobs.sight import sight_within
from jobs.submission import Prepared, Submission

COMPUTED_AT_ONCE = 2000
"""Queued jobs up to which each submit has the queue computed afresh. A longer one is computed once a second, and a
new job's position is null until then: handing in must stay quick."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How to hand in what a request carries."""

    door: str
    project: str | None = None
    keep_impossible: bool = False


def submit(request: HttpRequest, wanted: Wanted) -> HttpResponse:
    """Hand in the request's task; once, where it carries an `Idempotency-Key`."""
    caller, spec = grant(request), task_in(request)

    def do() -> Answer:
        done = submission.submit(
            spec,
            caller.user,
            project=project_to_use(caller, wanted.project or spec.project),
            door=wanted.door,
            keep_impossible=wanted.keep_impossible,
        )
        return _answer_to(request, done)

    key = request.headers.get("Idempotency-Key")
    if key is None:
        return _respond(request, *do())
    says = (request.get_full_path().encode(), spec.content_hash().encode())
    return _respond(request, *once(keyed(caller.user, key, *says), do))


def clone(request: HttpRequest, job: Job, changes: Mapping[str, str]) -> HttpResponse:
    """Hand in a copy of `job` with the fields that `changes` names set anew."""
    caller, spec = grant(request), _changed(job, changes)
    project = project_to_use(caller, spec.project or job.project.slug)
    done = submission.submit(spec, caller.user, project=project, cloned_from=job)
    return _respond(request, *_answer_to(request, done))


def plan(request: HttpRequest, wanted: Wanted) -> dict[str, Any]:
    """What would happen to the request's task now, by the rules that the dispatcher follows."""
    caller, spec = grant(request), task_in(request)
    prepared = submission.prepare(
        spec,
        caller.user,
        project=project_to_use(caller, wanted.project or spec.project),
        keep_impossible=wanted.keep_impossible,
    )
    found = dry_run(prepared, caller.user, sight_within(caller.projects()))
    active = _active(prepared)
    return {
        **_asked(prepared),
        "starts_now": found.starts_now,
        "position": found.position,
        "why": why_json(found.why) if found.why else None,
        **start_json(found.start),
        "cards": [verdict_json(verdict) for verdict in found.verdicts],
        "cards_more": found.more_cards,
        "warnings": [*map(_warning, prepared.warnings), *_conflicts(prepared, active)],
        "estimate": _estimate(prepared, prepared.spec.resources.min_memory),
        "active": {"id": active.pk, "run": active.run, "state": active.state} if active else None,
    }


def _answer_to(request: HttpRequest, done: Submission) -> Answer:
    if done.created and Job.objects.queued().count() <= COMPUTED_AT_ONCE:
        queue.forget()  # so that the answer can tell the new job's position
    body = job_json(done.job, base_url=base_url(request))
    warnings = [_warning(each) for each in done.warnings]
    told = {"warnings": warnings, "estimate": _estimate(done, done.job.min_memory)}
    return 201 if done.created else 200, {**body, **told}


def _respond(request: HttpRequest, status: int, body: dict[str, Any]) -> HttpResponse:
    where = f"{base_url(request)}/api/v1/jobs/{body['id']}"
    return answer(request, body, status=status, headers={"Location": where})


def _changed(job: Job, changes: Mapping[str, str]) -> JobSpec:
    """The job's own task with some fields set anew, checked as if it were handed in."""
    fields: dict[str, Any] = deepcopy(job.spec)
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        place = fields
        for parent in parents:
            if not isinstance(place.get(parent), dict):
                place[parent] = {}
            place = place[parent]
        place[last] = _typed(value) if parents[:1] == ["llamafactory"] else value
    try:
        return checked_spec(fields, {})
    except TaskFileError as error:
        raise invalid_task(error) from error


def _typed(value: str) -> Any:
    """A value inside a training config is what YAML says it is: `5e-5` is a number there."""
    try:
        return parse_llamafactory_config(f"value: {value}")["value"]
    except TaskFileError as error:
        raise invalid_task(error) from error


def _asked(prepared: Prepared) -> dict[str, Any]:
    resources = prepared.spec.resources
    return {
        "task_id": prepared.spec.task_id,
        "project": prepared.project.slug,
        "priority": prepared.spec.priority.name.lower(),
        "resources": {
            "min_memory_bytes": resources.min_memory,
            "gpus": resources.gpus * resources.nodes,
            "gpu_type": resources.gpu_type,
            "exclusive": resources.exclusive,
        },
    }


def _active(prepared: Prepared) -> Job | None:
    jobs = Job.objects.active().filter(project=prepared.project)
    found: Job | None = jobs.filter(task_id=prepared.spec.task_id).first()
    return found


def _conflicts(prepared: Prepared, active: Job | None) -> list[dict[str, str]]:
    """A submit would be refused for this; a plan says so and still shows the rest."""
    if active is None or active.content_hash == prepared.content_hash:
        return []
    detail = _(
        "“%(job)s” is %(state)s with other content: this task_id is refused until it has ended."
    )
    return [{"code": "task_id_in_use", "detail": detail % {"job": active, "state": active.state}}]


def _estimate(told: Prepared | Submission, booked: int | None) -> dict[str, Any] | None:
    if told.estimate is None:
        return None
    return estimate_json(told.estimate, booked if told.is_estimated else None)


def _warning(warned: Warned) -> dict[str, str]:
    return {"code": warned.code, "detail": warned.detail}
