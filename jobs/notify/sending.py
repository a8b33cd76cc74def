"""What is due goes out: one message a channel and look, at least once, with a bounded number of tries.

Runs in the background (django-q2), never where a request or the dispatcher waits. Two at once do no harm: a channel is
claimed for a minute before anything is sent to it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from jobs.models import Channel, Delivery
from jobs.notify import composing
from jobs.notify.message import Message, SendFailed
from jobs.notify.sealing import CannotUnseal, unseal
from jobs.notify.senders import SENDERS

CLAIM = timedelta(seconds=60)
REST = timedelta(seconds=30)
"""Between two messages to one channel; DingTalk's robots take 20 a minute, and nobody wants to read so many."""

BACKOFF = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 180))
MOST_ATTEMPTS = len(BACKOFF) + 1
"""After which a delivery is given up: four hours and a half."""

MOST_TOGETHER = 5_000  # deliveries in one message
BUDGET_S = 60.0  # for one call; the rest waits for the next
KEPT = timedelta(days=7)

log = logging.getLogger(__name__)


def is_due(now: datetime) -> bool:
    """Whether there is anything to send."""
    return _channels(now).exists()


def send_due() -> int:
    """Send what is due; how many messages arrived."""
    end, arrived = time.monotonic() + BUDGET_S, 0
    for channel in _channels(timezone.now()).select_related("user", "project"):
        if time.monotonic() > end:
            break
        arrived += _send(channel)
    return arrived


def send_test(channel: Channel) -> str:
    """Send a test message now; "" where it arrived, else one sentence that says why not."""
    error = _try(channel, composing.test_message(channel))
    now = timezone.now()
    if error:
        Channel.objects.filter(pk=channel.pk).update(last_error=error, last_error_at=now)
    else:
        _arrived(channel, now)
    return error


def forget_old(now: datetime) -> None:
    """Remove deliveries that were done a week ago."""
    Delivery.objects.filter(done_at__lt=now - KEPT).delete()


def _channels(now: datetime) -> QuerySet[Channel]:
    return (
        Channel.objects.filter(
            Q(next_at=None) | Q(next_at__lte=now),
            Q(claimed_until=None) | Q(claimed_until__lte=now),
            paused=False,
            deliveries__done_at=None,
            deliveries__due_at__lte=now,
        )
        .distinct()
        .order_by("pk")
    )


def _send(channel: Channel) -> bool:
    now = timezone.now()
    free = Channel.objects.filter(Q(claimed_until=None) | Q(claimed_until__lte=now), pk=channel.pk)
    if not free.update(claimed_until=now + CLAIM):
        return False
    waiting = channel.deliveries.filter(done_at=None, due_at__lte=now)
    deliveries = list(waiting.select_related("job__owner")[:MOST_TOGETHER])
    if not deliveries:  # another one was faster
        Channel.objects.filter(pk=channel.pk).update(claimed_until=None)
        return False
    error = _try(channel, composing.compose(channel, deliveries))
    if error:
        _failed(channel, deliveries, error, timezone.now())
        return False
    _done([each.pk for each in deliveries], timezone.now())
    _arrived(channel, timezone.now())
    return True


def _try(channel: Channel, message: Message) -> str:
    """Send it; the reason why it did not arrive, without anything secret."""
    with translation.override(composing.language_of(channel)):
        try:
            target = unseal(channel.sealed)
        except CannotUnseal:
            return _(
                "The address cannot be read any more: the site's key has changed. Add it anew."
            )
        try:
            SENDERS[channel.service](target, message)
        except SendFailed as failed:
            return target.scrubbed(str(failed))[:300]
        except Exception as error:  # noqa: BLE001 - whatever a library does, the other channels go on
            # not the traceback: its lines may hold the address
            log.error("Sending to channel %s failed with %s.", channel.pk, type(error).__name__)  # noqa: TRY400
            words = _("It could not be sent (%(error)s).") % {"error": type(error).__name__}
            return str(words)
    return ""


def _arrived(channel: Channel, now: datetime) -> None:
    Channel.objects.filter(pk=channel.pk).update(
        claimed_until=None, next_at=now + REST, failures=0, last_sent_at=now, last_error=""
    )


def _failed(channel: Channel, deliveries: Sequence[Delivery], error: str, now: datetime) -> None:
    wait = BACKOFF[min(channel.failures, len(BACKOFF) - 1)]
    Channel.objects.filter(pk=channel.pk).update(
        claimed_until=None,
        next_at=now + wait,
        failures=min(channel.failures + 1, 1_000),
        last_error=error,
        last_error_at=now,
    )
    these = Delivery.objects.filter(pk__in=[each.pk for each in deliveries])
    these.update(attempts=F("attempts") + 1)
    these.filter(attempts__gte=MOST_ATTEMPTS).update(done_at=now, given_up=True)


def _done(keys: Sequence[int], now: datetime) -> None:
    Delivery.objects.filter(pk__in=keys).update(done_at=now)
