"""Invitations: a link made by a lead that makes one person a member, whether signed in already or new here.

A link is good once and for a limited time; only its hash is stored, so it is shown when it is made and never again.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from jobs import permissions
from jobs.audit import record
from jobs.models import Invitation, Membership, Project, User
from jobs.projects import join
from jobs.refusals import Refused

LONGEST_LIFE = timedelta(days=30)
KEPT = timedelta(days=90)
"""How long used and ended ones are kept, for those who ask who came by whom."""

_RANKS = [role.value for role in Membership.Role]  # each may all that the one before it may


def invite(
    project: Project, by: User, *, role: str, lifetime: timedelta, note: str = ""
) -> tuple[Invitation, str]:
    """Make an invitation; its row, and the path of its link, which is never to be had again.

    Raises:
        Refused: somebody who does not lead the project, or a life of none or of more than 30 days.
    """
    if not permissions.can_manage(by, project):
        raise _refused(
            "forbidden",
            _("Only a lead of the project or an admin invites people."),
            _("Ask one of them."),
            status=403,
        )
    if not timedelta(0) < lifetime <= LONGEST_LIFE:
        raise _refused(
            "invitation_life",
            _("An invitation cannot live %(days)s days.")
            % {"days": f"{lifetime / timedelta(days=1):g}"},
            _("Give more than 0 and at most %(most)s days.") % {"most": LONGEST_LIFE.days},
        )
    token = secrets.token_urlsafe(24)
    with transaction.atomic():
        made = Invitation.objects.create(
            project=project,
            role=role,
            digest=_digest(token),
            note=note,
            made_by=by,
            expires_at=timezone.now() + lifetime,
        )
        record(by, made, "invited", role=role, note=note, until=made.expires_at)
    return made, reverse("invitation", args=[token])


def revoke(invitation: Invitation, by: User) -> None:
    """Make an unused invitation useless."""
    with transaction.atomic():
        if _usable().filter(pk=invitation.pk).update(revoked_at=timezone.now()):
            record(by, invitation, "revoked")


def open_ones(project: Project) -> QuerySet[Invitation]:
    """The project's invitations that still let somebody in."""
    return _usable().filter(project=project).select_related("made_by")


def found(token: str) -> Invitation | None:
    """The invitation of an unused, unexpired link, without using it; None for every other.

    One whose maker does not lead the project any more lets nobody in.
    """
    rows = _usable().filter(digest=_digest(token)).select_related("project", "made_by")
    row = rows.first()
    return row if row and permissions.can_manage(row.made_by, row.project) else None


def accept(token: str, user: User) -> Membership | None:
    """Use an invitation up: the person's membership; None where it is not good any more.

    Two that come at once: the guarded update lets one of them in. Who has a higher role keeps it.
    """
    invitation = found(token)
    if invitation is None:
        return None
    with transaction.atomic():
        used = _usable().filter(pk=invitation.pk)
        if not used.update(used_at=timezone.now(), used_by=user):
            return None
        project = invitation.project
        now = project.memberships.filter(user=user).first()
        if now is not None and _RANKS.index(now.role) >= _RANKS.index(invitation.role):
            return now
        membership = join(user, project, invitation.role)
        record(user, project, "joined", role=invitation.role, invited_by=invitation.made_by)
    return membership


def accept_as_new(token: str, username: str, password: str) -> User | None:
    """Make an account for whoever has the link, and use it up; None where it is not good any more.

    The caller has checked name and password.
    """
    with transaction.atomic():
        user = User.objects.create_user(username=username, password=password)
        if accept(token, user) is None:
            transaction.set_rollback(True)
            return None
        record(user, user, "account made by an invitation")
    return user


def forget_old() -> int:
    """Remove those that have long been used or have long ended; how many."""
    return Invitation.objects.filter(expires_at__lt=timezone.now() - KEPT).delete()[0]


def _usable() -> QuerySet[Invitation]:
    return Invitation.objects.filter(
        used_at=None, revoked_at=None, expires_at__gt=timezone.now(), made_by__is_active=True
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _refused(code: str, detail: str, hint: str, *, status: int = 422) -> Refused:
    return Refused(
        code=code, title=_("Nobody was invited"), detail=detail, hint=hint, status=status
    )
