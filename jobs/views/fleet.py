"""The cards as one viewer may see them: who holds what, what is used of it, and what is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from django.db.models import Prefetch
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from gpus.models import Device, Node
from gpus.readings import STALE_AFTER
from jobs import live, sitesettings, snapshots
from jobs.core.constraints import room
from jobs.models import Allocation, Job, User


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One booking on a card. `job` is None where the viewer may not know whose it is."""

    key: str
    label: str
    owner: str
    url: str
    job: Job | None
    booked: int
    used: int | None
    x: str  # per cent of the card's memory, as SVG writes them
    used_width: str
    tail_x: str
    tail_width: str

    @property
    def colour(self) -> int | None:
        """The job's colour slot; none for a job that stays anonymous."""
        return self.job.colour if self.job else None


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One card."""

    device: Device
    segments: tuple[Segment, ...]
    name: str  # the card's model, without its maker
    room: int  # what one more job may book here now
    threshold_x: str  # where the memory threshold lies: nothing is placed above it
    state: str  # ok, stale, lost, drained
    words: str  # the state in words; empty where all is well
    foreign_x: str
    foreign_width: str

    @property
    def summary(self) -> str:
        """The bar in one sentence, for those who do not see it."""
        parts = [
            _("%(job)s %(size)s") % {"job": each.label, "size": f"{each.booked / 2**30:.1f} GiB"}
            for each in self.segments
        ]
        if self.device.foreign:
            parts.append(
                _("outside the queue %(size)s") % {"size": f"{self.device.foreign / 2**30:.1f} GiB"}
            )
        parts.append(_("room for %(size)s") % {"size": f"{self.room / 2**30:.1f} GiB"})
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class NodeTiles:
    """The cards of one machine."""

    node: Node
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, kw_only=True)
class FleetView:
    """All cards, and the figures of the status line."""

    nodes: tuple[NodeTiles, ...]
    cards: int
    in_use: int
    largest: Tile | None  # the card that has room for the largest job


def fleet_for(viewer: User) -> FleetView:
    """The fleet, in three queries; names only what `viewer` may see."""
    now, values = timezone.now(), sitesettings.current()
    devices = list(_devices())
    names = _Names(viewer, devices, open_to_all=values.queue_is_open)
    used = _used_now()
    tiles = [_tile(device, values, now, names, used) for device in devices]
    usable = [tile for tile in tiles if tile.state == "ok"]
    return FleetView(
        nodes=tuple(
            NodeTiles(node=node, tiles=tuple(group))
            for node, group in groupby(tiles, key=lambda tile: tile.device.node)
        ),
        cards=len(tiles),
        in_use=sum(bool(tile.segments) for tile in tiles),
        largest=max(usable, key=lambda tile: tile.room, default=None),
    )


class _Names:
    """Which of the bookings' jobs the viewer may see, and which only by name."""

    def __init__(self, viewer: User, devices: Iterable[Device], *, open_to_all: bool) -> None:
        ids = {each.attempt.job_id for device in devices for each in _open(device)}
        visible = Job.objects.visible_to(viewer).filter(pk__in=ids)
        self._visible = set(visible.values_list("pk", flat=True))
        self._open_to_all = open_to_all

    def sees(self, job: Job) -> bool:
        return job.pk in self._visible

    def label(self, job: Job) -> str:
        return str(job) if self.sees(job) or self._open_to_all else _("another project")

    def owner(self, job: Job) -> str:
        return job.owner.username if self.sees(job) or self._open_to_all else ""


def _devices() -> Iterable[Device]:
    bookings = (
        Allocation.objects.open()
        .select_related("attempt__job__owner", "attempt__job__project")
        .order_by("created_at", "pk")
    )
    return (
        Device.objects.select_related("node")
        .prefetch_related(Prefetch("allocations", queryset=bookings, to_attr="open_allocations"))
        .order_by("node__name", "index")
    )


def _open(device: Device) -> list[Allocation]:
    found: list[Allocation] = device.open_allocations  # type: ignore[attr-defined] # by _devices
    return found


def _tile(
    device: Device,
    values: sitesettings.SiteSettings,
    now: datetime,
    names: _Names,
    used: Mapping[str, int | None],
) -> Tile:
    segments, end = [], 0
    for booking in _open(device):
        amount = used.get(booking.key)
        segments.append(_segment(booking, names, amount, start=end, total=device.memory_total))
        end += max(booking.booked, amount or 0)
    state, words = _state(device, now)
    view = snapshots.device_view(device, values, now)
    return Tile(
        device=device,
        segments=tuple(segments),
        name=device.name.removeprefix("NVIDIA ").removeprefix("GeForce "),
        room=room(view),
        threshold_x=f"{100 * view.threshold:.2f}%",
        state=state,
        words=words,
        foreign_x=_share(end, device.memory_total),
        foreign_width=_share(device.foreign, device.memory_total),
    )


def _segment(
    booking: Allocation, names: _Names, used: int | None, *, start: int, total: int
) -> Segment:
    job = booking.attempt.job
    solid = min(used or 0, total - start)
    tail = max(0, booking.booked - solid)
    return Segment(
        key=booking.key,
        label=names.label(job),
        owner=names.owner(job),
        url=reverse("job", args=[job.pk]) if names.sees(job) else "",
        job=job if names.sees(job) else None,
        booked=booking.booked,
        used=used,
        x=_share(start, total),
        used_width=_share(solid, total),
        tail_x=_share(start + solid, total),
        tail_width=_share(tail, total),
    )


def _state(device: Device, now: datetime) -> tuple[str, str]:
    if device.fault:
        return "lost", device.fault
    if device.read_at is None or now - device.read_at > snapshots.STALE_AFTER:
        return "stale", _(
            "No fresh reading: nothing new is placed here until the agent reports again."
        )
    if device.drained:
        return "drained", device.drain_reason or _("Out of service: takes no new jobs.")
    return "ok", ""


def _used_now() -> Mapping[str, int | None]:
    """What each booking uses, by its key, as the latest live message says; empty where that is old."""
    message = live.LATEST.readings
    if message is None or timezone.now().timestamp() - message["at"] > STALE_AFTER:
        return {}
    return {key: used for device in message["devices"] for key, _booked, used in device["segs"]}


def _share(part: int, total: int) -> str:
    return f"{100 * part / total:.2f}%" if total else "0%"
