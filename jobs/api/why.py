"""`/jobs/<id>/why`: why it waits, when it is expected to start, and what would help."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Router

from jobs import failures, remedywords, tokens
from jobs.api.answers import answer
from jobs.api.auth import Allowed, grant
from jobs.api.finding import find_job
from jobs.api.whyschemas import WhyDetailOut
from jobs.explain import Change, Explanation, explain
from jobs.models import Job
from jobs.queue import QueueRow, Why
from jobs.serialize import start_json, verdict_json, why_json
from jobs.sight import sight_within

router = Router()


@router.get("/jobs/{job_id}/why", response=WhyDetailOut, auth=Allowed(tokens.READ))
def job_why(request: HttpRequest, job_id: str) -> HttpResponse:
    """Why a job does not run, with numbers; when it is expected to start, why not sooner, and what would help."""
    caller, job = grant(request), find_job(request, job_id)
    found = explain(job, caller.user, sight_within(caller.projects()))
    where = {"job": job.pk, "state": job.state}
    if found is None:
        found = Explanation(why=Why(code="NOT_WAITING"), position=None, start=None)
        return answer(request, where | _detail(found, _not_waiting(job)))
    return answer(request, where | _detail(found, why_json(found.why)))


def _detail(found: Explanation, reason: dict[str, Any]) -> dict[str, Any]:
    return {
        **reason,
        "position": found.position,
        **start_json(found.start),
        "cards": [verdict_json(verdict) for verdict in found.why.verdicts],
        "cards_more": found.why.more_cards,
        "order": [
            {"step": step.name, "sentence": step.sentence, "numbers": step.numbers}
            for step in found.steps
        ],
        "ahead": [_ahead(row) for row in found.ahead],
        "ahead_more": found.ahead_more,
        "what_ifs": [_what_if(change) for change in found.changes],
    }


def _ahead(row: QueueRow) -> dict[str, Any]:
    return {
        "position": row.position,
        "min_memory_bytes": row.needs,
        "gpus": row.gpus,
        "name": row.named or None,
        "owner": row.owner or None,
        "job": row.job.pk if row.job else None,
    }


def _what_if(change: Change) -> dict[str, Any]:
    return asdict(change) | {"sentence": change.sentence}


def _remedy(job: Job) -> str:
    """After a bad end: what to change first, as a command."""
    failure = failures.failure_of(job) if job.epoch and not job.is_active else None
    if failure is None or not (failure.remedies or failure.advice):
        return ""
    if not failure.remedies:
        return failure.advice
    first = failure.remedies[0]
    return f"{remedywords.sentence(first)} {remedywords.command(job, first)}"


def _not_waiting(job: Job) -> dict[str, Any]:
    words = {"job": job, "state": job.state, "detail": job.detail}
    if job.is_active:
        sentence = _("“%(job)s” does not wait: it is %(state)s.") % words
    else:
        sentence = _("“%(job)s” has ended: %(state)s. %(detail)s") % words
    return {
        "code": "NOT_WAITING",
        "class": "wait",
        "sentence": sentence.strip(),
        "remedy": _remedy(job),
        "numbers": {},
    }
