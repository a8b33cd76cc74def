"""What is removed after a time: answers kept for repeats, uploads that nobody finished, old sign-in links, sessions."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.management import call_command

from jobs.models import IdempotentAnswer
from jobs.signin import forget_old_links

ANSWERS_KEPT = timedelta(hours=24)
UPLOADS_KEPT = timedelta(days=2)


def forget_old(now: datetime) -> None:
    """Remove all of it. Safe to repeat."""
    IdempotentAnswer.objects.filter(created_at__lt=now - ANSWERS_KEPT).delete()
    forget_old_links()
    call_command("clearsessions")
