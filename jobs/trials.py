"""Trial of packings, carried out: step rates from the jobs' progress, alone and together, card by card.

The rates of now live in memory: a dispatcher that takes over measures a new window. What a job reached alone is kept
with its attempt, for others of its kind.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from gpus.models import Device
from jobs.core import packing
from jobs.core.packing import Paces, Rate
from jobs.core.plan import Preempt
from jobs.core.simulation.slowdown import demand_of
from jobs.core.states import JobState
from jobs.history import History
from jobs.models import Allocation, Attempt

_RUNS = 3  # the newest of a kind from which its rate alone is taken
_HARDLY = 0.05  # a rate that differs by less stays as it was

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lossy:
    """A card whose jobs get less done together than one alone."""

    uuid: str
    total: float  # the sum of their rates, each in those of the job alone
    demands: Mapping[str, float]  # kind (template) -> the SM demand that explains it
    jobs: tuple[str, ...]


class Trials:
    """Watches the step rates of the jobs on shared cards."""

    def __init__(self, window: float = packing.WINDOW) -> None:
        self._paces = Paces(window)
        self._told: set[tuple[str, ...]] = set()  # of whom the log says it already

    def look(self, cards: Sequence[tuple[Device, Sequence[Allocation]]]) -> list[Lossy]:
        """Take over what has been reached; the cards whose packing does not pay.

        A card where a job has several cards, tells no steps or was never measured alone is not judged.
        """
        computing = {device.uuid: _computing(bookings) for device, bookings in cards}
        for bookings in computing.values():
            for booking in bookings:
                self._see(booking, bookings)
        self._paces.keep_only({each.attempt.token for some in computing.values() for each in some})
        found = [
            lossy
            for device, _bookings in cards
            if (lossy := self._judged(device, computing[device.uuid])) is not None
        ]
        for lossy in found:
            if lossy.jobs not in self._told:
                log.info("%s get %.2f of one job done on %s.", lossy.jobs, lossy.total, lossy.uuid)
        self._told = {lossy.jobs for lossy in found}
        return found

    def note(self, lossy: Lossy, told: Sequence[Preempt], history: History, now: datetime) -> None:
        """Remember that these kinds are not to be packed for a while: as their demand, which placement looks at."""
        history.note_demands(lossy.demands, now)
        staying = set(lossy.jobs) - {each.job for each in told}
        for booking in (
            Allocation.objects.open()
            .filter(attempt__job__in=staying)
            .select_related("attempt__job")
        ):
            demand = lossy.demands.get(booking.attempt.job.template, 0.0)
            if demand > booking.sm_share:
                Allocation.objects.filter(pk=booking.pk).update(sm_share=demand)

    def _see(self, booking: Allocation, bookings: Sequence[Allocation]) -> None:
        attempt = booking.attempt
        progress = attempt.job.progress
        step, at = progress.get("step"), progress.get("at")
        if not isinstance(step, int) or not isinstance(at, int | float):
            return
        if attempt.started_at is None or at < attempt.started_at.timestamp():
            return
        beside = [each.attempt.token for each in bookings if each is not booking]
        self._paces.see(attempt.token, beside, at, step)
        if not beside:
            self._keep_alone(attempt)

    def _keep_alone(self, attempt: Attempt) -> None:
        rate, known = self._paces.rate(attempt.token), attempt.alone_rate
        if rate is None or (known is not None and abs(rate - known) <= _HARDLY * known):
            return
        attempt.alone_rate = rate
        Attempt.objects.filter(pk=attempt.pk).update(alone_rate=rate)

    def _judged(self, device: Device, bookings: Sequence[Allocation]) -> Lossy | None:
        if len(bookings) < 2 or any(_has_several(each) for each in bookings):
            return None
        rates = []
        for booking in bookings:
            together = self._paces.rate(booking.attempt.token)
            alone = _alone(booking, device) if together is not None else None
            if together is None or alone is None:
                return None
            rates.append(Rate(alone=alone, together=together))
        if not packing.is_lossy(rates):
            return None
        demand = demand_of([rate.together / rate.alone for rate in rates])
        return Lossy(
            uuid=device.uuid,
            total=packing.total(rates),
            demands={each.attempt.job.template: demand for each in bookings},
            jobs=tuple(each.attempt.job_id for each in bookings),
        )


def _computing(bookings: Sequence[Allocation]) -> list[Allocation]:
    """Those that compute now: a frozen job slows nobody down."""
    return [each for each in bookings if each.attempt.job.state != JobState.SUSPENDED]


def _has_several(booking: Allocation) -> bool:
    job = booking.attempt.job
    return job.gpus * job.nodes > 1


def _alone(booking: Allocation, device: Device) -> float | None:
    """The job's rate alone: measured in this attempt, else in the newest ones of its kind on such a card."""
    attempt = booking.attempt
    if attempt.alone_rate is not None:
        return attempt.alone_rate
    if not attempt.job.template:
        return None
    rates = Attempt.objects.filter(
        job__template=attempt.job.template,
        allocations__device__name=device.name,
        alone_rate__isnull=False,
    ).order_by("-pk")
    found = [rate for rate in rates.values_list("alone_rate", flat=True)[:_RUNS] if rate]
    return median(found) if found else None
