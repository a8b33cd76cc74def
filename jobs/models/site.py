"""What the site knows about itself: settings changed while it runs, leases, heartbeats, kept answers."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class SiteSetting(models.Model):
    """One setting that an admin changed; `jobs.sitesettings` has the names, defaults and checks."""

    name = models.CharField(primary_key=True, max_length=40)
    value = models.JSONField(null=True)  # null: the setting is switched off on purpose
    changed_at = models.DateTimeField(auto_now=True)
    changed_by = models.ForeignKey(
        "jobs.User", on_delete=models.SET_NULL, null=True, related_name="+"
    )

    def __str__(self) -> str:
        return f"{self.name} = {self.value}"


class Announcement(models.Model):
    """A sentence of an admin to everybody, on every page until it ends."""

    class Level(models.TextChoices):
        INFO = "info", _("for information")
        WARNING = "warning", _("warning")

    text = models.CharField(max_length=300)
    level = models.CharField(max_length=10, choices=Level, default=Level.INFO)
    made_by = models.ForeignKey("jobs.User", on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    ends_at = models.DateTimeField(null=True, blank=True)  # None: until somebody takes it down

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at"]

    def __str__(self) -> str:
        return self.text


class Lease(models.Model):
    """The right to be the only one who does something, for a time; whoever takes it over counts it up."""

    name = models.CharField(primary_key=True, max_length=40)
    holder = models.CharField(max_length=120)
    generation = models.PositiveBigIntegerField(default=0)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder} until {self.expires_at}"


class Heartbeat(models.Model):
    """When a service last showed that it lives."""

    name = models.CharField(primary_key=True, max_length=60)  # dispatcher, agent:<node>, background
    at = models.DateTimeField()
    pid = models.PositiveIntegerField(null=True)
    detail = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.name} at {self.at}"


class IdempotentAnswer(models.Model):
    """The first answer to a request that carried an `Idempotency-Key`, kept for a day."""

    user = models.ForeignKey("jobs.User", on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(
        max_length=64
    )  # of the request; another one under the same key is an error
    status = models.PositiveSmallIntegerField()
    body = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_answer_a_key", fields=["user", "key"])
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.key}"
