"""Deliveries of one channel -> one message, in the channel's language and time zone."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from jobs.core.states import JobState
from jobs.models import Channel, Delivery, Job
from jobs.notify import sentences
from jobs.notify.inbox import tally
from jobs.notify.message import Message
from jobs.notify.telling import zone_of
from jobs.signin import site_address

MOST_LINES = 10
"""Of one kind that a message tells one by one."""

MOST_ITEMS = 200
"""That a webhook gets one by one."""


def compose(channel: Channel, deliveries: Sequence[Delivery]) -> Message:
    """All of them in one message: alone a sentence, together a line for each, many a sentence with their number."""
    with translation.override(language_of(channel)), timezone.override(zone_of(channel)):
        told = sentences.in_words(deliveries, _visible(channel))
        if len(told) == 1:
            title, lines = told[0].sentence, []
        else:
            title, lines = _title(deliveries), _lines(told)
        return Message(
            title=title,
            text="\n".join([*lines, _link(told)]),
            kind=deliveries[0].kind if len({each.kind for each in deliveries}) == 1 else "digest",
            items=tuple(_item(each) for each in told[:MOST_ITEMS]),
            id=_id(channel, deliveries),
        )


def test_message(channel: Channel) -> Message:
    """What the button "send a test message" sends."""
    with translation.override(language_of(channel)):
        return Message(
            title=_("A test message: “%(name)s” works.") % {"name": channel.name},
            text=site_address(),
            kind="test",
            id=f"test-{channel.pk}",
        )


def language_of(channel: Channel) -> str:
    """The language of whoever reads it."""
    chosen = channel.user.language if channel.user else channel.language
    return chosen or settings.LANGUAGE_CODE


def _visible(channel: Channel) -> QuerySet[Job]:
    if channel.user:
        return Job.objects.visible_to(channel.user)
    return Job.objects.filter(project=channel.project_id)


def _title(deliveries: Sequence[Delivery]) -> str:
    by_kind = _by_kind(deliveries)
    return " ".join(_summary(kind, some) for kind, some in by_kind.items())


def _summary(kind: str, some: Sequence[Any]) -> str:
    data = tally(some)
    return sentences.many(kind, data["many"], data["states"])


def _lines(told: Sequence[sentences.Told]) -> list[str]:
    """A line for each; of a kind with too many, those that failed, and how many more there are."""
    lines = []
    for some in _by_kind([each.row for each in told], told).values():
        worst_first = sorted(some, key=lambda each: each.row.data.get("state") != JobState.FAILED)
        shown = worst_first[:MOST_LINES]
        lines += [f"• {each.sentence}" for each in shown]
        if len(some) > len(shown):
            lines.append(_("• and %(count)s more") % {"count": f"{len(some) - len(shown):,}"})
    return lines


def _by_kind(rows: Sequence[Any], values: Sequence[Any] | None = None) -> Mapping[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for row, value in zip(rows, values or rows, strict=True):
        found[row.kind].append(value)
    return found


def _link(told: Sequence[sentences.Told]) -> str:
    job = told[0].job if len(told) == 1 else None
    path = reverse("job", args=[job.pk]) if job else reverse("job-list")
    return f"{site_address()}{path}"


def _item(told: sentences.Told) -> dict[str, Any]:
    """One delivery for programs."""
    row, job = told.row, told.job
    return {
        "kind": row.kind,
        "at": row.at.isoformat(),
        "text": told.sentence,
        "job": {"id": job.pk, "task_id": job.task_id, "run": job.run, "owner": job.owner.username}
        if job
        else None,
        "state": row.data.get("state"),
        "reason": row.data.get("reason"),
        "url": f"{site_address()}{reverse('job', args=[job.pk])}" if job else None,
    }


def _id(channel: Channel, deliveries: Sequence[Delivery]) -> str:
    keys = "\n".join(sorted(each.key for each in deliveries))
    return hashlib.sha256(f"{channel.pk}\n{keys}".encode()).hexdigest()[:24]
