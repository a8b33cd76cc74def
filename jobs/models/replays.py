"""Questions of what-if: the site's own past replayed, and what came out of it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from jobs.models.ids import public_id


class Replay(models.Model):
    """One question and, once the background service has worked it out, its answer."""

    id = models.CharField(primary_key=True, max_length=12, default=public_id, editable=False)
    made_by = models.ForeignKey("jobs.User", on_delete=models.CASCADE, related_name="+")
    asked_at = models.DateTimeField()
    begun_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    question = models.JSONField()  # of jobs/replay/question.py
    answer = models.JSONField(default=dict, blank=True)  # of jobs/replay/answering.py
    problem = models.CharField(max_length=20, blank=True)  # a code, where there is no answer

    class Meta:
        ordering: ClassVar[list[str]] = ["-asked_at"]
        indexes: ClassVar = [
            models.Index(name="replays_of_a_person", fields=["made_by", "-asked_at"])
        ]

    def __str__(self) -> str:
        return f"replay of {self.made_by}, asked {self.asked_at:%Y-%m-%d %H:%M}"
