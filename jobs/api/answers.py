"""Answers: JSON with an ETag, addresses as the caller sees the service, lists page by page."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.translation import gettext as _

from jobs.api.problems import Invalid
from jobs.models import Job

LARGEST_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some rows, and where the next ones begin; None at the end."""

    items: list[Any]
    next_cursor: str | None


def answer(
    request: HttpRequest,
    data: Any,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """`data` as JSON; 304 where the caller has just this already."""
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if request.method == "GET" and _has_it(request, tag):
        response: HttpResponse = HttpResponseNotModified()
    else:
        response = HttpResponse(body, status=status, content_type="application/json")
    response["ETag"] = tag
    response["Cache-Control"] = "private, no-cache"
    for name, value in (headers or {}).items():
        response[name] = value
    return response


def base_url(request: HttpRequest) -> str:
    """How callers name this service, without a slash at the end."""
    public: str = settings.COOP_PUBLIC_URL
    return (public or f"{request.scheme}://{request.get_host()}").rstrip("/")


def job_page(jobs: QuerySet[Job], limit: int, cursor: str | None) -> Page:
    """One page of jobs, newest first; stable while jobs come and go."""
    if cursor:
        at, job_id = _read_cursor(cursor)
        jobs = jobs.filter(Q(submitted_at__lt=at) | Q(submitted_at=at, pk__lt=job_id))
    found = list(jobs.order_by("-submitted_at", "-pk")[: limit + 1])
    rows = found[:limit]
    more = len(found) > limit
    return Page(items=rows, next_cursor=_cursor(rows[-1]) if more else None)


def _has_it(request: HttpRequest, tag: str) -> bool:
    wanted = request.headers.get("If-None-Match", "")
    return tag in {part.strip().removeprefix("W/") for part in wanted.split(",")}


def _cursor(job: Job) -> str:
    text = f"{job.submitted_at.isoformat()} {job.pk}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[datetime, str]:
    try:
        plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        at, job_id = plain.split(" ")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError(at)
    except (ValueError, binascii.Error) as error:
        raise Invalid(
            _("The cursor %(cursor)r is none of ours.") % {"cursor": text[:80]},
            _("Take next_cursor from the page before, or leave it out to begin."),
        ) from error
    return moment, job_id
