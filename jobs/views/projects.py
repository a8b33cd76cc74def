"""Projects: what they hold against what they may, and who belongs to them in which role."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db.models import Count, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from jobs import permissions, priorityrequests, projects
from jobs.forms import MemberForm
from jobs.models import Allocation, Job, Membership, Project, Quota, User
from jobs.refusals import Refused
from jobs.views.signedin import viewer_of

JOBS_SHOWN = 15


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One thing that a quota limits: what is held, guaranteed and allowed. None: no guarantee, no limit."""

    name: str
    held: float
    guarantee: float | None
    limit: float | None
    is_memory: bool = False

    @property
    def scale(self) -> float:
        """The right end of its bar."""
        return max(self.held, self.limit or 0, self.guarantee or 0, 1)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A project in the list."""

    project: Project
    figures: tuple[Figure, ...]
    members: int
    running: int
    waiting: int
    role: str
    weight_share: float  # its part of all weights


@require_safe
def project_list(request: HttpRequest) -> HttpResponse:
    """The projects that the reader belongs to."""
    viewer = viewer_of(request)
    weights = sum(Project.objects.values_list("weight", flat=True)) or 1
    summaries = [
        _summary(each, viewer, weights) for each in permissions.projects_visible_to(viewer)
    ]
    return render(request, "projects/list.html", {"summaries": summaries})


@require_safe
@never_cache
def project_page(request: HttpRequest, slug: str) -> HttpResponse:
    """One project."""
    viewer = viewer_of(request)
    return render(request, "projects/project.html", _context(project_of(viewer, slug), viewer))


@require_POST
def add_member(request: HttpRequest, slug: str) -> HttpResponse:
    """Add a person, or change the role of one."""
    viewer = viewer_of(request)
    project = project_of(viewer, slug)
    form = MemberForm(request.POST)
    if not form.is_valid():
        context = _context(project, viewer, form)
        return render(request, "projects/project.html", context, status=422)
    user, role = form.cleaned_data["username"], form.cleaned_data["role"]
    words = _("%(name)s is now %(role)s of %(project)s.") % _words(user, role, project)
    return _changed(request, project, {user: role}, words)


@require_POST
def remove_member(request: HttpRequest, slug: str, user_id: int) -> HttpResponse:
    """Take a person out of the project; the jobs stay and go on."""
    project = project_of(viewer_of(request), slug)
    membership = project.memberships.filter(user_id=user_id).select_related("user").first()
    if membership is None:
        return redirect("project", project.slug)
    words = _("%(name)s does not belong to %(project)s any more; running jobs go on.")
    told = words % {"name": membership.user, "project": project.slug}
    return _changed(request, project, {membership.user: None}, told)


def _changed(
    request: HttpRequest, project: Project, roles: Mapping[User, str | None], words: str
) -> HttpResponse:
    try:
        projects.change_members(project, roles, viewer_of(request))
        messages.success(request, words)
    except Refused as refused:
        messages.error(request, f"{refused.detail} {refused.hint}")
    return redirect("project", project.slug)


def _context(project: Project, viewer: User, form: MemberForm | None = None) -> dict[str, Any]:
    jobs = Job.objects.visible_to(viewer).filter(project=project).select_related("owner")
    return {
        "project": project,
        "figures": _figures(project),
        "weight_share": project.weight
        / (sum(Project.objects.values_list("weight", flat=True)) or 1),
        "members": project.memberships.select_related("user").order_by("user__username"),
        "roles": Membership.Role.choices,
        "asked": priorityrequests.standing_of_project(project),
        "may_ask": priorityrequests.may_ask_for_project(viewer, project),
        "lasts": priorityrequests.LASTS,
        "may_manage": permissions.can_manage(viewer, project),
        "form": form or MemberForm(),
        "jobs": jobs.order_by("-submitted_at")[:JOBS_SHOWN],
    }


def _summary(project: Project, viewer: User, weights: float) -> Summary:
    jobs = Job.objects.filter(project=project)
    role = permissions.role_in(viewer, project) or ""
    return Summary(
        project=project,
        figures=tuple(_figures(project)),
        members=project.memberships.count(),
        running=jobs.with_attempt().count(),
        waiting=jobs.waiting().count(),
        role=str(Membership.Role(role).label) if role else "",
        weight_share=project.weight / weights,
    )


def _figures(project: Project) -> Iterator[Figure]:
    held = Allocation.objects.open().filter(attempt__job__project=project)
    sums = held.aggregate(
        cards=Count("pk"), memory=Sum("booked"), running=Count("attempt", distinct=True)
    )
    quota = project.quotas.filter(user=None).first() or Quota(project=project)
    yield _figure(_("cards"), sums["cards"], quota, "cards")
    yield _figure(_("memory"), sums["memory"] or 0, quota, "memory")
    yield _figure(_("running jobs"), sums["running"], quota, "running")


def _figure(name: str, held: float, quota: Quota, field: str) -> Figure:
    return Figure(
        name=name,
        held=held,
        guarantee=getattr(quota, f"guarantee_{field}"),
        limit=getattr(quota, f"limit_{field}"),
        is_memory=field == "memory",
    )


def project_of(viewer: User, slug: str) -> Project:
    """A project that the reader belongs to.

    Raises:
        Http404: there is none; what one does not belong to does not exist, for one.
    """
    for project in permissions.projects_visible_to(viewer):
        if project.slug == slug:
            return project
    raise Http404(_("There is no project “%(slug)s” that you belong to.") % {"slug": slug})


def _words(user: User, role: str, project: Project) -> dict[str, str]:
    return {"name": str(user), "role": str(Membership.Role(role).label), "project": project.slug}
