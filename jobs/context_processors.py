"""What every page shows: the theme, and what one should know about this site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from gpus.models import Node
from jobs import announcements, permissions, priorityrequests
from jobs.account import isolation_level
from jobs.models import Announcement, Project, User
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
    address: str = ""  # where one does something about it
    link: str = ""  # the words of that link


def site(request: HttpRequest) -> dict[str, Any]:
    """The reader's theme, and the site's notices for those who are signed in."""
    led = cache(lambda: _led(request))
    return {
        "theme": _theme(request),
        "site_notices": SimpleLazyObject(lambda: _notices(request, led())),
        "unread_count": SimpleLazyObject(lambda: _unread(request)),
        "may_see_reports": SimpleLazyObject(lambda: bool(led())),
    }


def _unread(request: HttpRequest) -> int:
    user = getattr(request, "user", None)
    return inbox.unread(user.pk) if isinstance(user, User) else 0


def _led(request: HttpRequest) -> list[Project]:
    """The projects that the reader leads."""
    user = getattr(request, "user", None)
    return permissions.projects_reported_to(user) if isinstance(user, User) else []


def _theme(request: HttpRequest) -> str:
    user = getattr(request, "user", None)
    chosen = user.theme if isinstance(user, User) else request.COOKIES.get(THEME_COOKIE, "")
    return chosen if chosen in User.Theme.values else User.Theme.SYSTEM


def _notices(request: HttpRequest, led: Sequence[Project]) -> list[Notice]:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return []
    notices = [*_announced(), *_asked(user, led)]
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


def _announced() -> Iterator[Notice]:
    for each in announcements.standing():
        is_warning = each.level == Announcement.Level.WARNING
        yield Notice(text=each.text, icon="warning" if is_warning else "info", grave=is_warning)


def _asked(user: User, led: Sequence[Project]) -> Iterator[Notice]:
    """Requests that wait for the reader's answer."""
    waiting = priorityrequests.to_answer(user, led).count() if led else 0
    if waiting:
        words = ngettext(
            "%(n)s request waits for your answer.",
            "%(n)s requests wait for your answer.",
            waiting,
        )
        yield Notice(text=words % {"n": waiting}, address=reverse("requests"), link=_("Answer"))


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
