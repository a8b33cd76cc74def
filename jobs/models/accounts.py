"""People, their API tokens, and one-time sign-in links."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _


class User(AbstractUser):
    """A person, or a service account such as the one behind the shared token."""

    class Theme(models.TextChoices):
        SYSTEM = "auto", _("as the system")
        LIGHT = "light", _("light")
        DARK = "dark", _("dark")

    language = models.CharField(max_length=10, blank=True)
    theme = models.CharField(max_length=5, choices=Theme, default=Theme.SYSTEM)
    timezone = models.CharField(max_length=64, blank=True)
    muted_kinds = models.JSONField(default=list, blank=True)  # that the inbox does not take
    is_service = models.BooleanField(
        default=False, help_text=_("An account for scripts: it cannot sign in on the pages.")
    )

    def __str__(self) -> str:
        return self.username


class ApiToken(models.Model):
    """A bearer token. Only its SHA-256 is stored, so a copy of the database opens nothing."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    project = models.ForeignKey(
        "jobs.Project", on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=12)  # shown in lists, so that one can tell them apart
    digest = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)  # of: read, submit, control, admin
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.user}, {self.name})"


class SignInLink(models.Model):
    """A link that signs one person in once. Only its SHA-256 is stored."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"sign-in link of {self.user}, good until {self.expires_at:%Y-%m-%d %H:%M}"
