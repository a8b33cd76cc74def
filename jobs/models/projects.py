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
