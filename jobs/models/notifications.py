"""What people are told: the inbox on the pages, the channels that lead outside, and what is still to be sent there."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Notification(models.Model):
    """One line of a person's inbox; its sentence is made when it is read, in the reader's language."""

    user = models.ForeignKey("jobs.User", on_delete=models.CASCADE, related_name="notifications")
    kind = models.CharField(max_length=12)  # a `jobs.notify.kinds.Kind`
    key = models.CharField(max_length=80)  # of what happened; told to one person once
    job = models.ForeignKey(
        "jobs.Job", on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )  # None: about a project, or about many jobs at once
    data = models.JSONField(default=dict)  # what the sentence is made from
    at = models.DateTimeField()
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_notification_a_person", fields=["user", "key"])
        ]
        indexes: ClassVar = [
            models.Index(
                name="unread_notifications", fields=["user"], condition=Q(read_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} for {self.user}"


class Channel(models.Model):
    """A way out, of one person or of one project. Address and secret are stored sealed and never shown again."""

    class Service(models.TextChoices):
        EMAIL = "email", _("e-mail")
        FEISHU = "feishu", _("Feishu or Lark")
        DINGTALK = "dingtalk", _("DingTalk")
        WECOM = "wecom", _("WeCom")
        SLACK = "slack", _("Slack")
        WEBHOOK = "webhook", _("webhook, signed")
        APPRISE = "apprise", _("another service, by its Apprise address")

    class Rhythm(models.TextChoices):
        NOW = "now", _("at once")
        DAILY = "daily", _("once a day")
        WEEKLY = "weekly", _("once a week")

    user = models.ForeignKey(
        "jobs.User", on_delete=models.CASCADE, null=True, blank=True, related_name="channels"
    )
    project = models.ForeignKey(
        "jobs.Project", on_delete=models.CASCADE, null=True, blank=True, related_name="channels"
    )
    service = models.CharField(max_length=10, choices=Service)
    name = models.CharField(max_length=80)
    sealed = models.TextField()  # address and secret: jobs/notify/sealing.py
    hint = models.CharField(max_length=120)  # what of the address may be shown
    kinds = models.JSONField(default=list)  # of `jobs.notify.kinds.Kind`
    rhythm = models.CharField(max_length=6, choices=Rhythm, default=Rhythm.NOW)
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_until = models.TimeField(null=True, blank=True)
    language = models.CharField(max_length=10, blank=True)  # of a project's; a person has their own
    timezone = models.CharField(max_length=64, blank=True)
    paused = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    claimed_until = models.DateTimeField(null=True, blank=True)  # somebody is sending to it
    next_at = models.DateTimeField(
        null=True, blank=True
    )  # not before: after a message or a failure
    failures = models.PositiveSmallIntegerField(default=0)  # in a row
    last_sent_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True)
    last_error_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["name", "id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="a_channel_has_one_owner",
                condition=Q(user__isnull=False, project__isnull=True)
                | Q(user__isnull=True, project__isnull=False),
            ),
            models.CheckConstraint(
                name="quiet_hours_have_both_ends",
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.service}) of {self.user or self.project}"


class Delivery(models.Model):
    """Something that one channel is still to be told, or was told lately."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="deliveries")
    kind = models.CharField(max_length=12)
    key = models.CharField(max_length=80)
    job = models.ForeignKey(
        "jobs.Job", on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    data = models.JSONField(default=dict)
    at = models.DateTimeField()
    due_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    done_at = models.DateTimeField(null=True, blank=True)  # sent, or given up
    given_up = models.BooleanField(default=False)

    class Meta:
        ordering: ClassVar[list[str]] = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_delivery_a_channel", fields=["channel", "key"])
        ]
        indexes: ClassVar = [
            models.Index(
                name="waiting_deliveries",
                fields=["channel", "due_at"],
                condition=Q(done_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.channel}"


class ReadingPlace(models.Model):
    """How far a reader of the event rows has come, kept over restarts."""

    name = models.CharField(primary_key=True, max_length=40)
    last = models.PositiveBigIntegerField(default=0)
    missing = models.JSONField(default=dict)  # number of a row that may still come -> since when

    def __str__(self) -> str:
        return f"{self.name} at {self.last}"


class SignInFailures(models.Model):
    """Wrong guesses for one name from one address; shared by all processes. The key is a hash."""

    key = models.CharField(primary_key=True, max_length=64)
    count = models.PositiveIntegerField(default=0)
    until = models.DateTimeField()  # when they are forgotten

    def __str__(self) -> str:
        return f"{self.count} until {self.until:%Y-%m-%d %H:%M}"
