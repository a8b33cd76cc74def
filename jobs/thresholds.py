"""What another `memory_threshold` would do now: the scheduler's own decision on the snapshot of now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jobs import snapshots
from jobs.core.decide import decide
from jobs.core.snapshot import Snapshot
from jobs.models import Job

VALUES = (0.8, 0.85, 0.9, 0.95, 1.0)
MOST_QUEUED = 2_000
"""Waiting jobs with which a page can still wait for five decisions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What one value would do."""

    threshold: float
    starts: int  # waiting jobs that would start now
    headroom: int | None  # bytes that stay unbooked on the smallest card; None without cards


def effects(values: Sequence[float] = VALUES) -> list[Effect]:
    """The effect of each value on all cards; none where the queue is too long to look. Nothing is changed."""
    if Job.objects.queued().count() > MOST_QUEUED:
        return []
    snapshot = snapshots.take().snapshot
    return [effect_of(value, snapshot) for value in values]


def effect_of(threshold: float, snapshot: Snapshot) -> Effect:
    """The effect of one value on a snapshot, in the default order; a policy of the site is not asked."""
    cards = tuple(replace(card, threshold=threshold) for card in snapshot.devices)
    plan = decide(replace(snapshot, devices=cards))
    return Effect(
        threshold=threshold,
        starts=len(plan.starts),
        headroom=min((card.total - int(threshold * card.total) for card in cards), default=None),
    )
