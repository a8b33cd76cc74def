"""Running jobs that do nothing: warned once, kept where their owner says so, suspended where the site wants it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from gpus.models import Device, HolderReading, Reading
from jobs import actions, endings, idling, lifecycle, records, rundir, sitesettings
from jobs.api.schemas import EventsOut, JobOut
from jobs.core.states import JobState, Outcome, Reason
from jobs.core.units import GIB
from jobs.models import Attempt, Job, JobEvent, Notification
from tests.jobs.apicalls import by_token, fits, problem
from tests.rows import a_device, a_running_job, a_user

pytestmark = pytest.mark.django_db

HOURS = 3


def minutes_of(attempt: Attempt, device: Device, busy: float | None, power: float = 60.0) -> None:
    """What the sampler would have stored of the last hour, and will of the next one."""
    last = int(timezone.now().timestamp() // 60) * 60
    for start in range(last - 3600, last + 3600, 60):
        period = {"device": device, "seconds": 60, "start": start, "samples": 60}
        HolderReading.objects.create(
            **period, holder=attempt.token, used_mean=GIB, used_max=GIB, busy_mean=busy
        )
        Reading.objects.get_or_create(
            **period, defaults={"busy_mean": busy, "power_mean": power, "used_mean": GIB}
        )


def log_of(attempt: Attempt, settings: Any, *, age_s: float) -> None:
    folder = rundir.attempt_directory(settings.COOP_HOME, attempt.job_id, attempt.number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / rundir.LOG).write_text("hello\n")
    at = timezone.now().timestamp() - age_s
    os.utime(folder / rundir.LOG, (at, at))


def running(
    settings: Any,
    task_id: str = "sleeper",
    *,
    busy: float | None = 0.0,
    log_age_s: float = 7200,
    index: int = 0,
    **spec: Any,
) -> tuple[Job, Attempt]:
    """A job that has run for hours, with readings and a log."""
    device = a_device(index, power_limit=400.0)
    job, attempt = a_running_job(task_id, device=device, owner=a_user(), **spec)
    begun = timezone.now() - timedelta(hours=HOURS)
    Job.objects.filter(pk=job.pk).update(
        state_since=begun, preemptible=spec.get("llamafactory") is not None
    )
    Attempt.objects.filter(pk=attempt.pk).update(started_at=begun)
    log_of(attempt, settings, age_s=log_age_s)
    minutes_of(attempt, device, busy)
    return fresh(job)


def fresh(job: Job) -> tuple[Job, Attempt]:
    attempt = Attempt.objects.select_related("job").get(job=job.pk, number=job.epoch)
    return attempt.job, attempt


def kinds(job: Job) -> list[str]:
    known = {"idle", "hang", "busy", "keep", "pause"}
    rows = JobEvent.objects.filter(job=job.pk, kind__in=known)
    return list(rows.order_by("id").values_list("kind", flat=True))


def look(after: timedelta = timedelta()) -> datetime:
    now = timezone.now() + after
    idling.look(now)
    return now


@pytest.fixture
def suspends() -> Iterator[None]:
    sitesettings.change({"idle_action": "suspend", "idle_grace_minutes": 15}, None)
    return


TRAINING = {"stage": "sft", "do_train": True}


def test_a_job_that_does_nothing_is_warned_once_however_often_it_is_looked_at(settings):
    job, _attempt = running(settings)
    look()
    look()
    assert kinds(job) == ["idle"]
    job, attempt = fresh(job)
    assert job.state == JobState.RUNNING
    found = idling.warning_of(job, attempt)
    assert found.kind == "idle"
    assert found.sentence.startswith("Its cards have done nothing for 30m")


def test_a_job_that_works_is_left_alone(settings):
    job, _attempt = running(settings, busy=0.7)
    look()
    assert kinds(job) == []
    assert idling.warning_of(*fresh(job)) is None


def test_a_warning_is_taken_back_when_the_job_works_again(settings):
    job, attempt = running(settings)
    look()
    HolderReading.objects.filter(holder=attempt.token).update(busy_mean=0.9)
    look()
    assert kinds(job) == ["idle", "busy"]
    assert idling.warning_of(*fresh(job)) is None


def test_a_training_that_has_stopped_is_told_to_hang(settings):
    job, attempt = running(settings, llamafactory={**TRAINING, "logging_steps": 10})
    at = (timezone.now() - timedelta(hours=1)).timestamp()
    Job.objects.filter(pk=job.pk).update(progress={"step": 5, "rate": 1.0, "at": at})
    HolderReading.objects.filter(holder=attempt.token).update(busy_mean=1.0)
    look()
    assert kinds(job) == ["hang"]
    assert "It seems to hang" in idling.warning_of(*fresh(job)).sentence


def test_by_default_the_site_only_warns(settings):
    job, _attempt = running(settings, llamafactory=TRAINING)
    look()
    look(timedelta(minutes=20))
    assert fresh(job)[0].state == JobState.RUNNING
    assert "this site only warns" in idling.warning_of(*fresh(job)).sentence


def test_after_the_grace_it_is_suspended_where_the_site_wants_that(settings, suspends):
    job, attempt = running(settings, llamafactory=TRAINING)
    look()
    look(timedelta(minutes=14))
    assert fresh(job)[0].state == JobState.RUNNING
    look(timedelta(minutes=16))
    job, attempt = fresh(job)
    assert (job.state, attempt.stop_for) == (JobState.SUSPENDING, Outcome.SUSPENDED)
    record = {"code": 143, "signal": None, "stopped_by": "control"}
    assert lifecycle.finish(attempt, endings.exited(attempt, record, engine=None))
    job, attempt = fresh(job)
    assert (job.state, attempt.reason) == (JobState.SUSPENDED, Reason.IDLE)
    assert actions.resume(job, job.owner).state == JobState.QUEUED


def test_what_cannot_give_its_cards_back_is_only_warned(settings, suspends):
    job, _attempt = running(settings)
    look()
    look(timedelta(minutes=16))
    assert fresh(job)[0].state == JobState.RUNNING
    assert "cannot give its cards back" in idling.warning_of(*fresh(job)).sentence


def test_what_still_prints_is_warned_and_not_suspended(settings, suspends):
    job, _attempt = running(settings, llamafactory=TRAINING, log_age_s=0)
    look()
    look(timedelta(minutes=16))
    assert kinds(job) == ["idle"]


def test_its_owner_keeps_it_and_it_is_warned_again_only_after_that(settings, suspends):
    job, _attempt = running(settings, llamafactory=TRAINING)
    look()
    actions.keep(job, job.owner, 3600)
    assert idling.warning_of(*fresh(job)) is None
    look(timedelta(minutes=20))
    assert kinds(job) == ["idle", "keep"]
    assert fresh(job)[0].state == JobState.RUNNING
    Attempt.objects.filter(job=job).update(idle_kept_until=timezone.now())
    look()
    assert kinds(job) == ["idle", "keep", "idle"]


def test_a_job_that_was_frozen_meanwhile_is_judged_anew(settings):
    job, _attempt = running(settings)
    look()
    actions.pause(job, job.owner, keep_memory=True)
    actions.resume(job, job.owner)
    assert idling.warning_of(*fresh(job)) is None
    look()
    assert kinds(job) == ["idle"]


def test_a_neighbour_that_works_does_not_hide_who_does_nothing_where_the_card_can_tell(settings):
    job, _attempt = running(settings)
    device = Device.objects.get()
    neighbour, other = a_running_job("neighbour", device=device, owner=a_user())
    minutes_of(other, device, 0.9, power=390.0)
    look()
    assert kinds(job) == ["idle"]
    assert kinds(neighbour) == []


def test_alone_on_a_card_that_draws_power_it_works_whatever_the_utilisation_says(settings):
    job, _attempt = running(settings)
    Reading.objects.update(power_mean=300.0)
    look()
    assert kinds(job) == []


def test_where_the_card_cannot_say_who_computes_an_idle_card_still_tells(settings):
    job, attempt = running(settings)
    HolderReading.objects.filter(holder=attempt.token).update(busy_mean=None)
    look()
    assert kinds(job) == ["idle"]


def test_nobody_looks_where_the_site_does_not_want_it(settings):
    sitesettings.change({"idle_minutes": None}, None)
    job, _attempt = running(settings)
    look()
    assert kinds(job) == []


def test_the_look_costs_the_same_number_of_queries_for_many_jobs(
    settings, django_assert_max_num_queries
):
    for index in range(6):
        running(settings, f"busy-{index}", busy=0.5, index=index)
    with django_assert_max_num_queries(6):
        look()


def test_the_api_tells_the_warning_and_takes_the_owners_word(settings):
    job, _attempt = running(settings)
    look()
    caller = by_token(a_user(), "read", "control")
    address = f"/api/v1/jobs/{job.pk}"
    body = fits(JobOut, caller.get(address))
    assert body["idle"]["kind"] == "idle"
    assert body["idle"]["suspends_at"] is None
    assert fits(JobOut, caller.post(f"{address}/keep", {"for": "4h"}))["idle"] is None
    told = fits(EventsOut, caller.get(f"{address}/events"))["items"]
    assert told[-1]["detail"] == "for 4h, whatever its cards do"
    problem(caller.post(f"{address}/keep", {"for": "long"}), 422, "request_invalid")
    problem(caller.post(f"{address}/keep", {"for": "1m"}), 422, "bad_duration")


def test_a_job_that_does_not_run_is_not_kept(settings):
    job, _attempt = running(settings)
    actions.pause(job, job.owner, keep_memory=True)
    caller = by_token(a_user(), "read", "control")
    problem(caller.post(f"/api/v1/jobs/{job.pk}/keep"), 409, "not_running_yet")
    actions.cancel(job, job.owner)


def test_somebody_elses_job_is_not_kept(settings):
    job, _attempt = running(settings)
    with pytest.raises(actions.ActionRefused):
        actions.keep(job, a_user("other"), 3600)


def test_two_looks_at_the_same_moment_warn_once(settings):
    job, _attempt = running(settings)
    now = timezone.now()
    seen = [pair for _look in range(2) for pair in idling._sightings([fresh(job)[1]], now, 1800.0)]
    for attempt, sighting in seen:
        idling._follow(attempt, sighting, sitesettings.current())
    assert kinds(job) == ["idle"]


def test_the_owner_is_told_once(settings):
    job, _attempt = running(settings)
    look()
    look()
    assert [each.kind for each in Notification.objects.filter(user=job.owner)] == ["idle"]


def test_a_look_that_is_cut_off_leaves_a_warning_whole_or_none(settings, monkeypatch):
    job, _attempt = running(settings)
    monkeypatch.setattr(records, "note", cut_off)
    with pytest.raises(Killed):
        look()
    monkeypatch.undo()
    assert fresh(job)[1].idle_kind == ""
    look()
    assert kinds(job) == ["idle"]


def test_a_pause_that_comes_first_is_not_followed_by_a_warning(settings):
    job, _attempt = running(settings, llamafactory=TRAINING)
    stale = fresh(job)[1]
    actions.pause(job, job.owner)
    now = timezone.now()
    for attempt, sighting in idling._sightings([stale], now, 1800.0):
        idling._follow(attempt, sighting, sitesettings.current())
    assert kinds(job) == ["pause"]


class Killed(BaseException):
    """What a kill looks like to the code that it meets."""


def cut_off(*_arguments: object, **_named: object) -> None:
    raise Killed
