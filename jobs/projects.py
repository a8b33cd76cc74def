"""Which project a job goes to, and the default project that every site has."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from jobs import permissions
from jobs.audit import record
from jobs.models import Membership, Project, User
from jobs.refusals import Refused

DEFAULT_SLUG = "default"


def default_project() -> Project:
    """The project `default`, made when first asked for."""
    project, _created = Project.objects.get_or_create(
        slug=DEFAULT_SLUG, defaults={"name": "Default"}
    )
    return project


def join(user: User, project: Project, role: str = Membership.Role.MEMBER) -> Membership:
    """Make the user a member, or change the role of one."""
    membership, _created = Membership.objects.update_or_create(
        user=user, project=project, defaults={"role": role}
    )
    return membership


def create(
    *, slug: str, name: str, description: str = "", weight: float = 1.0, by: User
) -> Project:
    """Make a project; its members are added afterwards. For admins.

    Raises:
        Refused: there is one of that slug.
    """
    values = {"name": name, "description": description, "weight": weight}
    try:
        with transaction.atomic():
            project = Project.objects.create(slug=slug, **values)
            record(by, project, "created", **values)
    except IntegrityError as error:
        raise Refused(
            code="project_exists",
            title=_("There is such a project"),
            detail=_("There is a project “%(slug)s” already.") % {"slug": slug},
            hint=_("Choose another slug."),
            status=409,
        ) from error
    return project


def change_members(project: Project, roles: Mapping[User, str | None], by: User) -> None:
    """Give people roles; None takes somebody out. Their jobs stay and go on. All of it, or nothing.

    Raises:
        Refused: somebody who does not lead the project.
    """
    if not permissions.can_manage(by, project):
        raise Refused(
            code="forbidden",
            title=_("You may not do this"),
            detail=_("Only a lead of the project or an admin changes its members."),
            hint=_("Ask one of them."),
            status=403,
        )
    before = dict(project.memberships.filter(user__in=roles).values_list("user__username", "role"))
    with transaction.atomic():
        for user, role in roles.items():
            if role is None:
                project.memberships.filter(user=user).delete()
            else:
                join(user, project, role)
        named = {user.username: role for user, role in roles.items()}
        record(by, project, "members changed", members=named, before=before)


def project_for(user: User, slug: str | None) -> Project:
    """The project that a job of `user` goes to: the one named, else the only one, else `default`.

    Raises:
        Refused: there is no such project for this user, or the user may only look at it.
    """
    allowed = {project.slug: project for project in permissions.projects_to_submit_to(user)}
    wanted = slug or (next(iter(allowed)) if len(allowed) == 1 else DEFAULT_SLUG)
    if wanted in allowed:
        return allowed[wanted]
    raise Refused(
        code="project_not_open_to_you",
        title=_("You cannot submit to this project"),
        detail=_("You cannot submit to the project “%(slug)s”. Open to you: %(allowed)s.")
        % {"slug": wanted, "allowed": ", ".join(sorted(allowed)) or _("none")},
        hint=_(
            "Name one of these as `project`, or ask a lead of the project to add you as a member."
        ),
        status=403,
    )
