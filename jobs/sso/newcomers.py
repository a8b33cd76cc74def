"""Who gets an account by signing in elsewhere, and where it belongs: the settings `signup`, `signup_domains`,
`signup_project`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from jobs import projects, sitesettings
from jobs.models import Membership, Project, User

_ODD = re.compile(r"[^\w.@+-]+")
_MOST_NAMES = 1_000


class NotLetIn(Exception):
    """No account for this person; the text says why and whom to ask."""


@dataclass(frozen=True, kw_only=True)
class Newcomer:
    """Somebody whom a service has sent, and who has no account here."""

    name: str  # a user name that they would like, or what comes near one
    full_name: str = ""
    emails: Collection[str] = ()  # only those that the service has verified


def take_in(newcomer: Newcomer) -> User:
    """A new account for them, in the project where newcomers come.

    It is never one that exists already, whatever its name or e-mail address: those link the service themselves.

    Raises:
        NotLetIn: the site's settings do not let them in.
    """
    values = sitesettings.current()
    if not _may_come(newcomer, values):
        raise NotLetIn(_why_not(values))
    user = _create(newcomer)
    project = Project.objects.filter(slug=values.signup_project or "").first()
    if project is not None:
        projects.join(user, project, Membership.Role.MEMBER)
    return user


def _may_come(newcomer: Newcomer, values: sitesettings.SiteSettings) -> bool:
    if values.signup == "domains":
        domains = {email.rpartition("@")[2].lower() for email in newcomer.emails}
        return not domains.isdisjoint(values.signup_domains)
    return values.signup == "everybody"


def _why_not(values: sitesettings.SiteSettings) -> str:
    if values.signup == "domains":
        return _(
            "You have no account here, and new ones are for verified e-mail addresses at %(domains)s only."
            " Ask an admin for an account; then sign in with it and link this service on your account page."
        ) % {"domains": ", ".join(values.signup_domains) or "–"}
    return _(
        "You have no account here, and this site makes none by itself."
        " Ask an admin for one; then sign in with it and link this service on your account page."
    )


def _create(newcomer: Newcomer) -> User:
    wanted = _ODD.sub("-", newcomer.name).strip("-.")[:100] or "user"
    for number in range(1, _MOST_NAMES):
        name = wanted if number == 1 else f"{wanted}-{number}"
        if User.objects.filter(username__iexact=name).exists():
            continue
        try:
            with transaction.atomic():
                return _account(name, newcomer)
        except IntegrityError:
            continue  # somebody of the same name came at the same moment
    raise NotLetIn(_("There is no free user name like “%(name)s”.") % {"name": wanted})


def _account(name: str, newcomer: Newcomer) -> User:
    user = User(username=name, email=next(iter(newcomer.emails), ""))
    user.first_name = newcomer.full_name[:150]
    user.set_unusable_password()
    user.save(force_insert=True)
    return user
