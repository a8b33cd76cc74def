"""Facts -> the inboxes of people and the deliveries of channels, in the caller's transaction.

Whoever finds out something that is no move of a job (an idle card, a quota) calls `tell` or `warn_idle`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from jobs import events, permissions
from jobs.models import Channel, Delivery, Job, Project, User
from jobs.notify import inbox
from jobs.notify.kinds import Fact, Kind
from jobs.notify.timing import due

_MOST_NAMED = 500
"""People whom one hint names; a datagram is short."""


def tell(facts: Sequence[Fact], now: datetime | None = None) -> None:
    """Write all of it, once: a fact of a known key changes nothing."""
    now = now or timezone.now()
    if not facts:
        return
    with transaction.atomic():
        people = _people({user for fact in facts for user in fact.users})
        told = _to_inboxes(facts, people, now)
        _to_channels(facts, people, now)
        transaction.on_commit(lambda: hint(told))


def warn_idle(
    job: Job, *, since: datetime, until: datetime | None = None, now: datetime | None = None
) -> None:
    """Tell the owner that a job keeps its cards idle.

    Args:
        job: the running job.
        since: when its cards were last busy; one idle stretch is told once.
        until: when something is done about it, if anything is.
        now: for tests.
    """
    now = now or timezone.now()
    fact = Fact(
        kind=Kind.IDLE,
        key=f"idle:{job.pk}:{job.epoch}:{since:%Y%m%d%H%M%S}",
        at=now,
        project=job.project_id,
        users=frozenset({job.owner_id}),
        job=job,
        data={
            "seconds": (now - since).total_seconds(),
            "until": until.isoformat() if until else None,
        },
    )
    tell([fact], now)


def hint(users: Iterable[int]) -> None:
    """Have the bells of these people look again; of everybody, where they are many."""
    keys = sorted(users)
    if keys:
        named = keys if len(keys) <= _MOST_NAMED else None
        events.bus().send("web", {"k": "told", "users": named})


def zone_of(channel: Channel) -> ZoneInfo:
    """The time zone of whoever reads it."""
    name = channel.user.timezone if channel.user else channel.timezone
    try:
        return ZoneInfo(name or timezone.get_default_timezone_name())
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _people(keys: Iterable[int]) -> dict[int, User]:
    return User.objects.filter(is_active=True, is_service=False).in_bulk(list(keys))


def _to_inboxes(facts: Sequence[Fact], people: dict[int, User], now: datetime) -> set[int]:
    theirs: dict[int, list[Fact]] = defaultdict(list)
    for fact, user in _pairs(facts, people):
        if fact.kind not in user.muted_kinds:
            theirs[user.pk].append(fact)
    for key, some in theirs.items():
        inbox.put(key, some, now)
    return set(theirs)


def _to_channels(facts: Sequence[Fact], people: dict[int, User], now: datetime) -> None:
    projects = {fact.project for fact in facts}
    channels = Channel.objects.filter(Q(user__in=people.keys()) | Q(project__in=projects))
    of_people: dict[int, list[Channel]] = defaultdict(list)
    of_projects: dict[int, list[Channel]] = defaultdict(list)
    for channel in channels.filter(paused=False).select_related("user"):
        if channel.user_id:
            of_people[channel.user_id].append(channel)
        elif channel.project_id:
            of_projects[channel.project_id].append(channel)
    wanted = [(f, c) for f, user in _pairs(facts, people) for c in of_people[user.pk]]
    wanted += [(fact, channel) for fact in facts for channel in of_projects[fact.project]]
    Delivery.objects.bulk_create(
        (_delivery(fact, channel, now) for fact, channel in wanted if fact.kind in channel.kinds),
        ignore_conflicts=True,
    )


def _pairs(facts: Iterable[Fact], people: dict[int, User]) -> Iterable[tuple[Fact, User]]:
    """Who is told what: nobody is told what they did themselves, or of a project they have left."""
    roles: dict[tuple[int, int], bool] = {}
    for fact in facts:
        for key in fact.users & people.keys():
            belongs = (key, fact.project)
            if belongs not in roles:
                project = Project.objects.get(pk=fact.project)
                roles[belongs] = permissions.role_in(people[key], project) is not None
            if roles[belongs] and fact.actor != key:
                yield fact, people[key]


def _delivery(fact: Fact, channel: Channel, now: datetime) -> Delivery:
    quiet = (
        (channel.quiet_from, channel.quiet_until)
        if channel.quiet_from and channel.quiet_until
        else None
    )
    return Delivery(
        channel=channel,
        kind=fact.kind,
        key=fact.key,
        job=fact.job,
        data=dict(fact.data),
        at=fact.at,
        due_at=due(now, channel.rhythm, quiet, zone_of(channel)),
    )
