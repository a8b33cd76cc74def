from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.db import OperationalError
from django.utils import timezone

from gpus.models import Device
from jobs import cardviews, lifecycle, sitesettings
from jobs.core.ending import Ending
from jobs.core.states import JobState, Outcome, Priority, Reason
from jobs.mirror import CHECK_AGAIN, Mirror
from jobs.models import Allocation, Attempt, Job, JobEvent, Quota
from jobs.projects import default_project
from tests.jobs.mirroring import Clock, carry_out, decided, queued_ids
from tests.rows import GIB, a_device, a_job, a_past_run, a_running_job, a_started_job, a_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timezone, "now", clock)
    return clock


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


def test_what_could_not_be_taken_over_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    a_device()
    mirror = Mirror()
    mirror.refresh()
    job = a_job()
    with monkeypatch.context() as broken:
        broken.setattr(cardviews, "bookings", Mock(side_effect=OperationalError))
        with pytest.raises(OperationalError):
            mirror.refresh()
    assert [start.job for start in decided(mirror).starts] == [job.pk]


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
