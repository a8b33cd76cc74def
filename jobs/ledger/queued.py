"""Who was in the queue when, and which cards would have done, from the event rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Q

from gpus.models import Device
from jobs.core.gputypes import matches_gpu_type
from jobs.core.reports.spans import Days, by_day
from jobs.core.reports.waiting import Spell, Want
from jobs.core.states import JobState
from jobs.ledger.days import micro
from jobs.models import Job, JobEvent
from jobs.querysets import in_parts

_NEEDS = ("pk", "gpu_type", "min_memory", "gpus", "nodes")


def spells_by_day(
    days: Days, since: datetime, now: datetime, cards: Sequence[Device]
) -> dict[int, list[Spell]]:
    """The jobs that were queued, cut at midnights; `since` is when the first day begins.

    `cards` are all cards; a want's bits are their places.
    """
    wants = _Wants(cards)
    found: dict[int, list[Spell]] = defaultdict(list)
    for job, want, begun, ended in (*_left(wants, since), *_still(wants, now)):
        for day, (first, last) in by_day((begun, ended), days):
            found[day].append(Spell(job, want, first, last))
    return found


_Told = tuple[str, Want, int, int]


def _still(wants: _Wants, now: datetime) -> Iterator[_Told]:
    """Those that wait now."""
    rows: Any = Job.objects.queued().values_list("state_since", *_NEEDS)
    for since, job, *needs in rows.iterator(chunk_size=10_000):
        yield job, wants.of(*needs), micro(since), micro(now)


def _left(wants: _Wants, since: datetime) -> Iterator[_Told]:
    """Those that have left the queue since then."""
    out: Any = JobEvent.objects.filter(old_state=JobState.QUEUED, at__gte=since)
    jobs = set(out.exclude(new_state=JobState.QUEUED).values_list("job", flat=True))
    turns = Q(old_state=JobState.QUEUED) ^ Q(new_state=JobState.QUEUED)
    for part in in_parts(sorted(jobs)):
        rows: Any = Job.objects.filter(pk__in=part).values_list(*_NEEDS)
        needs = {job: wants.of(*asked) for job, *asked in rows}
        events: Any = JobEvent.objects.filter(turns, job__in=part).order_by("pk")
        entered: dict[str, int] = {}
        for job, at, new in events.values_list("job", "at", "new_state"):
            if new == JobState.QUEUED:
                entered[job] = micro(at)
            elif job in entered:
                yield job, needs[job], entered.pop(job), micro(at)


class _Wants:
    """What jobs ask for, by which cards would do."""

    def __init__(self, cards: Sequence[Device]) -> None:
        self._cards = cards
        self._known: dict[tuple[str, int], int] = {}

    def of(self, gpu_type: str, memory: int, gpus: int, nodes: int) -> Want:
        """The want of a job."""
        key = gpu_type, memory
        if key not in self._known:
            fits = (self._fits(card, gpu_type, memory) for card in self._cards)
            self._known[key] = sum(1 << place for place, fit in enumerate(fits) if fit)
        return Want(self._known[key], gpus, nodes)

    @staticmethod
    def _fits(card: Device, gpu_type: str, memory: int) -> bool:
        room = card.memory_total - card.memory_reserved
        return memory <= room and matches_gpu_type(gpu_type or None, card.name, card.memory_total)
