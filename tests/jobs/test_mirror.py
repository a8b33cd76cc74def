from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from gpus.models import Device
from jobs import lifecycle, sitesettings, snapshots
from jobs.core.ending import Ending
from jobs.core.plan import Plan, Start
from jobs.core.scheduling.scheduler import Scheduler
from jobs.core.states import JobState, Outcome, Priority, Reason
from jobs.journal import PATIENCE, Journal
from jobs.mirror import CHECK_AGAIN, Mirror
from jobs.models import Allocation, Attempt, Job, JobEvent, Project, Quota, ids
from jobs.projects import default_project
from jobs.usage import PastUsage
from tests.rows import GIB, a_device, a_job, a_past_run, a_running_job, a_started_job, a_user

pytestmark = pytest.mark.django_db

NOT_AT_ALL = timedelta(0)


class Clock:
    """Time as the whole service sees it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        Device.objects.update(read_at=self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timezone, "now", clock)
    return clock


def fresh(mirror: Mirror) -> Scheduler:
    """A scheduler that has read everything anew; what is learned of kinds is the mirror's."""
    rows = snapshots.read(timezone.now())
    return Scheduler.of(rows.snapshot(PastUsage(), mirror.history))


def decided(mirror: Mirror) -> Plan:
    """What the mirror decides, after it was seen that reading all of it anew decides the same."""
    anew, kept = fresh(mirror), mirror.refresh()
    now = timezone.now().timestamp()
    expected, plan = anew.decide(now), mirror.decide(now)
    assert plan == expected
    assert kept.waits() == anew.waits()
    return plan


def carry_out(plan: Plan) -> None:
    for start in plan.starts:
        assert begin(start) is not None


def begin(start: Start) -> Attempt | None:
    job = Job.objects.get(pk=start.job)
    devices = {each.uuid: each for each in Device.objects.select_related("node")}
    placements = [(devices[each.uuid], each.memory) for each in start.placements]
    return lifecycle.start(job, placements[0][0].node, placements)


def queued_ids(mirror: Mirror) -> set[str]:
    return set(mirror.scheduler.order())


# --- one change at a time -------------------------------------------------------------------------


def test_what_is_handed_in_later_is_seen() -> None:
    a_device()
    mirror = Mirror()
    mirror.refresh()
    job = a_job()
    assert [start.job for start in decided(mirror).starts] == [job.pk]


def test_a_start_that_was_carried_out_is_not_decided_again() -> None:
    a_device()
    a_job()
    mirror = Mirror()
    carry_out(decided(mirror))
    assert decided(mirror).starts == ()
    assert mirror.wait_codes == {}


def test_a_start_that_did_not_come_true_is_decided_again() -> None:
    a_device(total=20 * GIB)
    job = a_job()
    mirror = Mirror()
    assert [start.job for start in decided(mirror).starts] == [job.pk]
    assert [start.job for start in decided(mirror).starts] == [job.pk]


def test_room_that_a_start_left_unused_serves_another_job() -> None:
    a_device(total=20 * GIB)
    job = a_job()
    mirror = Mirror()
    decided(mirror)
    lifecycle.cancel(job, a_user())
    other = a_job("other")
    assert [start.job for start in decided(mirror).starts] == [other.pk]


@pytest.mark.parametrize(
    ("outcome", "next_one"), [(Outcome.SUCCEEDED, "waiting"), (Outcome.LOST, "first")]
)
def test_an_end_gives_the_card_back(outcome: Outcome, next_one: str) -> None:
    _job, attempt = a_running_job("first", device=a_device(total=20 * GIB))
    a_job("waiting")
    mirror = Mirror()
    assert decided(mirror).starts == ()
    assert lifecycle.finish(attempt, Ending(outcome=outcome, reason=Reason.SUPERVISOR_DIED))
    (start,) = decided(mirror).starts
    assert Job.objects.get(pk=start.job).task_id == next_one


def test_what_is_held_does_not_wait_and_what_is_released_does() -> None:
    a_device(total=8 * GIB)
    job = a_job(memory=7 * GIB)
    a_job("other", memory=7 * GIB)
    mirror = Mirror()
    carry_out(decided(mirror))
    waiting = next(iter(queued_ids(mirror)))
    lifecycle.hold(Job.objects.get(pk=waiting), a_user())
    decided(mirror)
    assert queued_ids(mirror) == set()
    lifecycle.release(Job.objects.get(pk=waiting), a_user())
    decided(mirror)
    assert queued_ids(mirror) == {waiting}
    assert job.pk


def test_another_priority_is_another_place() -> None:
    a_started_job("first", device=a_device(total=20 * GIB))
    one, other = a_job("one"), a_job("other")
    mirror = Mirror()
    decided(mirror)
    assert mirror.scheduler.order() == [one.pk, other.pk]
    lifecycle.reprioritise(other, Priority.HIGH, a_user())
    decided(mirror)
    assert mirror.scheduler.order() == [other.pk, one.pk]


def test_a_drained_card_and_a_stale_reading_are_seen_without_an_event() -> None:
    device = a_device()
    mirror = Mirror()
    mirror.refresh()
    Device.objects.update(drained=True, drain_reason="fan")
    job = a_job()
    assert decided(mirror).starts == ()
    Device.objects.update(drained=False, read_at=timezone.now() - timedelta(minutes=5))
    assert decided(mirror).starts == ()
    Device.objects.update(read_at=timezone.now())
    assert [start.job for start in decided(mirror).starts] == [job.pk]
    assert device.uuid


def test_a_new_quota_holds_at_once() -> None:
    a_device()
    mirror = Mirror()
    mirror.refresh()
    Quota.objects.create(project=default_project(), user=a_user("ada"), limit_running=0)
    a_job(owner=a_user("ada"))
    other = a_job("other")
    assert [start.job for start in decided(mirror).starts] == [other.pk]


@pytest.mark.parametrize(
    "change", [{"max_workers": 1}, {"max_jobs_per_card": 1}, {"half_life_hours": 2}]
)
def test_a_changed_setting_holds_at_once(change: dict[str, Any]) -> None:
    a_started_job("first", device=a_device())
    mirror = Mirror()
    mirror.refresh()
    sitesettings.change(change, None)
    a_job()
    assert len(decided(mirror).starts) == (1 if "half_life_hours" in change else 0)


def test_a_measured_peak_is_charged() -> None:
    _job, attempt = a_running_job(device=a_device())
    mirror = Mirror()
    mirror.refresh()
    Allocation.objects.filter(attempt=attempt).update(peak=70 * GIB)
    a_job("waiting")
    assert decided(mirror).starts == ()


def test_a_preemption_that_is_too_old_counts_no_more(clock: Clock) -> None:
    device, job = a_device(total=8 * GIB), a_job(memory=7 * GIB)
    ended = clock.now - timedelta(hours=23)
    a_past_run(
        device=device, job=job, begun=ended, ended=ended, outcome=Outcome.PREEMPTED
    )  # fmt: skip
    Job.objects.filter(pk=job.pk).update(epoch=1)
    Device.objects.update(drained=True)
    mirror = Mirror()
    decided(mirror)
    clock.advance(2 * 3600)
    decided(mirror)
    assert waiting_view(mirror, job).preemptions == 0


def waiting_view(mirror: Mirror, job: Job) -> Any:
    return mirror.scheduler._state.waiting(job.pk)


def test_progress_and_checkpoints_of_running_jobs_are_looked_at_now_and_then(clock: Clock) -> None:
    job, attempt = a_running_job(device=a_device(total=20 * GIB))
    mirror = Mirror(look_again=timedelta(seconds=30))
    mirror.refresh()
    Attempt.objects.filter(pk=attempt.pk).update(saved_at=clock.now)
    clock.advance(10)
    mirror.refresh()
    assert the_run(mirror, job).saved_at is None
    clock.advance(21)
    mirror.refresh()
    assert the_run(mirror, job).saved_at is not None


def the_run(mirror: Mirror, job: Job) -> Any:
    return mirror.scheduler._state.runs.get(job.pk)


def test_what_a_kind_has_shown_reaches_the_jobs_that_wait(clock: Clock) -> None:
    device = a_device(total=20 * GIB)
    _blocker, attempt = a_running_job("blocker", device=device)
    job = a_job()
    Job.objects.update(template="k")
    mirror = Mirror()
    mirror.refresh()
    clock.advance(3600)
    ending = Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED)
    Device.objects.update(drained=True)
    assert lifecycle.finish(attempt, ending)
    mirror.refresh()
    assert waiting_view(mirror, job).expected_run == 3600


def test_a_job_that_leaves_for_another_keeps_its_card_until_it_has_gone(clock: Clock) -> None:
    """The whole way of a preemption, with nothing in memory but what the database shows."""
    sitesettings.change({"min_run_minutes": 0}, None)
    device = a_device(total=20 * GIB)
    victim, attempt = a_running_job("victim", device=device, priority=Priority.LOW)
    Job.objects.filter(pk=victim.pk).update(preemptible=True)
    urgent = a_job("urgent", priority=Priority.HIGH)
    mirror = Mirror()
    plan = decided(mirror)
    assert [(each.job, each.beneficiary) for each in plan.preemptions] == [(victim.pk, urgent.pk)]
    Attempt.objects.filter(pk=attempt.pk).update(preempted_for=urgent.pk)
    Job.objects.filter(pk=victim.pk).update(state=JobState.SUSPENDING)
    JobEvent.objects.create(
        job=victim, at=timezone.now(), kind="preempt", new_state=JobState.SUSPENDING
    )
    plan = decided(mirror)
    assert (plan.starts, plan.preemptions) == ((), ())
    attempt.refresh_from_db()
    lifecycle.finish(attempt, Ending(outcome=Outcome.LOST, reason=Reason.SUPERVISOR_DIED))
    mirror.refresh()
    assert [start.job for start in mirror.decide().starts] == [urgent.pk]


def test_a_preemption_that_did_not_come_true_is_decided_again() -> None:
    sitesettings.change({"min_run_minutes": 0}, None)
    victim, _attempt = a_running_job(
        "victim", device=a_device(total=20 * GIB), priority=Priority.LOW
    )
    Job.objects.filter(pk=victim.pk).update(preemptible=True)
    a_job("urgent", priority=Priority.HIGH)
    mirror = Mirror()
    assert len(decided(mirror).preemptions) == 1
    mirror.refresh()
    assert not the_run(mirror, victim).leaving


def test_a_change_without_an_event_is_found_by_counting(clock: Clock) -> None:
    a_device(total=8 * GIB)
    job = a_job()
    mirror = Mirror()
    mirror.refresh()
    Job.objects.filter(pk=job.pk).update(state=JobState.HELD)
    clock.advance(CHECK_AGAIN.total_seconds() + 1)
    mirror.refresh()
    assert queued_ids(mirror) == set()


def test_a_policys_order_outlives_reading_all_anew() -> None:
    a_device(total=16 * GIB, drained=True)
    one, other = a_job("one"), a_job("other")
    mirror = Mirror()
    mirror.refresh()
    mirror.rank({other.pk: 0, one.pk: 1})
    mirror.reload()
    assert mirror.scheduler.order() == [other.pk, one.pk]


def test_the_number_of_queries_does_not_grow_with_what_changes(
    django_assert_max_num_queries: Any,
) -> None:
    device = a_device(total=8 * GIB)
    a_running_job("running", device=device, memory=GIB)
    mirror = Mirror()
    mirror.refresh()
    for number in range(20):
        a_job(f"job-{number}")
    with django_assert_max_num_queries(12):
        mirror.refresh()


# --- the journal ----------------------------------------------------------------------------------


def test_an_event_that_shows_after_a_later_one_is_not_missed(clock: Clock) -> None:
    job, other = a_job("job"), a_job("other")
    journal = Journal(clock.now)
    last = JobEvent.objects.latest("pk").pk
    fields = {"at": clock.now, "kind": "hold", "new_state": JobState.HELD}
    JobEvent.objects.create(pk=last + 2, job=job, **fields)
    assert journal.changed(clock.now) == {job.pk}
    JobEvent.objects.create(pk=last + 1, job=other, **fields)
    assert journal.changed(clock.now) == {other.pk}
    assert journal.changed(clock.now) == set()


def test_an_event_that_is_missing_at_the_beginning_is_waited_for(clock: Clock) -> None:
    job = a_job()
    last = JobEvent.objects.latest("pk").pk
    fields = {"at": clock.now, "kind": "hold", "new_state": JobState.HELD}
    JobEvent.objects.create(pk=last + 2, job=job, **fields)
    journal = Journal(clock.now)
    JobEvent.objects.create(pk=last + 1, job=job, **fields)
    assert journal.changed(clock.now + PATIENCE / 2) == {job.pk}


def test_what_was_undone_is_given_up(clock: Clock) -> None:
    job = a_job()
    journal = Journal(clock.now)
    last = JobEvent.objects.latest("pk").pk
    fields = {"at": clock.now, "kind": "hold", "new_state": JobState.HELD}
    JobEvent.objects.create(pk=last + 3, job=job, **fields)
    journal.changed(clock.now)
    journal.changed(clock.now + 2 * PATIENCE)
    JobEvent.objects.create(pk=last + 1, job=job, **fields)
    assert journal.changed(clock.now + 2 * PATIENCE) == set()


# --- any changes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_after_any_changes_the_mirror_decides_as_if_all_were_read_anew(
    seed: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "secrets", random.Random(seed))  # public ids break ties
    world = _World(random.Random(seed), clock)
    mirror = Mirror(look_again=NOT_AT_ALL)
    for _step in range(25):
        for _ in range(world.random.randrange(4)):
            world.change()
        for start in decided(mirror).starts:
            world.may_begin(start)
        if world.random.random() < 0.1:
            mirror.reload()
    mirror.refresh()
    assert queued_ids(mirror) == set(Job.objects.queued().values_list("pk", flat=True))


class _World:
    """A small site on which anything may happen that the one writer allows."""

    def __init__(self, chance: random.Random, clock: Clock) -> None:
        self.random, self.clock = chance, clock
        self._number = 0
        self._people = [a_user(name) for name in ("ada", "bob")]
        self._projects = [default_project(), Project.objects.create(slug="b", name="b", weight=3)]
        for index in range(3):
            a_device(index, total=(24, 40, 80)[index] * GIB, weight=1 + index)
        sitesettings.change({"preemption": False}, None)
        clock.advance(1)

    def change(self) -> None:
        changes: list[Callable[[], object]] = [
            *[self._submit] * 4,
            *[self._run] * 3,
            *[self._end] * 3,
            *[self._pass_time] * 2,
            self._hold,
            self._release,
            self._cancel,
            self._reprioritise,
            self._freeze_or_thaw,
            self._peak,
            self._progress,
            self._change_card,
            self._change_quota,
            self._change_setting,
        ]
        self.random.choice(changes)()

    def may_begin(self, start: Start) -> None:
        """Most decisions come true."""
        if self.random.random() < 0.8:
            begin(start)

    def _submit(self) -> None:
        self._number += 1
        spec = {"est_time": self.random.choice([None, 600, 7200])}
        job = a_job(
            f"job-{self._number}",
            owner=self.random.choice(self._people),
            project=self.random.choice(self._projects),
            memory=self.random.choice([2, 10, 20, 38, 70]) * GIB,
            priority=self.random.choice(list(Priority)),
            resources={"gpus": self.random.choice([1, 1, 1, 2]), "nodes": 1},
            **spec,
        )
        Job.objects.filter(pk=job.pk).update(
            template=self.random.choice(["", "k", "l"]), preemptible=self.random.random() < 0.5
        )

    def _run(self) -> None:
        for attempt in Attempt.objects.open().filter(job__state=JobState.STARTING):
            lifecycle.mark_running(attempt, started_at=self.clock.now, containment="tag")

    def _end(self) -> None:
        attempts = list(Attempt.objects.open())
        if attempts:
            ending = self.random.choice(
                [
                    Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED),
                    Ending(outcome=Outcome.FAILED, reason=Reason.EXIT_CODE, exit_code=1),
                    Ending(outcome=Outcome.LOST, reason=Reason.SUPERVISOR_DIED),
                    Ending(outcome=Outcome.PREEMPTED, reason=Reason.PREEMPTED),
                ]
            )
            lifecycle.finish(self.random.choice(attempts), ending)

    def _pass_time(self) -> None:
        self.clock.advance(self.random.choice([1, 60, 1800, 40_000]))

    def _hold(self) -> None:
        self._with(Job.objects.queued(), lambda job: lifecycle.hold(job, self._people[0]))

    def _release(self) -> None:
        held = Job.objects.filter(state=JobState.HELD)
        self._with(held, lambda job: lifecycle.release(job, self._people[0]))

    def _cancel(self) -> None:
        self._with(Job.objects.active(), lambda job: lifecycle.cancel(job, self._people[0]))

    def _reprioritise(self) -> None:
        priority = self.random.choice(list(Priority))
        self._with(
            Job.objects.active(),
            lambda job: lifecycle.reprioritise(job, priority, self._people[0]),
        )

    def _freeze_or_thaw(self) -> None:
        running = Job.objects.filter(state__in=(JobState.RUNNING, JobState.SUSPENDED))
        change = self.random.choice([lifecycle.freeze, lifecycle.thaw])
        self._with(running, lambda job: change(job, self._people[0]))

    def _peak(self) -> None:
        for booking in Allocation.objects.open()[:1]:
            peak = int(booking.booked * self.random.choice([0.5, 1.1]))
            Allocation.objects.filter(pk=booking.pk).update(peak=peak, sm_share=0.4)

    def _progress(self) -> None:
        seen = {"at": self.clock.now.timestamp(), "eta_s": self.random.choice([10, 5000])}
        self._with(
            Job.objects.filter(state=JobState.RUNNING),
            lambda job: Job.objects.filter(pk=job.pk).update(progress=seen),
        )
        Attempt.objects.open().update(saved_at=self.clock.now)

    def _change_card(self) -> None:
        change = self.random.choice(
            [
                {"drained": True},
                {"drained": False},
                {"used": 5 * GIB},
                {"used": 0, "foreign": 0},
                {"foreign": 4 * GIB},
                {"weight": 2.5},
                {"mode": "exclusive"},
                {"mode": ""},
                {"fault": "lost"},
                {"fault": ""},
            ]
        )
        Device.objects.filter(index=self.random.randrange(3)).update(**change)

    def _change_quota(self) -> None:
        Quota.objects.update_or_create(
            project=self.random.choice(self._projects),
            user=self.random.choice([None, self._people[0]]),
            defaults={
                "limit_cards": self.random.choice([None, 1, 3]),
                "limit_gpu_hours": self.random.choice([None, 5.0]),
                "guarantee_running": self.random.choice([None, 0, 1]),
            },
        )
        Project.objects.filter(slug="b").update(weight=self.random.choice([1, 3]))

    def _change_setting(self) -> None:
        change = self.random.choice(
            [
                {"mode": "dynamic-sharding"},
                {"mode": "smart-queue"},
                {"max_workers": 3},
                {"max_workers": None},
                {"half_life_hours": 6},
            ]
        )
        sitesettings.change(change, None)

    def _with(self, jobs: Any, deed: Callable[[Job], object]) -> None:
        rows = list(jobs.order_by("task_id"))
        if rows:
            deed(self.random.choice(rows))
