"""A person's inbox: one line for each fact, and one line for many of the same kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from jobs.models import Notification
from jobs.notify.kinds import FOLDABLE, Fact

MOST_SINGLE = 10
"""Unread lines of one kind and the last minutes; more are told in one line."""

RECENT = timedelta(minutes=10)
FOLDS_FOR = timedelta(hours=1)
KEPT = timedelta(days=90)


def put(user: int, facts: Iterable[Fact], now: datetime) -> None:
    """Add facts to one inbox. Runs in the transaction that notes how far the events were read."""
    by_kind: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_kind[fact.kind].append(fact)
    for kind, some in by_kind.items():
        if kind not in FOLDABLE or not _fold(user, kind, some, now):
            _add(user, some)


def unread(user: int) -> int:
    """How many lines of this inbox have not been read."""
    return Notification.objects.filter(user=user, read_at=None).count()


def forget_old(now: datetime) -> None:
    """Remove what is older than three months."""
    Notification.objects.filter(at__lt=now - KEPT).delete()


def tally(facts: Iterable[Any], before: dict[str, Any] | None = None) -> dict[str, Any]:
    """What many facts, or rows of them, have in common: how many, and in which states jobs ended."""
    data = before or {"many": 0, "states": {}}
    for fact in facts:
        data["many"] += 1
        if state := fact.data.get("state"):
            data["states"][state] = data["states"].get(state, 0) + 1
    return data


def _fold(user: int, kind: str, facts: Sequence[Fact], now: datetime) -> bool:
    unread_ones = Notification.objects.filter(user=user, kind=kind, read_at=None)
    line = unread_ones.filter(job=None, at__gte=now - FOLDS_FOR).first()
    if line is None:
        recent = unread_ones.filter(at__gte=now - RECENT)[:MOST_SINGLE].count()
        if recent + len(facts) <= MOST_SINGLE:
            return False
        line = Notification(user_id=user, kind=kind, key=f"many:{facts[0].key}", at=now)
    line.data = tally(facts, line.data or None)
    line.save()
    return True


def _add(user: int, facts: Iterable[Fact]) -> None:
    Notification.objects.bulk_create(
        (
            Notification(
                user_id=user,
                kind=fact.kind,
                key=fact.key,
                job=fact.job,
                data=dict(fact.data),
                at=fact.at,
            )
            for fact in facts
        ),
        ignore_conflicts=True,
    )
