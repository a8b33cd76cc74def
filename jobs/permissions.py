"""Who may do what: one place, asked by pages, API, admin and sockets alike.

An admin may everything. In a project a viewer sees, a member submits and controls own jobs, a lead manages.
"""

from __future__ import annotations

from jobs.models import Job, Membership, Project, User

_SUBMITTERS = (Membership.Role.MEMBER, Membership.Role.LEAD)


def role_in(user: User, project: Project) -> str | None:
    """The user's role in the project; "lead" for an admin; None for a stranger."""
    if not user.is_active:
        return None
    if user.is_superuser:
        return Membership.Role.LEAD
    return project.memberships.filter(user=user).values_list("role", flat=True).first()


def can_view(user: User, job: Job) -> bool:
    """Whether the user may know that this job exists, and read it."""
    return role_in(user, job.project) is not None


def can_submit(user: User, project: Project) -> bool:
    """Whether the user may hand in jobs and datasets there."""
    return role_in(user, project) in _SUBMITTERS


def can_manage(user: User, project: Project) -> bool:
    """Whether the user may change other people's jobs, members and order there."""
    return role_in(user, project) == Membership.Role.LEAD


def can_control(user: User, job: Job) -> bool:
    """Whether the user may pause, resume, cancel or clone this job."""
    role = role_in(user, job.project)
    return role == Membership.Role.LEAD or (role in _SUBMITTERS and job.owner_id == user.pk)


def projects_to_submit_to(user: User) -> list[Project]:
    """The projects that the user may hand jobs in to, by slug."""
    if user.is_superuser:
        return list(Project.objects.all())
    return list(Project.objects.filter(memberships__user=user, memberships__role__in=_SUBMITTERS))


def projects_visible_to(user: User) -> list[Project]:
    """The projects that the user belongs to; all of them for an admin."""
    if user.is_superuser:
        return list(Project.objects.all())
    return list(Project.objects.filter(memberships__user=user))


def projects_reported_to(user: User) -> list[Project]:
    """The projects whose reports the user may read: those that one leads; all of them for an admin."""
    if not user.is_active:
        return []
    if user.is_superuser:
        return list(Project.objects.all())
    leads = Membership.Role.LEAD
    return list(Project.objects.filter(memberships__user=user, memberships__role=leads))
