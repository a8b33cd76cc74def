"""Changing what an open booking counts for, and telling it: the only place that does.

A change is an update of the booking, of its card's sum and an event row, in one transaction that holds the job's row:
an attempt that ends at the same time gives back what is booked then, once.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import IntegrityError, transaction
from django.db.models import F

from gpus.models import Device
from jobs import records
from jobs.bookedspans import GROW, SHRINK
from jobs.models import Allocation, Job


class _Stale(Exception):
    """Somebody else changed a row first; the whole step is undone."""


def rebook(booking: Allocation, memory: int, *, margin: float) -> bool:
    """Book another amount; its attempt and device must have been fetched.

    False where the attempt has ended, the booking or its peak has changed meanwhile, or the card has less left than is
    asked for: then nothing changes, and the next look decides again.
    """
    more = memory - booking.booked
    try:
        with transaction.atomic():
            job = Job.objects.select_for_update().get(pk=booking.attempt.job_id)
            held = Allocation.objects.open().filter(
                pk=booking.pk,
                booked=booking.booked,
                peak=booking.peak,
                attempt__ended_at__isnull=True,
            )
            if not held.update(booked=memory):
                return False
            card = Device.objects.filter(pk=booking.device_id, booked__gte=-more)
            if not card.filter(booked__lte=F("memory_total") - more).update(
                booked=F("booked") + more
            ):
                raise _Stale
            records.note(
                job, booking.attempt, SHRINK if more < 0 else GROW, _told(booking, memory, margin)
            )
    except (_Stale, IntegrityError):
        return False
    booking.booked = memory
    return True


def _told(booking: Allocation, memory: int, margin: float) -> Mapping[str, object]:
    return {
        "key": booking.key,
        "card": str(booking.device),
        "old": booking.booked,
        "new": memory,
        "asked": booking.asked,
        "peak": booking.peak,
        "margin": margin,
    }
