from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from gpus.models import Device
from jobs import lifecycle
from jobs.core.ending import Ending
from jobs.core.states import JobState, Outcome, Reason
from jobs.models import Attempt, Job, JobEvent
from tests.rows import GIB, a_device, a_job, a_running_job, a_started_job, a_user

pytestmark = pytest.mark.django_db

DONE = Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED, exit_code=0)
CRASHED = Ending(outcome=Outcome.FAILED, reason=Reason.EXIT_CODE, exit_code=1)
LOST = Ending(outcome=Outcome.LOST, reason=Reason.SUPERVISOR_DIED)
UNCLAIMED = Ending(outcome=Outcome.LOST, reason=Reason.NOT_CLAIMED)


def booked(device: Device) -> int:
    return Device.objects.get(pk=device.pk).booked


def kinds(job: Job) -> list[str]:
    return list(job.events.values_list("kind", flat=True))


def test_a_job_from_submit_to_success_leaves_one_event_a_move() -> None:
    device = a_device()
    job, attempt = a_running_job(device=device)
    assert lifecycle.finish(attempt, DONE)
    job.refresh_from_db()
    assert (job.state, job.outcome, job.exit_code) == (JobState.SUCCEEDED, "succeeded", 0)
    assert kinds(job) == ["submit", "start", "run", "end"]
    assert booked(device) == 0


def test_a_start_books_its_memory_on_the_card() -> None:
    device = a_device()
    _job, attempt = a_started_job(device=device, memory=14 * GIB)
    assert booked(device) == 14 * GIB
    assert attempt.allocations.open().get().booked == 14 * GIB


def test_a_start_notes_what_the_job_is_known_to_compute_with() -> None:
    device, job = a_device(), a_job()
    attempt = lifecycle.start(job, device.node, [(device, GIB)], sm_share=0.4)
    assert attempt is not None
    assert [each.sm_share for each in attempt.allocations.all()] == [0.4]


def test_a_start_that_would_overbook_a_card_changes_nothing() -> None:
    device = a_device(total=20 * GIB)
    a_started_job("first", device=device, memory=14 * GIB)
    second = a_job("second", memory=14 * GIB)
    assert lifecycle.start(second, device.node, [(device, 14 * GIB)]) is None
    second = Job.objects.get(pk=second.pk)
    assert (second.state, second.epoch, second.attempts.count()) == (JobState.QUEUED, 0, 0)
    assert booked(device) == 14 * GIB


def test_a_gang_is_booked_on_all_its_cards_or_on_none() -> None:
    wide, full = a_device(0), a_device(1, total=10 * GIB)
    job = a_job(memory=14 * GIB)
    assert lifecycle.start(job, wide.node, [(wide, 14 * GIB), (full, 14 * GIB)]) is None
    assert booked(wide) == booked(full) == 0


def test_a_second_start_from_the_same_reading_is_refused() -> None:
    device = a_device()
    job = a_job()
    stale = Job.objects.get(pk=job.pk)
    assert lifecycle.start(job, device.node, [(device, GIB)]) is not None
    assert lifecycle.start(stale, device.node, [(device, GIB)]) is None
    assert job.attempts.count() == 1


def test_a_start_on_a_drained_card_is_refused() -> None:
    device = a_device(drained=True)
    assert lifecycle.start(a_job(), device.node, [(device, GIB)]) is None


def test_the_database_refuses_a_booking_above_the_card() -> None:
    device = a_device(total=GIB)
    with pytest.raises(IntegrityError), transaction.atomic():
        Device.objects.filter(pk=device.pk).update(booked=2 * GIB)


def test_the_database_refuses_a_second_open_attempt() -> None:
    device = a_device()
    job, _attempt = a_started_job(device=device)
    with pytest.raises(IntegrityError), transaction.atomic():
        Attempt.objects.create(job=job, number=9, node=device.node, created_at=timezone.now())


def test_the_database_refuses_a_second_active_job_of_a_task_id() -> None:
    a_job("twin")
    with pytest.raises(IntegrityError), transaction.atomic():
        a_job("twin", run=2)


def test_an_end_is_counted_once() -> None:
    device = a_device()
    job, attempt = a_running_job(device=device)
    assert lifecycle.finish(attempt, DONE)
    assert not lifecycle.finish(attempt, CRASHED)
    assert booked(device) == 0
    assert Job.objects.get(pk=job.pk).state == JobState.SUCCEEDED


def test_a_lost_attempt_is_made_again_and_gives_its_memory_back() -> None:
    device = a_device()
    job, attempt = a_running_job(device=device)
    assert lifecycle.finish(attempt, LOST)
    job.refresh_from_db()
    assert (job.state, job.not_before, booked(device)) == (JobState.QUEUED, None, 0)


def test_a_job_that_is_lost_too_often_fails() -> None:
    device = a_device()
    job, attempt = a_running_job(device=device, max_attempts=2)
    lifecycle.finish(attempt, LOST)
    job.refresh_from_db()
    second = lifecycle.start(job, device.node, [(device, GIB)])
    assert second is not None
    lifecycle.mark_running(second, started_at=timezone.now(), containment="tag")
    lifecycle.finish(second, LOST)
    assert Job.objects.get(pk=job.pk).state == JobState.FAILED


def test_an_attempt_that_nobody_claimed_does_not_count() -> None:
    device = a_device()
    job, attempt = a_started_job(device=device, max_attempts=1)
    lifecycle.finish(attempt, UNCLAIMED)
    assert Job.objects.get(pk=job.pk).state == JobState.QUEUED


def test_a_crash_is_final_unless_the_task_asks_for_another_try() -> None:
    device = a_device()
    job, attempt = a_running_job("once", device=device)
    lifecycle.finish(attempt, CRASHED)
    assert Job.objects.get(pk=job.pk).state == JobState.FAILED
    job, attempt = a_running_job("again", device=device, retry_on=["failed"])
    lifecycle.finish(attempt, CRASHED)
    job.refresh_from_db()
    assert job.state == JobState.QUEUED
    assert job.not_before is not None
    assert job.not_before > timezone.now()


def test_cancelling_a_queued_job_ends_it_at_once() -> None:
    job = a_job()
    assert lifecycle.cancel(job, a_user())
    assert Job.objects.get(pk=job.pk).state == JobState.CANCELLED


def test_cancelling_a_running_job_waits_for_its_processes() -> None:
    device = a_device()
    job, attempt = a_running_job(device=device)
    assert lifecycle.cancel(job, a_user())
    attempt.refresh_from_db()
    assert (job.state, attempt.stop_for, attempt.ended_at) == (JobState.STOPPING, "cancelled", None)
    assert booked(device) == job.min_memory


def test_a_job_that_succeeds_while_it_is_being_cancelled_has_succeeded() -> None:
    device = a_device()
    job, attempt = a_running_job(device=device)
    lifecycle.cancel(job, a_user())
    lifecycle.finish(attempt, DONE)
    assert Job.objects.get(pk=job.pk).state == JobState.SUCCEEDED


def test_a_frozen_job_keeps_its_attempt_and_its_booking() -> None:
    device = a_device()
    job, attempt = a_running_job(device=device)
    assert lifecycle.freeze(job, a_user())
    attempt.refresh_from_db()
    assert (job.state, attempt.ended_at, booked(device)) == (
        JobState.SUSPENDED,
        None,
        job.min_memory,
    )
    assert lifecycle.thaw(job, a_user())
    assert job.state == JobState.RUNNING


def test_a_held_job_comes_back_to_its_old_place() -> None:
    job = a_job()
    submitted = job.submitted_at
    assert lifecycle.hold(job, a_user())
    assert lifecycle.release(job, a_user())
    job.refresh_from_db()
    assert (job.state, job.submitted_at) == (JobState.QUEUED, submitted)


def test_a_move_that_the_table_does_not_have_is_refused_without_a_trace() -> None:
    job = a_job()
    before = JobEvent.objects.count()
    assert not lifecycle.freeze(job, a_user())
    assert JobEvent.objects.count() == before


def test_processes_that_cannot_be_ended_keep_their_memory_and_drain_the_card() -> None:
    device = a_device()
    _job, attempt = a_running_job(device=device)
    assert lifecycle.mark_stuck(attempt, "process 4711 does not die")
    assert not lifecycle.mark_stuck(attempt, "process 4711 does not die")
    device.refresh_from_db()
    assert (device.drained, device.booked) == (True, 14 * GIB)
