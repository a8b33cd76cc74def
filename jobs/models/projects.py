"""Projects: who belongs to them, what they may hold, and their share of what is contested."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Project(models.Model):
    """The team account that owns jobs, datasets, quota and share."""

    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    weight = models.FloatField(
        default=1.0,
        validators=[MinValueValidator(0.01)],
        help_text=_("The project's share of what is contested, relative to the others."),
    )
    created_at = models.DateTimeField(auto_now_add=True)
    members = models.ManyToManyField(
        "jobs.User", through="jobs.Membership", related_name="projects"
    )

    class Meta:
        ordering: ClassVar[list[str]] = ["slug"]
        constraints: ClassVar = [
            models.CheckConstraint(name="project_weight_is_positive", condition=Q(weight__gt=0))
        ]

    def __str__(self) -> str:
        return self.slug


class Membership(models.Model):
    """A person's role in a project; each role may all that the one before it may."""

    class Role(models.TextChoices):
        VIEWER = "viewer", _("viewer")  # sees jobs, logs, datasets
        MEMBER = "member", _("member")  # submits, and controls own jobs
        LEAD = "lead", _("lead")  # manages the project: its jobs, order, members

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey("jobs.User", on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.MEMBER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_membership_a_person", fields=["project", "user"])
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.project}"


class Invitation(models.Model):
    """A link that makes one person a member, signed in already or new here. Only its SHA-256 is stored."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=10, choices=Membership.Role, default=Membership.Role.MEMBER)
    digest = models.CharField(max_length=64, unique=True)
    note = models.CharField(max_length=100, blank=True)  # for whom it is, as its maker wrote
    made_by = models.ForeignKey("jobs.User", on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    used_by = models.ForeignKey(
        "jobs.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at"]

    def __str__(self) -> str:
        return f"invitation to {self.project} as {self.role}"


class PriorityRequest(models.Model):
    """Somebody asks, until a day and for a reason, that a job goes ahead, or that a project gets more weight.

    Of a job its owner asks, and a lead or an admin decides; of a project a lead asks, and an admin decides.
    """

    class Answer(models.TextChoices):
        OPEN = "open", _("open")
        APPROVED = "approved", _("approved")
        DECLINED = "declined", _("declined")
        WITHDRAWN = "withdrawn", _("withdrawn")
        ENDED = "ended", _("ended")  # its day has come, or its job has ended

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="priority_requests")
    job = models.ForeignKey(
        "jobs.Job",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="priority_requests",
    )  # None: it is about the project
    asked_by = models.ForeignKey("jobs.User", on_delete=models.CASCADE, related_name="+")
    priority = models.PositiveSmallIntegerField(null=True, blank=True)  # wanted for the job
    weight = models.FloatField(null=True, blank=True)  # wanted for the project
    reason = models.CharField(max_length=500)
    ends_at = models.DateTimeField()  # when what was approved falls back
    created_at = models.DateTimeField(auto_now_add=True)
    answer = models.CharField(max_length=10, choices=Answer, default=Answer.OPEN)
    answered_by = models.ForeignKey(
        "jobs.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    answered_at = models.DateTimeField(null=True, blank=True)
    note = models.CharField(max_length=500, blank=True)  # what the one who decided said
    before = models.FloatField(null=True, blank=True)  # the priority or weight to fall back to

    class Meta:
        ordering: ClassVar[list[str]] = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="one_standing_priority_request_a_job",
                fields=["job"],
                condition=Q(answer__in=["open", "approved"]),
            ),
            models.UniqueConstraint(
                name="one_standing_weight_request_a_project",
                fields=["project"],
                condition=Q(answer__in=["open", "approved"], job__isnull=True),
            ),
            models.CheckConstraint(
                name="a_request_is_for_a_job_or_a_project",
                condition=Q(job__isnull=False, priority__isnull=False, weight__isnull=True)
                | Q(job__isnull=True, priority__isnull=True, weight__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"request of {self.asked_by} for {self.subject}"

    @property
    def subject(self) -> str:
        """What it is for: a job, or a project."""
        return str(self.job or self.project)


def _at_most(guarantee: str, limit: str) -> Q:
    return (
        Q(**{f"{guarantee}__isnull": True})
        | Q(**{f"{limit}__isnull": True})
        | Q(**{f"{guarantee}__lte": F(limit)})
    )


class Quota(models.Model):
    """What a project, or one person in it, is guaranteed and may at most hold. Empty: no guarantee, no limit."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="quotas")
    user = models.ForeignKey(
        "jobs.User", on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    guarantee_cards = models.PositiveIntegerField(null=True, blank=True)
    limit_cards = models.PositiveIntegerField(null=True, blank=True)
    guarantee_memory = models.PositiveBigIntegerField(null=True, blank=True)  # bytes
    limit_memory = models.PositiveBigIntegerField(null=True, blank=True)
    guarantee_running = models.PositiveIntegerField(null=True, blank=True)
    limit_running = models.PositiveIntegerField(null=True, blank=True)
    guarantee_gpu_hours = models.FloatField(null=True, blank=True)  # a calendar month
    limit_gpu_hours = models.FloatField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="one_quota_a_project", fields=["project"], condition=Q(user__isnull=True)
            ),
            models.UniqueConstraint(
                name="one_quota_a_person_in_a_project",
                fields=["project", "user"],
                condition=Q(user__isnull=False),
            ),
            *(
                models.CheckConstraint(
                    name=f"guarantee_of_{what}_within_its_limit",
                    condition=_at_most(f"guarantee_{what}", f"limit_{what}"),
                )
                for what in ("cards", "memory", "running", "gpu_hours")
            ),
        ]

    def __str__(self) -> str:
        return f"quota of {self.user or self.project}"
