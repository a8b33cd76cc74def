"""Dynamic sharding, carried out: reads bookings and readings, asks the core, and changes what it says.

Once in each full cycle, before anything is decided, so that the scheduler decides from the bookings of now. Killed
between two steps it begins anew from the rows: every step is guarded, and none depends on another.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from gpus.attribution import charge
from gpus.models import Device
from jobs import rebooking, sitesettings
from jobs.cardviews import STALE_AFTER, safety
from jobs.core import sharding as core
from jobs.core.plan import Preempt
from jobs.core.sharding import Change, ShardingRules, Share, Steady, Verdict
from jobs.core.states import JobState
from jobs.mirror import Mirror
from jobs.models import Allocation
from jobs.sitesettings import SiteSettings
from jobs.trials import Lossy, Trials

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Short:
    """A running job that uses so many bytes more than its card has for it."""

    uuid: str
    job: str
    memory: int


class Sharding:
    """The dynamic sharding of one dispatcher."""

    def __init__(self) -> None:
        self._trials = Trials()
        self._short: list[Short] = []
        self._lossy: list[Lossy] = []
        self.demands: dict[str, dict[str, object]] = {}  # what preemptions tell besides, by job
        self._told: set[str] = set()  # jobs of which the log says already that nobody gives way

    def keep_books(self, now: datetime) -> None:
        """Let the bookings follow what was measured; remember who is short of memory, and what does not pay."""
        values = sitesettings.current()
        devices = {device.pk: device for device in _devices_in_mode(values)}
        held = _bookings(devices.keys()) if devices else []
        fresh = [
            (devices[pk], [each for each in held if each.device_id == pk])
            for pk in devices
            if _is_fresh(devices[pk], now)
        ]
        self._short = [
            each
            for device, bookings in fresh
            for each in _follow(device, bookings, values.sharding_rules, now)
        ]
        self._lossy = self._trials.look(fresh)
        self._told &= {each.job for each in self._short}

    def relieve(self, mirror: Mirror, now: datetime) -> list[Preempt]:
        """Who gives way for what `keep_books` has found; counted in the mirror as if it were carried out."""
        told: list[Preempt] = []
        self.demands = {}
        for short in self._short:
            found = mirror.relieve(short.uuid, short.job, short.memory, now)
            told += found
            if not found:
                self._warn(short, mirror)
        for lossy in self._lossy:
            found = mirror.unpack(lossy.uuid, now)
            if found:
                self._trials.note(lossy, found, mirror.history, now)
            noted = {"demands": dict(lossy.demands), "total": round(lossy.total, 3)}
            self.demands |= {each.job: noted for each in found}
            told += found
        return told

    def _warn(self, short: Short, mirror: Mirror) -> None:
        if short.job in self._told or mirror.is_being_relieved(short.uuid):
            return
        self._told.add(short.job)
        log.warning(
            "The job %s uses %d bytes more than its card %s has for it, and nobody there may give way.",
            short.job,
            short.memory,
            short.uuid,
        )


def _follow(
    device: Device, bookings: Sequence[Allocation], rules: ShardingRules, now: datetime
) -> Iterable[Short]:
    """Change the bookings of one card as the core says."""
    _note_steadiness(bookings, now)
    space = device.memory_total - safety(device.memory_total) - device.foreign
    shares = [_share(booking) for booking in bookings]
    verdicts = core.follow(space, shares, rules, now.timestamp())
    by_key = {booking.key: booking for booking in bookings}
    for verdict in sorted(verdicts, key=lambda each: each.change is Change.GROW):
        _carry_out(verdict, by_key[verdict.key], rules)
    return [
        Short(uuid=device.uuid, job=by_key[each.key].attempt.job_id, memory=each.short)
        for each in verdicts
        if each.short
    ]


def _carry_out(verdict: Verdict, booking: Allocation, rules: ShardingRules) -> None:
    if verdict.change is Change.KEEP or booking.exclusive:
        return
    before = booking.booked
    if rebooking.rebook(booking, verdict.memory, margin=rules.margin):
        log.info(
            "The booking of %s on %s is %d bytes instead of %d.",
            booking.attempt,
            booking.device,
            verdict.memory,
            before,
        )


def _note_steadiness(bookings: Iterable[Allocation], now: datetime) -> None:
    for booking in bookings:
        if not booking.peak:
            continue
        known = _steady(booking)
        steady = core.steadied(known, booking.peak, now.timestamp(), _step(booking))
        if steady == known:
            continue
        since = booking.steady_since if known is not None and steady.since == known.since else now
        booking.steady_peak, booking.steady_step = steady.peak, steady.step
        booking.steady_since = since
        Allocation.objects.open().filter(pk=booking.pk).update(
            steady_peak=steady.peak, steady_since=since, steady_step=steady.step
        )


def _share(booking: Allocation) -> Share:
    job = booking.attempt.job
    runs = job.state == JobState.RUNNING and not booking.exclusive
    return Share(
        key=booking.key,
        booked=booking.booked,
        charge=charge(booking.booked, booking.peak),
        peak=booking.peak,
        steady=_steady(booking),
        step=_step(booking),
        tells_steps=bool(job.spec.get("llamafactory")),
        runs_since=job.state_since.timestamp() if runs else None,
    )


def _steady(booking: Allocation) -> Steady | None:
    if booking.steady_peak is None or booking.steady_since is None:
        return None
    return Steady(
        peak=booking.steady_peak,
        since=booking.steady_since.timestamp(),
        step=booking.steady_step,
    )


def _step(booking: Allocation) -> int | None:
    """What the training of this attempt has reached; what an earlier attempt left behind does not count."""
    progress, begun = booking.attempt.job.progress, booking.attempt.started_at
    step, at = progress.get("step"), progress.get("at")
    if begun is None or not isinstance(at, int | float) or at < begun.timestamp():
        return None
    return step if isinstance(step, int) else None


def _devices_in_mode(values: SiteSettings) -> Iterable[Device]:
    chosen = Q(mode=Device.Mode.DYNAMIC_SHARDING)
    if values.mode == Device.Mode.DYNAMIC_SHARDING:
        chosen |= Q(mode="")
    return Device.objects.filter(chosen).select_related("node").order_by("pk")


def _is_fresh(device: Device, now: datetime) -> bool:
    """Whether what the card holds is known: without that, no booking changes."""
    age = now - device.read_at if device.read_at else timedelta.max
    return age <= STALE_AFTER and not device.fault and device.used is not None


def _bookings(devices: Collection[int]) -> list[Allocation]:
    return list(
        Allocation.objects.open()
        .filter(device__in=list(devices))
        .select_related("attempt__job", "device__node")
        .defer("attempt__job__wait_numbers", "attempt__job__detail")
        .order_by("pk")
    )
