from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from gpus.models import Device
from jobs import lifecycle, sitesettings, snapshots
from jobs.core.ending import Ending
from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import DeviceView, JobView, RunView, Snapshot
from jobs.core.states import JobState, Outcome, Priority, Reason
from jobs.models import Allocation, Attempt, Job, Quota
from jobs.projects import default_project
from tests.rows import (
    GIB,
    a_device,
    a_job,
    a_past_run,
    a_running_job,
    a_started_job,
    a_user,
)

pytestmark = pytest.mark.django_db

HOUR = 3600.0


def taken() -> Snapshot:
    return snapshots.take().snapshot


def the_card() -> DeviceView:
    return taken().devices[0]


def the_job() -> JobView:
    (job,) = taken().queued
    return job


def the_run() -> RunView:
    (run,) = taken().running
    return run


# --- cards ----------------------------------------------------------------------------------------


def test_a_booking_counts_from_the_moment_it_is_made() -> None:
    a_started_job(device=a_device(), memory=14 * GIB)
    assert (the_card().booked, the_card().holders) == (14 * GIB, 1)


def test_a_measured_peak_above_the_booking_counts_with_a_margin() -> None:
    _job, attempt = a_running_job(device=a_device(), memory=10 * GIB)
    Allocation.objects.filter(attempt=attempt).update(peak=20 * GIB)
    assert the_card().booked == pytest.approx(20.6 * GIB, rel=1e-6)
    assert the_run().placements[0].memory == the_card().booked


def test_a_stale_reading_leaves_nothing_to_measure() -> None:
    a_device(age=60)
    assert the_card().measured_free is None
    assert not taken().agents_fresh


def test_a_card_that_was_never_read_admits_nothing() -> None:
    Device.objects.filter(pk=a_device().pk).update(read_at=None)
    assert (the_card().measured_free, taken().agents_fresh) == (None, False)


def test_a_card_with_a_fault_leaves_nothing_to_measure() -> None:
    a_device(fault="the card is lost")
    assert the_card().measured_free is None


def test_five_jobs_of_14_gib_fit_the_threshold_of_an_80_gib_card_and_a_sixth_does_not() -> None:
    a_device(total=80 * GIB)
    card = the_card()
    room = card.threshold * card.total - card.safety
    assert 5 * 14 * GIB <= room < 6 * 14 * GIB


def test_the_mode_of_a_card_wins_over_the_mode_of_the_site() -> None:
    a_device(0, mode="exclusive")
    a_device(1)
    sitesettings.change({"mode": "dynamic-sharding"}, None)
    alone, shared = taken().devices
    assert (alone.max_holders, alone.threshold, alone.max_busy) == (1, 0.9, None)
    assert (shared.max_holders, shared.threshold, shared.max_busy) == (8, 0.95, 1.6)


def test_a_card_shows_its_weight_and_the_load_that_the_starts_on_it_counted_with() -> None:
    device = a_device(weight=0.35)
    for name in ("one", "two"):
        _job, attempt = a_running_job(name, device=device)
        Allocation.objects.filter(attempt=attempt).update(sm_share=0.45)
    assert (the_card().weight, the_card().busy, the_card().max_busy) == (0.35, 0.9, 1.3)


# --- waiting jobs ---------------------------------------------------------------------------------


def test_only_queued_jobs_are_eligible() -> None:
    device = a_device()
    queued = a_job("queued")
    lifecycle.hold(a_job("held"), a_user())
    running, _attempt = a_running_job("running", device=device)
    snapshot = taken()
    assert [view.id for view in snapshot.queued] == [queued.pk]
    assert [run.job.id for run in snapshot.running] == [running.pk]


def test_a_job_shows_what_was_asked_for() -> None:
    resources = {"gpus": 2, "nodes": 3}
    job = a_job(priority=Priority.HIGH, est_time=HOUR, resources=resources)
    view = the_job()
    assert (view.id, view.task_id, view.project, view.user) == (
        job.pk,
        "job-1",
        "default",
        "member",
    )
    assert (view.priority, view.cards, view.min_memory) == (Priority.HIGH, 6, 14 * GIB)
    assert (view.est_time, view.expected_run) == (HOUR, HOUR)


def test_a_released_job_has_its_old_place_and_waits_anew() -> None:
    job = a_job()
    Job.objects.filter(pk=job.pk).update(submitted_at=timezone.now() - timedelta(days=3))
    lifecycle.hold(job, a_user())
    lifecycle.release(job, a_user())
    view, now = the_job(), timezone.now().timestamp()
    assert view.submitted_at == pytest.approx(now - 3 * 24 * HOUR, abs=60)
    assert view.queued_at == pytest.approx(now, abs=60)


def test_without_an_estimate_the_kinds_past_tells_run_time_and_load() -> None:
    now = timezone.now()
    begun = now - timedelta(hours=9)
    a_past_run(device=a_device(), template="k", begun=begun, ended=begun + timedelta(hours=2))
    Job.objects.filter(pk=a_job().pk).update(template="k")
    assert the_job().expected_run == 2 * HOUR


def test_a_job_of_which_nothing_is_known_may_run_for_ever_or_until_its_limit() -> None:
    job = a_job()
    assert (the_job().expected_run, the_job().sm_share) == (math.inf, 0)
    Job.objects.filter(pk=job.pk).update(time_limit=4 * HOUR)
    assert the_job().expected_run == 4 * HOUR


def test_preemptions_of_the_last_day_are_counted() -> None:
    device = a_device()
    job = a_job()
    for number, hours in enumerate((30, 20, 2), start=1):
        ended = timezone.now() - timedelta(hours=hours)
        a_past_run(
            device=device,
            job=job,
            number=number,
            begun=ended - timedelta(hours=1),
            ended=ended,
            outcome=Outcome.PREEMPTED if number > 1 else Outcome.LOST,
        )
    Job.objects.filter(pk=job.pk).update(epoch=3, service=7200)
    assert (the_job().preemptions, the_job().attempts, the_job().service) == (2, 3, 7200)


def test_a_resumed_job_has_only_the_rest_of_its_work_left() -> None:
    job = a_job(est_time=10 * HOUR)
    ended = timezone.now() - timedelta(hours=1)
    attempt = a_past_run(
        device=a_device(), job=job, begun=ended - timedelta(hours=4), ended=ended,
        outcome=Outcome.PREEMPTED,
    )  # fmt: skip
    Job.objects.filter(pk=job.pk).update(epoch=1)
    Attempt.objects.filter(pk=attempt.pk).update(saved_at=ended - timedelta(hours=1))
    assert the_job().expected_run == pytest.approx(7 * HOUR)
    Job.objects.filter(pk=job.pk).update(progress={"eta_s": 2 * HOUR})
    assert the_job().expected_run == pytest.approx(3 * HOUR)  # one hour is done again


def test_a_job_whose_end_is_not_yet_written_is_not_eligible() -> None:
    job, _attempt = a_running_job(device=a_device())
    Job.objects.filter(pk=job.pk).update(state=JobState.QUEUED)
    assert taken().queued == ()


def test_one_job_is_seen_as_in_the_whole_picture() -> None:
    job = a_job(est_time=HOUR)
    assert snapshots.job_view(Job.objects.get(pk=job.pk)) == the_job()


# --- running jobs ---------------------------------------------------------------------------------


def test_a_starting_job_holds_its_cards_since_its_booking() -> None:
    device = a_device()
    job, attempt = a_started_job(device=device)
    run = the_run()
    assert run.job.id == job.pk
    assert [(each.uuid, each.memory) for each in run.placements] == [(device.uuid, 14 * GIB)]
    assert run.started_at == attempt.created_at.timestamp()
    assert (run.frozen, run.leaving, run.leaving_for, run.saved_at) == (False, False, "", None)


def test_a_running_job_is_expected_to_end_by_its_progress_else_by_its_estimate() -> None:
    job, attempt = a_running_job(device=a_device(), est_time=HOUR)
    started = Attempt.objects.get(pk=attempt.pk).started_at
    assert the_run().expected_end == started.timestamp() + HOUR
    now = timezone.now().timestamp()
    Job.objects.filter(pk=job.pk).update(progress={"eta_s": 3 * HOUR, "at": now})
    assert the_run().expected_end == now + 3 * HOUR


def test_progress_of_an_earlier_attempt_says_nothing_of_this_one() -> None:
    job, _attempt = a_running_job(device=a_device())
    long_ago = timezone.now().timestamp() - HOUR
    Job.objects.filter(pk=job.pk).update(progress={"eta_s": 3 * HOUR, "at": long_ago})
    assert the_run().expected_end == math.inf


def test_a_frozen_job_holds_its_card_and_nobody_knows_how_long() -> None:
    job, _attempt = a_running_job(device=a_device(), est_time=HOUR)
    lifecycle.freeze(job, a_user())
    run = the_run()
    assert (run.frozen, run.leaving, run.expected_end) == (True, False, math.inf)


def test_a_job_that_is_told_to_stop_is_leaving() -> None:
    job, _attempt = a_running_job(device=a_device())
    lifecycle.cancel(job, a_user())
    assert (the_run().leaving, the_run().leaving_for) == (True, "")


def test_a_preempted_job_says_for_whom_it_leaves_and_what_it_has_saved() -> None:
    job, attempt = a_running_job(device=a_device())
    saved = timezone.now()
    Attempt.objects.filter(pk=attempt.pk).update(preempted_for="beneficiary1", saved_at=saved)
    assert the_run().leaving_for == ""  # it has not been told
    Job.objects.filter(pk=job.pk).update(state=JobState.SUSPENDING)
    run = the_run()
    assert (run.leaving, run.leaving_for, run.saved_at) == (True, "beneficiary1", saved.timestamp())


def test_the_load_of_a_running_job_is_the_one_that_its_start_counted_with() -> None:
    _job, attempt = a_running_job(device=a_device())
    Allocation.objects.filter(attempt=attempt).update(sm_share=0.3)
    assert the_run().job.sm_share == 0.3


# --- projects -------------------------------------------------------------------------------------


def test_a_project_shows_its_quota_and_its_peoples() -> None:
    Quota.objects.create(project=default_project(), limit_cards=4, guarantee_cards=2)
    Quota.objects.create(project=default_project(), user=a_user("ada"), limit_running=3)
    project = taken().projects["default"]
    assert (project.limit.cards, project.guarantee.cards, project.weight) == (4, 2, 1.0)
    assert {name: user.limit.running for name, user in project.users.items()} == {"ada": 3}


def test_a_project_shows_what_its_ended_attempts_have_used() -> None:
    now = timezone.now()
    for name in ("ada", "bob"):
        a_past_run(
            device=a_device(1 if name == "ada" else 2, total=80 * GIB), memory=40 * GIB,
            owner=a_user(name), begun=now - timedelta(minutes=60), ended=now,
        )  # fmt: skip
    project = taken().projects["default"]
    ada = project.users["ada"]
    assert ada.usage == pytest.approx(HOUR / 2, rel=0.02)
    assert project.usage == pytest.approx(2 * ada.usage)
    assert project.gpu_hours_month == pytest.approx(2 * ada.gpu_hours_month)
    assert 0 < now.timestamp() - project.month_began <= 31 * 24 * HOUR


def test_finished_jobs_leave_usage_and_running_ones_none() -> None:
    _job, attempt = a_running_job(device=a_device())
    assert taken().projects["default"].usage == 0
    ended = Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED, exit_code=0)
    assert lifecycle.finish(attempt, ended)
    assert taken().projects["default"].usage > 0
    assert taken().running == ()


# --- the whole ------------------------------------------------------------------------------------


def test_the_sites_settings_are_the_schedulers_rules() -> None:
    sitesettings.change({"min_run_minutes": 5, "max_workers": 7}, None)
    assert (taken().rules, taken().max_workers) == (Rules(min_run=300), 7)


def test_the_stored_reasons_come_along() -> None:
    job = a_job()
    assert snapshots.take().wait_codes == {job.pk: ""}


@pytest.mark.parametrize("jobs", [1, 12])
def test_the_number_of_queries_does_not_grow_with_the_queue(
    jobs: int, django_assert_num_queries: Any
) -> None:
    device = a_device()
    for number in range(jobs):
        Job.objects.filter(pk=a_job(f"job-{number}").pk).update(template=f"kind-{number}")
    a_running_job("running", device=device)
    with django_assert_num_queries(13):
        snapshots.take()
