"""Priorities on the pages: a lead sets one and says why; a member asks for one, and a lead answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from jobs import permissions, priorityrequests, queue
from jobs.core.states import Priority
from jobs.models import Job, PriorityRequest, Project, User
from jobs.refusals import Refused
from jobs.views.projects import project_of
from jobs.views.signedin import job_for, viewer_of

ANSWERED_SHOWN = 30


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What one viewer may do about a job's priority."""

    standing: PriorityRequest | None
    may_set: bool
    may_ask: bool
    may_answer: bool
    may_withdraw: bool
    choices: tuple[tuple[str, str], ...]  # word in the address and for people
    lasts: tuple[tuple[int, str | Promise], ...] = priorityrequests.LASTS

    @property
    def has_content(self) -> bool:
        """Whether there is anything to show."""
        return self.may_set or self.may_ask or self.standing is not None


def panel(job: Job, viewer: User) -> Panel:
    """The panel of the job's page."""
    standing = priorityrequests.standing_of(job)
    manages = permissions.can_manage(viewer, job.project)
    is_open = standing is not None and standing.answer == priorityrequests.Answer.OPEN
    least = -1 if manages else job.priority
    return Panel(
        standing=standing,
        may_set=manages and job.is_active,
        may_ask=standing is None and priorityrequests.may_ask(viewer, job),
        may_answer=is_open and manages,
        may_withdraw=is_open and standing is not None and standing.asked_by_id == viewer.pk,
        choices=tuple(
            (each.name.lower(), str(Job.PriorityLabel(each.value).label))
            for each in reversed(Priority)
            if each.value > least
        ),
    )


@require_safe
@never_cache
def requests(request: HttpRequest) -> HttpResponse:
    """The requests that the reader may answer, and what became of earlier ones."""
    viewer = viewer_of(request)
    context: dict[str, Any] = {
        "open": priorityrequests.to_answer(viewer, permissions.projects_reported_to(viewer)),
        "answered": priorityrequests.answered_for(viewer)[:ANSWERED_SHOWN],
    }
    return render(request, "projects/requests.html", context)


@require_POST
def ask(request: HttpRequest, job_id: str) -> HttpResponse:
    """Ask that one's job goes ahead."""
    job, viewer = job_for(request, job_id), viewer_of(request)
    wanted, days = request.POST.get("priority", "").upper(), request.POST.get("days", "")
    if wanted not in Priority.__members__ or days not in {
        str(each) for each, _words in priorityrequests.LASTS
    }:
        return HttpResponseBadRequest("priority: low, medium or high; days: 1, 3, 7 or 14")

    def deed() -> str:
        priorityrequests.ask(
            job,
            viewer,
            priority=Priority[wanted],
            reason=request.POST.get("reason", ""),
            lasts=timedelta(days=int(days)),
        )
        return _("Asked. A lead of the project or an admin decides.")

    return _done(request, deed, job)


@require_POST
def ask_for_project(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask that one's project gets more weight for a time."""
    viewer = viewer_of(request)
    project = project_of(viewer, slug)
    days, text = request.POST.get("days", ""), request.POST.get("weight", "")
    if days not in {str(each) for each, _words in priorityrequests.LASTS}:
        return HttpResponseBadRequest("days: 1, 3, 7 or 14")

    def deed() -> str:
        priorityrequests.ask_for_project(
            project,
            viewer,
            weight=_number(text),
            reason=request.POST.get("reason", ""),
            lasts=timedelta(days=int(days)),
        )
        return _("Asked. An admin decides.")

    return _done(request, deed, project)


def _number(text: str) -> float:
    """What was typed as a weight; a text that is no number is a weight that nobody can have."""
    try:
        return float(text)
    except ValueError:
        return math.nan


@require_POST
def answer(request: HttpRequest, request_id: int) -> HttpResponse:
    """Approve, decline or withdraw a request."""
    viewer = viewer_of(request)
    rows = PriorityRequest.objects.select_related("project", "job__project", "job__owner")
    seen = permissions.projects_visible_to(viewer)
    asked = get_object_or_404(rows, pk=request_id, project__in=seen)
    note = request.POST.get("note", "")

    def deed() -> str:
        match request.POST.get("do"):
            case "approve":
                priorityrequests.approve(asked, viewer, note)
                return _("Approved: “%(what)s” goes ahead.") % {"what": asked.subject}
            case "withdraw":
                priorityrequests.withdraw(asked, viewer)
                return _("The request is withdrawn.")
        priorityrequests.decline(asked, viewer, note)
        return _("Declined: “%(what)s” stays where it is.") % {"what": asked.subject}

    return _done(request, deed, asked.job or asked.project)


def _done(request: HttpRequest, deed: Callable[[], str], what: Job | Project) -> HttpResponse:
    try:
        messages.success(request, deed())
        queue.forget()
    except Refused as refused:
        messages.error(request, f"{refused.detail} {refused.hint}")
    back = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}):
        return redirect(back)
    if isinstance(what, Project):
        return redirect("project", what.slug)
    return redirect("job", what.pk)
