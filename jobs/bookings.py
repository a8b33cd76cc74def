"""Bookings of memory on cards: made all or none, and given back once. Called by `jobs/lifecycle.py` in its moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db.models import F

from gpus.models import Device
from jobs.models import Allocation, Attempt, Job

_MOST_COLOURS = 64


def make(
    attempt: Attempt, placements: Sequence[tuple[Device, int]], sm_share: float, now: datetime
) -> bool:
    """Book these bytes on these cards; False where one has less left, and then the caller undoes all of it."""
    if not all(_book(device, memory) for device, memory in placements):
        return False
    Allocation.objects.bulk_create(
        Allocation(
            attempt=attempt,
            device=device,
            booked=memory,
            asked=memory,
            sm_share=sm_share,
            exclusive=attempt.job.exclusive,
            created_at=now,
        )
        for device, memory in placements
    )
    return True


def open_ones(attempt: Attempt) -> list[Allocation]:
    """What the attempt holds now, with the cards."""
    return list(attempt.allocations.open().select_related("device"))


def release(attempt: Attempt, held: Iterable[Allocation], now: datetime) -> None:
    """Give back what the attempt holds."""
    for booking in held:
        Device.objects.filter(pk=booking.device_id).update(booked=F("booked") - booking.booked)
    attempt.allocations.open().update(released_at=now)


def free_colour(devices: Sequence[Device]) -> int:
    """The lowest colour that no job on these cards has now."""
    neighbours = Job.objects.filter(
        attempts__ended_at=None, attempts__allocations__device__in=devices
    )
    taken = set(neighbours.exclude(colour=None).values_list("colour", flat=True)[:_MOST_COLOURS])
    return next((slot for slot in range(_MOST_COLOURS) if slot not in taken), 0)


def _book(device: Device, memory: int) -> bool:
    room = Device.objects.filter(
        pk=device.pk, drained=False, booked__lte=F("memory_total") - memory
    )
    return bool(room.update(booked=F("booked") + memory))
