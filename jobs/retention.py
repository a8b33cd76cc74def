"""What is removed after a time: kept answers, old links, sessions, readings, unused datasets, notifications."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.core.management import call_command

from gpus.retention import forget_old_readings
from jobs import datasets, invitations
from jobs.models import IdempotentAnswer, SignInFailures
from jobs.notify import inbox, sending
from jobs.replay import asking
from jobs.signin import forget_old_links

ANSWERS_KEPT = timedelta(hours=24)


def forget_old(now: datetime) -> None:
    """Remove all of it. Safe to repeat."""
    IdempotentAnswer.objects.filter(created_at__lt=now - ANSWERS_KEPT).delete()
    forget_old_links()
    invitations.forget_old()
    forget_old_readings(now)
    datasets.forget_unused(now)
    asking.forget_old(now)
    inbox.forget_old(now)
    sending.forget_old(now)
    SignInFailures.objects.filter(until__lt=now).delete()
    call_command("clearsessions")
