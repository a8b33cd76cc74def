"""A job whose memory is swapped out has its turn: back to its own card, where that has room.

The scheduler may have found another card for it. Its memory fits only where it came from, so a training that goes on
from a checkpoint waits for that card a while, and then goes on elsewhere; a command would lose everything, and waits.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.utils import timezone

from jobs import cardviews, lifecycle, suspension
from jobs.core.snapshot import DeviceView
from jobs.models import Allocation, Attempt, Job, Swap

PATIENCE = timedelta(minutes=10)
"""How long a training waits for its own card while another one is offered to it."""


def take_back(job: Job, attempt: Attempt, offered: Collection[str]) -> bool:
    """Book its card again, if it may have it now; whether it has."""
    if attempt.swap != Swap.SWAPPED:
        return False  # what is left of it is being ended
    last = attempt.allocations.select_related("device").latest("pk")
    if last.device.uuid in offered or _has_room(last):
        return lifecycle.take_back(job, attempt, last.device, last.booked)
    if _gives_up(job, last):
        Attempt.objects.open().filter(pk=attempt.pk).update(swap=Swap.BROKEN)
    return False


def _has_room(last: Allocation) -> bool:
    views = (view for view in cardviews.device_views() if view.uuid == last.device.uuid)
    return any(_fits(view, last) for view in views)


def _fits(card: DeviceView, last: Allocation) -> bool:
    if card.drained or card.exclusive or (last.exclusive and card.holders):
        return False
    if card.max_holders is not None and card.holders >= card.max_holders:
        return False
    within = card.planned + last.booked <= card.threshold * card.total
    return within and last.booked <= min(card.free, card.measured_free or 0)


def _gives_up(job: Job, last: Allocation) -> bool:
    if not suspension.goes_on(job):
        return False
    return last.device.drained or timezone.now() - job.state_since > PATIENCE
