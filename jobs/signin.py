"""One-time sign-in links: made on the machine itself, good once and for a short time, stored only as a hash."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from jobs.models import SignInLink, User

GOOD_FOR = timedelta(minutes=30)
ADDRESS = Path("run") / "address"
"""Below COOP_HOME: where the running service says at which address it answers."""


def link_for(user: User) -> str:
    """A new link for this person, complete with the address that people of this site use."""
    return f"{site_address()}{create_link(user)}"


def create_link(user: User) -> str:
    """A new link for this person, as a path below the service's address (the page named `signin-link`)."""
    token = secrets.token_urlsafe(24)
    SignInLink.objects.create(
        user=user, digest=_digest(token), expires_at=timezone.now() + GOOD_FOR
    )
    return reverse("signin-link", args=[token])


def owner_of(token: str) -> User | None:
    """Whom an unused, unexpired link is for, without using it; None for every other."""
    link = _usable().filter(digest=_digest(token)).select_related("user").first()
    return link.user if link else None


def use(token: str) -> User | None:
    """Use a link up: its person the first time, None ever after and for one that is not good.

    Two that come at once: the guarded update lets one of them in.
    """
    user = owner_of(token)
    used = _usable().filter(digest=_digest(token)).update(used_at=timezone.now())
    return user if used else None


def forget_old_links() -> int:
    """Remove used and expired links; how many."""
    return SignInLink.objects.exclude(pk__in=_usable().values("pk")).delete()[0]


def site_address() -> str:
    """Where people of this site find it, without a slash at the end."""
    if settings.COOP_PUBLIC_URL:
        return str(settings.COOP_PUBLIC_URL).rstrip("/")
    with suppress(FileNotFoundError):
        return (settings.COOP_HOME / ADDRESS).read_text(encoding="utf-8").strip()
    return f"http://127.0.0.1:{settings.COOP_PORT}"


def _usable() -> models.QuerySet[SignInLink]:
    return SignInLink.objects.filter(
        used_at__isnull=True, expires_at__gt=timezone.now(), user__is_active=True
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
