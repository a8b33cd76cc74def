"""What every page shows: the theme, and what one should know about this site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _

from gpus.models import Node
from jobs import permissions
from jobs.account import isolation_level
from jobs.models import User
from jobs.notify import inbox
from jobs.policies import alarm

THEME_COOKIE = "theme"
NOT_ISOLATED = "L0"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One line under the header."""

    text: str
    icon: str = "info"
    grave: bool = False


def site(request: HttpRequest) -> dict[str, Any]:
    """The reader's theme, and the site's notices for those who are signed in."""
    return {
        "theme": _theme(request),
        "site_notices": SimpleLazyObject(lambda: _notices(request)),
        "unread_count": SimpleLazyObject(lambda: _unread(request)),
        "may_see_reports": SimpleLazyObject(lambda: _may_see_reports(request)),
    }


def _unread(request: HttpRequest) -> int:
    user = getattr(request, "user", None)
    return inbox.unread(user.pk) if isinstance(user, User) else 0


def _may_see_reports(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return isinstance(user, User) and bool(permissions.projects_reported_to(user))


def _theme(request: HttpRequest) -> str:
    user = getattr(request, "user", None)
    chosen = user.theme if isinstance(user, User) else request.COOKIES.get(THEME_COOKIE, "")
    return chosen if chosen in User.Theme.values else User.Theme.SYSTEM


def _notices(request: HttpRequest) -> list[Notice]:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return []
    notices = []
    if Node.objects.filter(source="simulated").exists():
        notices.append(Notice(text=_simulated_words()))
    if isolation_level() == NOT_ISOLATED and _has_several_accounts():
        words = _(
            "Isolation level L0: people who can submit jobs here can read each other's files."
        )
        notices.append(Notice(text=words, icon="warning", grave=True))
    if user.is_superuser and (failing := alarm.standing()) is not None:
        notices.append(Notice(text=failing.sentence, icon="warning", grave=True))
    return notices


def _simulated_words() -> str:
    if settings.COOP_GPUS.startswith("simulated"):
        return _(
            "Simulated cards, as COOP_GPUS asks for. Jobs run for real, on the CPU; the memory shown is made up."
        )
    return _(
        "Simulated cards: this machine has no NVIDIA driver. Jobs run for real, on the CPU;"
        " the memory shown is made up."
    )


def _has_several_accounts() -> bool:
    return User.objects.filter(is_active=True, is_service=False)[:2].count() > 1
