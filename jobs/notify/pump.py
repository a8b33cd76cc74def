"""What a web process does beside its requests: take in what happened, and have the background send what is due."""

from __future__ import annotations

from django.utils import timezone
from django_q.models import OrmQ
from django_q.tasks import async_task

from jobs.notify import sending, taking

MOST_QUEUED = 10
"""Where the background is behind, asking it once more every two seconds would only make its queue long."""


def pump() -> None:
    """One look. Quick: a query or two where nothing happened."""
    now = timezone.now()
    taking.read_on(now)
    if sending.is_due(now) and OrmQ.objects.count() < MOST_QUEUED:
        async_task("jobs.tasks.send_messages", save=False)
