"""Cards and the bookings on them -> `DeviceView`, as placement sees them. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from django.db.models import BooleanField, ExpressionWrapper, Q
from django.utils import timezone

from gpus import readings
from gpus.attribution import charge
from gpus.models import Device
from jobs import sitesettings
from jobs.core.snapshot import DeviceView
from jobs.models import Allocation
from jobs.sitesettings import SiteSettings

STALE_AFTER = timedelta(seconds=readings.STALE_AFTER)
"""A card whose latest reading is older admits nothing."""

_MIB = 1024 * 1024
_SAFETY_FLOOR = 600 * _MIB
_SAFETY_SHARE = 0.02


class Booking(NamedTuple):
    """An open allocation, as far as its card cares."""

    attempt: int
    device: int
    booked: int
    peak: int | None
    exclusive: bool
    sm_share: float

    @property
    def charge(self) -> int:
        """The bytes that it counts for."""
        return charge(self.booked, self.peak)


class Card(NamedTuple):
    """A card with its latest reading, as it is stored."""

    pk: int
    uuid: str
    node: str
    place: int  # its index on the machine
    name: str
    total: int
    mode: str
    weight: float
    drained: bool
    drain_reason: str
    used: int | None
    foreign: int
    fault: str
    is_fresh: bool  # whether its latest reading is


@dataclass(frozen=True, kw_only=True, slots=True)
class CardRow:
    """A card as placement sees it, and the key of its row."""

    pk: int
    view: DeviceView


_COLUMNS = (
    "pk",
    "uuid",
    "node__name",
    "index",
    "name",
    "memory_total",
    "mode",
    "weight",
    "drained",
    "drain_reason",
    "used",
    "foreign",
    "fault",
    "is_fresh",
)


def read(now: datetime) -> list[CardRow]:
    """All cards as placement would see them now, by machine and index."""
    on_card = grouped(bookings(), "device")
    values = sitesettings.current()
    return [
        CardRow(pk=card.pk, view=view(card, on_card.get(card.pk, ()), values))
        for card in cards(now)
    ]


def cards(now: datetime) -> list[Card]:
    """All cards, by machine and index."""
    is_fresh = ExpressionWrapper(Q(read_at__gte=now - STALE_AFTER), BooleanField())
    devices = Device.objects.annotate(is_fresh=is_fresh).order_by("node__name", "index")
    rows: Any = devices.values_list(*_COLUMNS)
    return [
        Card._make((*row, bool(fresh)))  # null where a card was never read
        for *row, fresh in rows.iterator(chunk_size=10_000)
    ]


def bookings() -> list[Booking]:
    """All open allocations, the oldest first."""
    rows: Any = Allocation.objects.open().order_by("pk").values_list(*Booking._fields)
    return [Booking(*row) for row in rows.iterator(chunk_size=10_000)]


def grouped(
    booked: Iterable[Booking], by: Literal["attempt", "device"]
) -> dict[int, list[Booking]]:
    """The bookings by attempt or by card."""
    key = attrgetter(by)
    found: dict[int, list[Booking]] = {}
    for each in booked:
        found.setdefault(key(each), []).append(each)
    return found


def view(card: Card, booked: Iterable[Booking], values: SiteSettings) -> DeviceView:
    """One card with the bookings on it."""
    held = list(booked)
    mode = card.mode or values.mode
    alone = mode == Device.Mode.EXCLUSIVE
    fresh = card.is_fresh and not card.fault
    return DeviceView(
        uuid=card.uuid,
        node=card.node,
        index=card.place,
        name=card.name,
        total=card.total,
        safety=safety(card.total),
        foreign=card.foreign,
        booked=sum(each.charge for each in held),
        measured_free=_measured_free(card) if fresh else None,
        threshold=values.threshold(mode),
        holders=len(held),
        max_holders=1 if alone else values.max_jobs_per_card,
        exclusive=any(each.exclusive for each in held),
        weight=card.weight,
        busy=sum(each.sm_share for each in held),
        max_busy=values.max_busy(mode),
        drained=card.drained,
        drain_reason=card.drain_reason,
    )


def view_of(device: Device, values: SiteSettings, now: datetime) -> DeviceView:
    """One card as placement sees it; its open allocations must have been fetched as `open_allocations`."""
    held: list[Allocation] = device.open_allocations  # type: ignore[attr-defined] # by the caller
    card = Card(
        pk=device.pk,
        uuid=device.uuid,
        node=device.node.name,
        place=device.index,
        name=device.name,
        total=device.memory_total,
        mode=device.mode,
        weight=device.weight,
        drained=device.drained,
        drain_reason=device.drain_reason,
        used=device.used,
        foreign=device.foreign,
        fault=device.fault,
        is_fresh=device.read_at is not None and now - device.read_at <= STALE_AFTER,
    )
    return view(card, [_booking(each) for each in held], values)


def device_views() -> tuple[DeviceView, ...]:
    """The cards as placement would see them now."""
    return tuple(row.view for row in read(timezone.now()))


def safety(total: int) -> int:
    """What is kept free on a card of `total` bytes, for contexts and the driver: 2 %, at least 600 MiB."""
    return min(total, max(_SAFETY_FLOOR, int(total * _SAFETY_SHARE)))


def _booking(each: Allocation) -> Booking:
    return Booking(
        attempt=each.attempt_id,
        device=each.device_id,
        booked=each.booked,
        peak=each.peak,
        exclusive=each.exclusive,
        sm_share=each.sm_share,
    )


def _measured_free(card: Card) -> int | None:
    return None if card.used is None else max(0, card.total - card.used)
