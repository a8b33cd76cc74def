"""What a web process does beside its requests: take in what happened, and have the background send what is due."""

from __future__ import annotations

from django.utils import timezone
from django_q.tasks import async_task

from jobs.notify import sending, taking


def pump() -> None:
    """One look. Quick: a query or two where nothing happened."""
    now = timezone.now()
    taking.read_on(now)
    if sending.is_due(now):
        async_task("jobs.tasks.send_messages", save=False)
