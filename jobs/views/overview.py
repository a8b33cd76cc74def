"""The first page: cards, queue, and what of mine runs; each also as a part that is fetched again on a hint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from gpus.views import SPANS, USUAL_SPAN
from jobs import queue
from jobs.models import Job, User
from jobs.sight import sight_of
from jobs.views.fleet import fleet_for
from jobs.views.signedin import viewer_of

QUEUE_ROWS = 25  # of the queue on this page; the list of jobs has them all
RUNNING_ROWS = 12


@dataclass(frozen=True, kw_only=True)
class _Counts:
    running: int
    queued: int
    held: int


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """The whole page."""
    viewer = viewer_of(request)
    context = _fleet(viewer) | _queue(viewer) | _running(viewer)
    context |= {"spans": SPANS, "span": USUAL_SPAN}
    return render(request, "overview/overview.html", context)


@require_safe
def fleet_part(request: HttpRequest) -> HttpResponse:
    """The cards and the status line."""
    return render(request, "overview/_fleet.html", _fleet(viewer_of(request)))


@require_safe
def queue_part(request: HttpRequest) -> HttpResponse:
    """The head of the queue."""
    return render(request, "overview/_queue.html", _queue(viewer_of(request)))


@require_safe
def running_part(request: HttpRequest) -> HttpResponse:
    """The viewer's own jobs that hold cards."""
    return render(request, "overview/_running.html", _running(viewer_of(request)))


def _fleet(viewer: User) -> dict[str, Any]:
    counts = _Counts(
        running=Job.objects.with_attempt().count(),
        queued=Job.objects.queued().count(),
        held=Job.objects.waiting().count() - Job.objects.queued().count(),
    )
    return {"fleet": fleet_for(viewer), "counts": counts}


def _queue(viewer: User) -> dict[str, Any]:
    queued = queue.rows(sight_of(viewer), QUEUE_ROWS)
    return {
        "queue_rows": queued.rows,
        "queue_total": len(queued.rows) + queued.more,
        "queue_more": queued.more,
    }


def _running(viewer: User) -> dict[str, Any]:
    mine = Job.objects.with_attempt().filter(owner=viewer).select_related("project")
    return {"running": mine.order_by("started_at")[:RUNNING_ROWS]}
