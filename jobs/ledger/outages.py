"""When cards took no jobs, drained or with a fault: noted once a minute, whoever did it and however."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Q

from gpus.models import Device
from jobs.models import OutOfService


def note(now: datetime) -> None:
    """Begin and end the stretches of time. Safe to repeat."""
    with transaction.atomic():
        out = set(
            Device.objects.filter(Q(drained=True) | ~Q(fault="")).values_list("pk", flat=True)
        )
        known = OutOfService.objects.filter(ended=None)
        known.exclude(device__in=out).update(ended=now)
        new = out - set(known.values_list("device", flat=True))
        OutOfService.objects.bulk_create(
            OutOfService(device_id=device, begun=now) for device in new
        )
