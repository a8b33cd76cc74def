"""Datasets: a name in a project for content that is stored once, by its hash."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from jobs.models.ids import public_id


class Dataset(models.Model):
    """One version of a named dataset. The newest version of a name is what a new job gets; a job keeps its own."""

    class Format(models.TextChoices):
        ALPACA = "alpaca", _("alpaca")
        SHAREGPT = "sharegpt", _("sharegpt")
        OPENAI = "openai", _("openai")

    id = models.CharField(primary_key=True, max_length=12, default=public_id, editable=False)
    project = models.ForeignKey("jobs.Project", on_delete=models.PROTECT, related_name="datasets")
    name = models.CharField(max_length=64)
    version = models.PositiveIntegerField(default=1)
    owner = models.ForeignKey("jobs.User", on_delete=models.PROTECT, related_name="+")
    sha256 = models.CharField(max_length=64)
    extension = models.CharField(max_length=5)  # json, jsonl or csv
    format = models.CharField(max_length=10, choices=Format)
    columns = models.JSONField(default=list)  # the columns found, in the file's order
    rows = models.PositiveBigIntegerField()
    size = models.PositiveBigIntegerField()  # bytes
    preview = models.JSONField(default=list)  # the first rows, shortened
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["name", "-version"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="one_dataset_a_version", fields=["project", "name", "version"]
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class DatasetUpload(models.Model):
    """An upload under way: parts are appended at `received`, so that it resumes where it broke off."""

    id = models.CharField(primary_key=True, max_length=12, default=public_id, editable=False)
    project = models.ForeignKey("jobs.Project", on_delete=models.CASCADE, related_name="+")
    owner = models.ForeignKey("jobs.User", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=64)
    filename = models.CharField(max_length=255)  # as the browser called it; shown, never a path
    size = models.PositiveBigIntegerField()  # announced, bytes
    received = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="upload_receives_no_more_than_announced",
                condition=Q(received__lte=models.F("size")),
            )
        ]

    def __str__(self) -> str:
        return f"{self.filename} for {self.name}: {self.received} of {self.size} bytes"


class TrainingConfig(models.Model):
    """One version of an uploaded LLaMA-Factory config; a job that names it keeps the version it was given."""

    project = models.ForeignKey(
        "jobs.Project", on_delete=models.CASCADE, related_name="training_configs"
    )
    name = models.CharField(max_length=64)
    version = models.PositiveIntegerField(default=1)
    owner = models.ForeignKey("jobs.User", on_delete=models.PROTECT, related_name="+")
    content = models.JSONField()  # the mapping, typed as the file had it
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["name", "-version"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="one_training_config_a_version", fields=["project", "name", "version"]
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"
