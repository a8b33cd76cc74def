"""When running trainings last saved: the newest checkpoint that a later attempt of the same job would go on from.

The agent looks every few seconds; when an attempt that made room for another job has ended, the reconciler looks once
more, because many trainings save when they are told to end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.db.models import Q

from jobs import checkpoints, rundir
from jobs.core.llamafactory import can_resume
from jobs.models import Attempt, Job

LOOK_EVERY_S = 5.0
"""Between two looks into one output folder."""


@dataclass
class SaveWatch:
    """The checkpoints of one attempt, and which of them is known."""

    known: str = ""
    looked_at: float | None = None

    def look(self, job_id: str, now: float) -> float | None:
        """When the training saved (epoch seconds), where that is news; `now` is a monotonic clock."""
        if self.looked_at is not None and now - self.looked_at < LOOK_EVERY_S:
            return None
        self.looked_at = now
        newest = checkpoints.newest_save(_output(job_id), self.known)
        if newest is None:
            return None
        self.known = newest.name
        return newest.at


def note(job: Job, number: int) -> bool:
    """Look once, and keep when attempt `number` of the job last saved; whether that was news."""
    newest = checkpoints.newest_save(_output(job.pk))
    return newest is not None and store(job.pk, number, newest.at)


def store(job_id: str, number: int, at: float) -> bool:
    """Keep that an open attempt saved at `at` (epoch seconds); whether that was news.

    A checkpoint that lay there before its start says nothing about it, and one that it cannot go on from neither.
    """
    moment = datetime.fromtimestamp(at, UTC)
    own = Attempt.objects.open().filter(job_id=job_id, number=number, started_at__lte=moment)
    news = own.filter(Q(saved_at=None) | Q(saved_at__lt=moment))
    return news.exists() and _goes_on(job_id) and bool(news.update(saved_at=moment))


def _goes_on(job_id: str) -> bool:
    """Whether its next attempt is told to go on from a checkpoint; see `jobs/preparation.py`."""
    spec = Job.objects.values_list("spec", flat=True).get(pk=job_id)
    config = spec.get("llamafactory")
    return not isinstance(config, dict) or can_resume(config)


def _output(job_id: str) -> Path:
    return rundir.job_directory(settings.COOP_HOME, job_id) / "output"
