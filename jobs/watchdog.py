"""What becomes of a job that is measured above the memory that it booked: a warning, a suspension or its end.

The agent notes since when a booking is exceeded, by what the card lists for the job's own processes and nothing else;
so nobody answers for a neighbour's memory. Here, in the dispatcher, the site's setting `over_memory` is carried out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from jobs import lifecycle, sitesettings, suspension
from jobs.core.states import JobState
from jobs.core.units import format_size
from jobs.models import Allocation, Attempt

MARGIN = 1.1
"""A booking counts as exceeded from so many times its size on."""

PATIENCE = timedelta(seconds=10)
"""How long it must be exceeded without a break."""

WARN, SUSPEND, STOP = sitesettings.OVER_MEMORY

log = logging.getLogger(__name__)


def is_over(used: int | None, booked: int) -> bool:
    """Whether a measurement exceeds its booking; what cannot be measured does not."""
    return used is not None and used > booked * MARGIN


def note(bookings: Iterable[Allocation], used: dict[str, int | None], now: datetime) -> None:
    """Keep since when each of these open bookings is exceeded; `used`: bytes by key, None where the card is silent."""
    for booking in bookings:
        over = is_over(used.get(booking.key), booking.allowed)
        if over != (booking.over_since is not None):
            Allocation.objects.filter(pk=booking.pk).update(over_since=now if over else None)


def act(now: datetime) -> int:
    """Do what the site wants with the running jobs that have exceeded a booking for too long; how many were told."""
    exceeded = Allocation.objects.open().filter(
        over_since__lte=now - PATIENCE, attempt__job__state=JobState.RUNNING
    )
    wish = sitesettings.current().over_memory
    return sum(_act(each, wish) for each in exceeded.select_related("attempt__job", "device"))


def _act(booking: Allocation, wish: str) -> bool:
    attempt, detail = booking.attempt, _detail(booking)
    if wish == STOP:
        told = lifecycle.over_memory(attempt.job, attempt, detail, ends=True)
    elif wish == SUSPEND and _can_give_back(attempt):
        told = lifecycle.over_memory(attempt.job, attempt, detail, ends=False)
    else:
        told = lifecycle.warn_over_memory(attempt, detail)
    if told:
        log.warning("%s: %s", attempt.job, detail)
    return told


def _can_give_back(attempt: Attempt) -> bool:
    return suspension.way_of(attempt.job, attempt) is not suspension.Way.NONE


def _detail(booking: Allocation) -> str:
    """How much, where, and what to do."""
    words = {
        "booked": format_size(booking.allowed),
        "card": f"gpu{booking.device.index}",
        "peak": format_size(booking.peak or 0),
    }
    return (
        _(
            "It booked %(booked)s on %(card)s and was measured at %(peak)s. Raise min_memory, or make the job smaller."
        )
        % words
    )
