"""`/projects`: who belongs to them, and what they may hold."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Router

from jobs import permissions, queue, quotas, tokens
from jobs.api.answers import answer
from jobs.api.auth import Allowed, grant
from jobs.api.finding import find_project
from jobs.api.problems import Invalid
from jobs.api.projectschemas import (
    MembersIn,
    MembersOut,
    ProjectChangeIn,
    ProjectIn,
    ProjectOut,
    ProjectsOut,
    QuotaIn,
    QuotaOut,
)
from jobs.api.schemas import ProblemOut
from jobs.audit import record
from jobs.core.problems import shortened
from jobs.models import Allocation, Project, Quota, User
from jobs.projects import change_members as change_members_of
from jobs.projects import create
from jobs.refusals import Refused
from jobs.serialize import instant

router = Router()

FIELDS = {
    "cards": "cards",
    "memory_bytes": "memory",
    "running": "running",
    "gpu_hours_month": "gpu_hours",
}
"""Names in the API and in the database."""


@router.get("/projects", response=ProjectsOut, auth=Allowed(tokens.READ))
def list_projects(request: HttpRequest) -> HttpResponse:
    """The projects that you belong to; all of them for an admin."""
    user = grant(request).user
    return answer(request, {"items": [_project(each, user) for each in grant(request).projects()]})


@router.post("/projects", response={201: ProjectOut, 409: ProblemOut}, auth=Allowed(tokens.ADMIN))
def create_project(request: HttpRequest, wanted: ProjectIn) -> HttpResponse:
    """Make a project; its members are added afterwards."""
    user = grant(request).user
    project = create(by=user, **wanted.dict())
    return answer(request, _project(project, user), status=201)


@router.get("/projects/{slug}", response=ProjectOut, auth=Allowed(tokens.READ))
def show_project(request: HttpRequest, slug: str) -> HttpResponse:
    """One project."""
    return answer(request, _project(find_project(request, slug), grant(request).user))


@router.patch("/projects/{slug}", response=ProjectOut, auth=Allowed(tokens.CONTROL))
def change_project(request: HttpRequest, slug: str, wanted: ProjectChangeIn) -> HttpResponse:
    """Change a project's name or description (its leads), or its weight (admins)."""
    project = _managed(request, slug)
    changes = {name: value for name, value in wanted.dict().items() if value is not None}
    weight = changes.pop("weight", None)
    if weight is not None and not grant(request).is_admin:
        raise _for_admins(_("A project's weight decides over other projects, too."))
    with transaction.atomic():
        if weight is not None:
            quotas.change([quotas.QuotaChange(project=project, weight=weight)], grant(request).user)
        if changes:
            Project.objects.filter(pk=project.pk).update(**changes)
            record(grant(request).user, project, "changed", **changes)
    project.refresh_from_db()
    return answer(request, _project(project, grant(request).user))


@router.get("/projects/{slug}/members", response=MembersOut, auth=Allowed(tokens.READ))
def list_members(request: HttpRequest, slug: str) -> HttpResponse:
    """The people in a project and their roles."""
    return answer(request, _members(find_project(request, slug)))


@router.patch("/projects/{slug}/members", response=MembersOut, auth=Allowed(tokens.CONTROL))
def change_members(request: HttpRequest, slug: str, wanted: MembersIn) -> HttpResponse:
    """Add people, change roles, or with `null` take people out."""
    project = _managed(request, slug)
    people = {name: _person(name) for name in wanted.members}
    roles = {people[name]: role for name, role in wanted.members.items()}
    change_members_of(project, roles, grant(request).user)
    return answer(request, _members(project))


@router.get("/projects/{slug}/quota", response=QuotaOut, auth=Allowed(tokens.READ))
def show_quota(request: HttpRequest, slug: str) -> HttpResponse:
    """What a project is guaranteed and may at most hold, and what it holds now."""
    return answer(request, _quota(find_project(request, slug)))


@router.patch(
    "/projects/{slug}/quota",
    response={200: QuotaOut, 422: ProblemOut},
    auth=Allowed(tokens.ADMIN),
)
def change_quota(request: HttpRequest, slug: str, wanted_quota: QuotaIn) -> HttpResponse:
    """Change a project's quota; what is left out stays, `null` takes it away."""
    project = find_project(request, slug)
    wanted = quotas.QuotaChange(project=project, fields=_quota_changes(wanted_quota))
    quotas.change([wanted], grant(request).user)
    queue.forget()
    return answer(request, _quota(project))


def _managed(request: HttpRequest, slug: str) -> Project:
    """A project that the caller may manage."""
    project = find_project(request, slug)
    if permissions.can_manage(grant(request).user, project):
        return project
    raise Refused(
        code="forbidden",
        title=_("You may not do this"),
        detail=_("Only a lead of “%(slug)s” or an admin may do this.") % {"slug": slug},
        hint=_("Ask one of them."),
        status=403,
    )


def _for_admins(detail: str) -> Refused:
    return Refused(
        code="forbidden",
        title=_("You may not do this"),
        detail=detail,
        hint=_("Only an admin may do this, with a token that has the scope admin."),
        status=403,
    )


def _person(username: str) -> User:
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise Invalid(
            _("There is no account %(name)s.") % {"name": shortened(username)},
            _("Give the user names of people who can sign in here."),
            code="no_such_account",
        )
    return user


def _project(project: Project, user: User) -> dict[str, Any]:
    return {
        "slug": project.slug,
        "name": project.name,
        "description": project.description,
        "weight": project.weight,
        "role": permissions.role_in(user, project),
        "created_at": instant(project.created_at),
    }


def _members(project: Project) -> dict[str, Any]:
    rows = project.memberships.select_related("user").order_by("user__username")
    return {"items": [{"username": row.user.username, "role": row.role} for row in rows]}


def _quota(project: Project) -> dict[str, Any]:
    quota = Quota.objects.filter(project=project, user=None).first()
    sides = {
        side: {name: getattr(quota, f"{side}_{column}", None) for name, column in FIELDS.items()}
        for side in quotas.SIDES
    }
    return {**sides, "used": _used(project)}


def _used(project: Project) -> dict[str, Any]:
    held = (
        Allocation.objects.open()
        .filter(attempt__job__project=project)
        .aggregate(cards=Count("pk"), memory=Sum("booked"), running=Count("attempt", distinct=True))
    )
    return {
        "cards": held["cards"],
        "memory_bytes": held["memory"] or 0,
        "running": held["running"],
        "gpu_hours_month": None,
    }


def _quota_changes(wanted: QuotaIn) -> dict[str, Any]:
    given = wanted.dict(exclude_unset=True)
    return {
        f"{side}_{FIELDS[name]}": value
        for side in quotas.SIDES
        for name, value in (given.get(side) or {}).items()
    }
