"""What each card was on each day: in service, booked, free while somebody waited, busy, used by others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db.models import Q

from gpus.models import Device, Reading
from jobs.core.reports.spans import Days, Span, by_day, joined, length, without
from jobs.core.reports.waiting import Found, Spell, free_while_waiting
from jobs.ledger.bookings import HOUR_S
from jobs.ledger.days import SECOND, micro
from jobs.ledger.queued import spells_by_day
from jobs.models import Allocation, OutOfService

FOREIGN_MOST = 0.05
"""A card of which others used more than this part in an hour does not count as free in that hour."""


class CardPart(NamedTuple):
    """One card on one day; the fields are those of `jobs.models.CardDay`."""

    day: int
    device: int
    service: int
    occupied: int
    waited: int
    hours: int
    busy: float
    memory_hours: int
    used: int
    foreign: int


class WaitedPart(NamedTuple):
    """Card time that was free on one day while this job waited that could have used it."""

    day: int
    job: str
    time: int


@dataclass(slots=True)
class _Seen:
    """What is known of one card on one day."""

    on: list[Span] = field(default_factory=list)  # hours with a reading
    crowded: list[Span] = field(default_factory=list)  # of these: with much memory of others
    off: list[Span] = field(default_factory=list)
    booked: list[Span] = field(default_factory=list)
    hours: int = 0
    busy: float = 0.0
    memory_hours: int = 0
    used: int = 0
    foreign: int = 0

    @property
    def service(self) -> list[Span]:
        return without(joined(self.on), joined(self.off))


_Cards = dict[tuple[int, int], _Seen]  # by day and card


def card_parts(days: Days, now: datetime) -> tuple[list[CardPart], list[WaitedPart]]:
    """Both for these days, up to `now`."""
    since = datetime.fromtimestamp(days.begins[0] // SECOND, UTC)
    cards = list(Device.objects.order_by("pk"))
    seen: _Cards = defaultdict(_Seen)
    _read(seen, days, min(micro(now), days.begins[-1]), cards)
    _outages(seen, days, since, now)
    _bookings(seen, days, since, now)
    spells = spells_by_day(days, since, now, cards)
    parts: list[CardPart] = []
    waited: list[WaitedPart] = []
    for day in sorted({day for day, _card in seen}):
        found = _swept(
            {pk: seen[day, pk] for d, pk in list(seen) if d == day}, cards, spells.get(day, ())
        )
        parts += [
            _part(day, card.pk, seen[day, card.pk], found.cards.get(place, 0))
            for place, card in enumerate(cards)
            if (day, card.pk) in seen
        ]
        waited += [WaitedPart(day, job, time) for job, time in found.jobs.items()]
    return parts, waited


def _part(day: int, device: int, seen: _Seen, waited: int) -> CardPart:
    service = seen.service
    occupied = length(service) - length(without(service, joined(seen.booked)))
    return CardPart(
        day,
        device,
        length(service),
        occupied,
        waited,
        seen.hours,
        seen.busy,
        seen.memory_hours,
        seen.used,
        seen.foreign,
    )


def _swept(seen: Mapping[int, _Seen], cards: Sequence[Device], spells: Sequence[Spell]) -> Found:
    if not spells:
        return Found()
    nodes: dict[int, int] = defaultdict(int)
    free = {}
    for place, card in enumerate(cards):
        nodes[card.node_id] |= 1 << place
        if card.pk in seen:
            of = seen[card.pk]
            free[place] = without(of.service, joined([*of.booked, *of.crowded]))
    return free_while_waiting(free, list(nodes.values()), spells)


def _read(seen: _Cards, days: Days, until: int, cards: Sequence[Device]) -> None:
    """The hourly readings; an hour belongs to the day in which it begins."""
    total = {card.pk: card.memory_total for card in cards}
    first, last = days.begins[0] // SECOND, -(-until // SECOND)
    rows = Reading.objects.filter(seconds=HOUR_S, start__gt=first - HOUR_S, start__lt=last)
    columns = ("device", "start", "used_mean", "foreign_max", "busy_mean")
    for device, start, used, foreign, busy in rows.values_list(*columns):
        begun = start * SECOND
        span = (begun, min(begun + HOUR_S * SECOND, until))
        for day, part in by_day(span, days):
            seen[day, device].on.append(part)
            if (foreign or 0) > FOREIGN_MOST * total[device]:
                seen[day, device].crowded.append(part)
        if days.covers(begun):
            _count(seen[days.of(begun), device], used, foreign, busy)


def _count(of: _Seen, used: int | None, foreign: int | None, busy: float | None) -> None:
    if busy is not None:
        of.hours += 1
        of.busy += busy
    if used is not None:
        of.memory_hours += 1
        of.used += used
    of.foreign += foreign or 0


def _outages(seen: _Cards, days: Days, since: datetime, now: datetime) -> None:
    still = Q(ended=None) | Q(ended__gt=since)
    for device, begun, ended in OutOfService.objects.filter(still).values_list(
        "device", "begun", "ended"
    ):
        for day, span in by_day((micro(begun), micro(ended or now)), days):
            seen[day, device].off.append(span)


def _bookings(seen: _Cards, days: Days, since: datetime, now: datetime) -> None:
    held = Q(released_at=None) | Q(released_at__gt=since)
    rows: Any = Allocation.objects.filter(held).values_list("device", "created_at", "released_at")
    for device, begun, ended in rows.iterator(chunk_size=10_000):
        for day, span in by_day((micro(begun), micro(ended or now)), days):
            seen[day, device].booked.append(span)
