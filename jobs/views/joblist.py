"""The list of jobs: filters in the address, so that a view of it can be sent to somebody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from gpus.models import Device
from jobs import permissions, queue
from jobs.models import Allocation, Job, User
from jobs.querysets import JobQuerySet
from jobs.starts import Start
from jobs.views.signedin import viewer_of

PAGE = 50

SHOWS: Mapping[str, str | Promise] = {
    "active": _("Active"),
    "waiting": _("Waiting"),
    "holding": _("On a card"),
    "ended": _("Ended"),
    "all": _("All"),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One job of the list, with what its line says beside the job's own fields."""

    job: Job
    position: int | None
    why: queue.Why | None
    start: Start | None
    devices: tuple[Device, ...]


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What the address asks for; unknown values fall back to the default."""

    show: str
    project: str
    mine: bool
    text: str


@require_safe
def job_list(request: HttpRequest) -> HttpResponse:
    """The page, or only its table where htmx asks for it."""
    viewer = viewer_of(request)
    filters = _filters(request)
    page = Paginator(_chosen(viewer, filters), PAGE).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "filters": filters,
        "shows": SHOWS,
        "projects": permissions.projects_visible_to(viewer),
        "page": page,
        "rows": _rows(page.object_list),
        "address": request.get_full_path(),
    }
    template = "jobs/_table.html" if request.headers.get("HX-Request") else "jobs/list.html"
    return render(request, template, context)


def _filters(request: HttpRequest) -> Filters:
    show = request.GET.get("show", "")
    return Filters(
        show=show if show in SHOWS else "active",
        project=request.GET.get("project", ""),
        mine=request.GET.get("mine") == "yes",
        text=request.GET.get("q", "").strip()[:64],
    )


def _chosen(viewer: User, filters: Filters) -> JobQuerySet:
    found = Job.objects.visible_to(viewer)
    if filters.project:
        found = found.filter(project__slug=filters.project)
    if filters.mine:
        found = found.filter(owner=viewer)
    if filters.text:
        found = found.filter(task_id__icontains=filters.text)
    return (
        _shown(found, filters.show).select_related("project", "owner").prefetch_related(_bookings())
    )


def _shown(found: JobQuerySet, show: str) -> JobQuerySet:
    match show:
        case "waiting":
            return found.waiting().in_queue_order()
        case "holding":
            return found.with_attempt().order_by("started_at", "pk")
        case "ended":
            return found.ended().order_by("-finished_at", "pk")
        case "all":
            return found.order_by("-submitted_at", "pk")
    return found.active().order_by("started_at", "-priority", "submitted_at", "pk")


def _bookings() -> Prefetch:
    bookings = Allocation.objects.open().select_related("device").order_by("device__index")
    return Prefetch("attempts__allocations", queryset=bookings, to_attr="open_allocations")


def _rows(jobs: Iterable[Job]) -> list[Row]:
    return [_row(job) for job in jobs]


def _row(job: Job) -> Row:
    reason = queue.why_waiting(job)
    return Row(
        job=job,
        position=queue.position(job),
        why=reason,
        start=queue.start(job, reason),
        devices=tuple(_devices(job)),
    )


def _devices(job: Job) -> Iterable[Device]:
    for attempt in job.attempts.all():
        for booking in attempt.open_allocations:  # type: ignore[attr-defined] # by _bookings
            yield booking.device
