"""Random lives of a shared card in the database: the sampler, the books, the scheduler and the one writer, together.

tests/core/test_sharding_sequences.py plays a thousand of them on the rules alone; here are fewer, on all of it, with a
dispatcher that dies in the middle of its work now and then.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from django.db import transaction
from django.utils import timezone

from gpus.models import Device
from gpus.readings import Holding
from gpus.sampler import Sampler
from jobs import lifecycle, preempting, records, sitesettings
from jobs.core.constraints import room
from jobs.core.ending import Ending
from jobs.core.states import JobState, Outcome, Reason
from jobs.mirror import Mirror
from jobs.models import Allocation, Attempt, Job, JobEvent
from jobs.sharding import Sharding
from tests.gpus.fleets import ShownProbe, a_reading, listed
from tests.rows import GIB, a_job, a_node, a_user

pytestmark = pytest.mark.django_db

TOTAL = 80 * GIB
BLOCKS, LIVES, STEPS = 2, 6, 120
GAVE_WAY = Ending(outcome=Outcome.PREEMPTED, reason=Reason.PREEMPTED, signal=15)
KILLED = Ending(outcome=Outcome.FAILED, reason=Reason.SIGNAL, signal=9)


class Dies(Exception):
    """The dispatcher is gone."""


@dataclass
class Site:
    dice: random.Random
    probe: ShownProbe
    sampler: Sampler
    now: datetime
    used: dict[int, int] = field(default_factory=dict)  # the truth: by attempt, of living processes
    stranger: int = 0
    made: int = 0
    mirror: Mirror = field(default_factory=Mirror)
    sharding: Sharding = field(default_factory=Sharding)

    def happen(self) -> None:
        often = self.submit, self.grow, self.grow, self.work, self.cycle, self.cycle, self.look
        seldom = self.freeze, self.thaw, self.kill, self.end_the_leaving, self.strangers
        self.dice.choice((*often, *often, *seldom))()

    def attempts(self, state: JobState) -> list[Attempt]:
        return list(Attempt.objects.open().filter(job__state=state).select_related("job"))

    def one(self, state: JobState) -> Attempt | None:
        found = self.attempts(state)
        return self.dice.choice(found) if found else None

    # --- the world -------------------------------------------------------------------------------

    def submit(self) -> None:
        self.made += 1
        job = a_job(f"job-{self.made}", memory=self.dice.choice((4, 12, 20, 40)) * GIB)
        Job.objects.filter(pk=job.pk).update(preemptible=self.made % 3 > 0)

    def grow(self) -> None:
        attempt = self.one(JobState.RUNNING)
        if attempt:
            wanted = int(attempt.job.min_memory * self.dice.choice((0.1, 0.25, 0.6, 0.95, 1.4)))
            others = self.stranger + sum(self.used.values()) - self.used.get(attempt.pk, 0)
            self.used[attempt.pk] = min(wanted, TOTAL - others)

    def work(self) -> None:
        for attempt in self.attempts(JobState.RUNNING):
            step = attempt.job.progress.get("step", 0) + 30
            progress = {"step": step, "at": attempt.started_at.timestamp() + step}
            Job.objects.filter(pk=attempt.job_id).update(progress=progress)

    def freeze(self) -> None:
        attempt = self.one(JobState.RUNNING)
        if attempt:
            lifecycle.freeze(attempt.job, a_user())

    def thaw(self) -> None:
        attempt = self.one(JobState.SUSPENDED)
        if attempt:
            lifecycle.thaw(attempt.job, a_user())

    def kill(self) -> None:
        attempt = self.one(JobState.RUNNING)
        if attempt:
            self.used.pop(attempt.pk, None)
            if self.dice.random() < 0.5:
                self.look()  # it is dead, but nobody has proven it yet
            lifecycle.finish(attempt, KILLED)

    def end_the_leaving(self) -> None:
        attempt = self.one(JobState.SUSPENDING)
        if attempt:
            self.used.pop(attempt.pk, None)
            lifecycle.finish(attempt, GAVE_WAY)

    def strangers(self) -> None:
        free = TOTAL - sum(self.used.values())
        self.stranger = self.dice.choice((0, 0, min(free, 3 * GIB), min(free, 20 * GIB)))

    # --- the service -----------------------------------------------------------------------------

    def look(self) -> None:
        bookings = Allocation.objects.open().select_related("device")
        holdings = [
            Holding(
                key=each.key,
                holder=str(each.attempt_id),
                uuid=each.device.uuid,
                booked=each.booked,
                pids=frozenset({each.attempt_id + 10}),
                peak=each.peak,
            )
            for each in bookings
        ]
        processes = {f"p{pk + 10}": used for pk, used in self.used.items() if used}
        used = self.stranger + sum(self.used.values())
        self.probe.show(a_reading(used=used, processes=listed(**processes)))
        tick = self.sampler.tick(holdings)
        for each in bookings:
            peak = tick.peaks.get(each.key)
            if peak and peak > (each.peak or 0):
                Allocation.objects.filter(pk=each.pk).update(peak=peak)
        Device.objects.update(read_at=self.now)

    def cycle(self) -> None:
        Device.objects.update(read_at=self.now)
        try:
            self.work_through()
        except Dies:
            self.mirror, self.sharding = Mirror(), Sharding()  # another one takes over

    def work_through(self) -> None:
        self.sharding.keep_books(self.now)
        self.mirror.refresh(self.now)
        relief = self.sharding.relieve(self.mirror, self.now)
        plan = self.mirror.decide(self.now.timestamp())
        device = Device.objects.select_related("node").get()
        self.may_die()
        for start in plan.starts:
            job = Job.objects.get(pk=start.job)
            attempt = lifecycle.start(job, device.node, [(device, start.placements[0].memory)])
            if attempt is not None:
                assert lifecycle.mark_running(attempt, started_at=self.now, containment="tag")
        self.may_die()
        preempting.apply([*relief, *plan.preemptions], also=self.sharding.demands)

    def may_die(self) -> None:
        if self.dice.random() < 0.05:
            raise Dies

    # --- what must always hold -------------------------------------------------------------------

    def check(self) -> None:
        device = Device.objects.get()
        held = list(Allocation.objects.open())
        assert device.booked == sum(each.booked for each in held) <= device.memory_total
        assert set(self.used) <= {each.attempt_id for each in held}, "freed before it was dead"

    def check_what_is_seen(self) -> None:
        self.look()
        self.mirror.refresh(self.now)
        for card in self.mirror.scheduler.cards:
            used = self.stranger + sum(self.used.values())
            assert room(card) <= TOTAL - used, "more free than there is"


@pytest.fixture
def dying(monkeypatch):
    """The dispatcher dies in the middle of a change of a booking, as well."""
    note, dice = records.note, random.Random(7)

    def note_or_die(*told: object) -> None:
        note(*told)
        if dice.random() < 0.1:
            raise Dies

    monkeypatch.setattr(records, "note", note_or_die)


@pytest.mark.usefixtures("dying")
@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_books_of_a_shared_card_hold_whatever_happens(block):
    values = {"mode": "dynamic-sharding", "sharding_stable_minutes": 0, "min_run_minutes": 0}
    sitesettings.change(values, None)
    happened: set[str] = set()
    for seed in range(block * LIVES, (block + 1) * LIVES):
        with transaction.atomic():
            happened |= lived(seed)
            transaction.set_rollback(True)
    assert {"start", "end", "freeze", "thaw", "shrink", "grow"} <= happened


def lived(seed: int) -> set[str]:
    """Play one life; the kinds of events of it."""
    probe = ShownProbe()
    site = Site(random.Random(seed), probe, Sampler(probe, a_node()), timezone.now())
    site.look()
    for _ in range(STEPS):
        site.now = datetime.fromtimestamp(site.now.timestamp() + 5, UTC)
        site.happen()
        site.check()
    site.check_what_is_seen()
    return set(JobEvent.objects.values_list("kind", flat=True))
