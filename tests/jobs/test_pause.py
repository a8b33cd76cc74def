"""A person's pause: what the rows say when a job is told to give its cards back, when it has, and what it costs."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from gpus.models import Device
from jobs import actions, endings, lifecycle, rundir
from jobs.core.ending import Ending
from jobs.core.states import JobState, Outcome, Reason
from jobs.models import Attempt, Job
from jobs.refusals import Refused
from jobs.suspension import Way, cost_of_pause
from tests.jobs.test_preemption import together
from tests.rows import GIB, a_device, a_job, a_running_job, a_started_job, a_user, an_admin

pytestmark = pytest.mark.django_db

SUSPENDED = Ending(outcome=Outcome.SUSPENDED, reason=Reason.USER, exit_code=0)
DONE = Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED, exit_code=0)
CRASHED = Ending(outcome=Outcome.FAILED, reason=Reason.EXIT_CODE, exit_code=1)
CONFIG = {"model_name_or_path": "m", "do_train": True, "dataset": "d"}


@pytest.fixture
def device(settings, tmp_path) -> Device:
    settings.COOP_HOME = tmp_path
    return a_device()


def training(device: Device, *, saves: bool = True, **spec: object) -> Job:
    """A running LLaMA-Factory job."""
    job, attempt = a_running_job(device=device, command=None, llamafactory=CONFIG, **spec)
    Attempt.objects.filter(pk=attempt.pk).update(saves_itself=saves)
    return job


def fresh(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def attempt_of(job: Job) -> Attempt:
    return job.attempts.select_related("job").latest("number")


def booked(device: Device) -> int:
    return Device.objects.get(pk=device.pk).booked


def refusal(action: object, *args: object, **options: object) -> Refused:
    with pytest.raises(Refused) as caught:
        action(*args, **options)  # type: ignore[operator]
    return caught.value


def test_a_paused_training_keeps_its_card_until_it_has_gone(device):
    job = training(device)
    actions.pause(job, a_user())
    assert fresh(job).state == JobState.SUSPENDING
    assert booked(device) == job.min_memory
    lifecycle.finish(attempt_of(job), SUSPENDED)
    assert (fresh(job).state, booked(device)) == (JobState.SUSPENDED, 0)
    assert [event.kind for event in job.events.all()][-2:] == ["pause", "suspend"]


def test_it_goes_back_to_its_old_place_when_it_is_resumed(device):
    job = training(device)
    actions.pause(job, a_user())
    lifecycle.finish(attempt_of(job), SUSPENDED)
    actions.resume(job, a_user())
    again = fresh(job)
    assert (again.state, again.submitted_at, again.not_before) == (
        JobState.QUEUED,
        job.submitted_at,
        None,
    )


def test_a_pause_is_no_attempt_in_vain(device):
    job = training(device, max_attempts=1)
    actions.pause(job, a_user())
    lifecycle.finish(attempt_of(job), SUSPENDED)
    actions.resume(job, a_user())
    attempt = lifecycle.start(fresh(job), device.node, [(device, job.min_memory)])
    lifecycle.mark_running(attempt, started_at=timezone.now(), containment="tag")
    lifecycle.finish(attempt_of(job), Ending(outcome=Outcome.LOST, reason=Reason.SUPERVISOR_DIED))
    assert fresh(job).state == JobState.FAILED, "its only attempt in vain was the second"


def test_a_command_that_does_not_want_it_is_not_interrupted(device):
    job, _ = a_running_job(device=device)
    no = refusal(actions.pause, job, a_user())
    assert (no.status, no.code) == (409, "pause_needs_keep_memory")
    assert "--keep-memory" in no.hint
    assert cost_of_pause(job).way is Way.NONE


def test_a_command_that_may_be_interrupted_says_first_that_it_begins_anew(device):
    job, attempt = a_running_job(device=device)
    Job.objects.filter(pk=job.pk).update(preemptible=True)
    begun = timezone.now() - timedelta(minutes=10)
    Attempt.objects.filter(pk=attempt.pk).update(started_at=begun)
    cost = cost_of_pause(fresh(job))
    assert (cost.way, cost.loses_all, cost.frees_bytes) == (Way.RESTART, True, job.min_memory)
    assert cost.repeated_seconds == pytest.approx(600, abs=5)
    assert "starts again from its beginning: 10m of work will be repeated" in cost.sentence
    actions.pause(job, a_user())
    assert fresh(job).state == JobState.SUSPENDING


def a_checkpoint(home: Path, job: Job, step: int, *, complete: bool = True) -> None:
    folder = rundir.job_directory(home, job.pk) / "output" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": 99}))
    if not complete:
        (folder / "checkpoint-is-incomplete.txt").touch()


def test_a_training_that_does_not_save_repeats_the_steps_since_its_last_complete_checkpoint(
    device, tmp_path
):
    job = training(device, saves=False)
    a_checkpoint(tmp_path, job, 40)
    a_checkpoint(tmp_path, job, 60, complete=False)
    Job.objects.filter(pk=job.pk).update(progress={"step": 67})
    cost = cost_of_pause(fresh(job))
    assert (cost.way, cost.from_step, cost.repeated_steps) == (Way.CHECKPOINT, 40, 27)
    assert "goes on from step 40: about 27 steps" in cost.sentence


def test_a_training_that_saves_repeats_at_most_one_step_and_takes_as_long_as_others_did(device):
    job = training(device)
    assert cost_of_pause(job).typical_seconds is None
    assert "at most 2m" in cost_of_pause(job).sentence
    actions.pause(job, a_user())
    told = job.events.get(kind="pause")
    lifecycle.finish(attempt_of(job), SUSPENDED)
    job.events.filter(kind="suspend").update(at=told.at + timedelta(seconds=7))
    other, attempt = a_running_job("other", device=device, command=None, llamafactory=CONFIG)
    Attempt.objects.filter(pk=attempt.pk).update(saves_itself=True)
    cost = cost_of_pause(other)
    assert (cost.repeated_steps, cost.typical_seconds) == (1, 7.0)
    assert "usually takes 7s, at most 2m" in cost.sentence


def test_a_pause_of_a_starting_training_waits_until_it_runs(device):
    job, attempt = a_started_job(device=device, command=None, llamafactory=CONFIG)
    actions.pause(job, a_user())
    assert fresh(job).state == JobState.STARTING
    lifecycle.mark_running(attempt, started_at=timezone.now(), containment="tag")
    assert fresh(job).state == JobState.SUSPENDING
    assert booked(device) == job.min_memory


def test_a_pause_of_a_starting_training_can_be_taken_back(device):
    job, attempt = a_started_job(device=device, command=None, llamafactory=CONFIG)
    actions.pause(job, a_user())
    actions.resume(job, a_user())
    lifecycle.mark_running(attempt, started_at=timezone.now(), containment="tag")
    assert fresh(job).state == JobState.RUNNING


def test_a_paused_start_that_never_ran_is_held(device):
    job, attempt = a_started_job(device=device, command=None, llamafactory=CONFIG)
    actions.pause(job, a_user())
    lifecycle.finish(attempt, endings.lost(attempt_of(job), Reason.NOT_CLAIMED))
    assert (fresh(job).state, booked(device)) == (JobState.HELD, 0)


@pytest.mark.parametrize(("ending", "expected"), [(DONE, "SUCCEEDED"), (CRASHED, "HELD")])
def test_a_job_that_ends_by_itself_while_it_is_paused_never_runs_on_unasked(
    device, ending, expected
):
    job = training(device, retry_on=["failed"])
    actions.pause(job, a_user())
    lifecycle.finish(attempt_of(job), ending)
    assert (fresh(job).state, booked(device)) == (expected, 0)


def test_cancelling_while_it_is_paused_ends_it(device):
    job = training(device)
    actions.pause(job, a_user())
    actions.cancel(job, a_user())
    assert fresh(job).state == JobState.STOPPING
    lifecycle.finish(attempt_of(job), SUSPENDED)  # as it was judged before the person asked
    assert fresh(job).state == JobState.CANCELLED


def test_a_job_on_its_way_is_neither_paused_again_nor_resumed(device):
    job = training(device)
    actions.pause(job, a_user())
    for action in (actions.pause, actions.resume):
        no = refusal(action, job, a_user())
        assert (no.status, no.code) == (409, "being_paused")


def test_a_frozen_job_is_not_said_to_have_given_its_card_back(device):
    job = training(device)
    actions.pause(job, a_user(), keep_memory=True)
    assert refusal(actions.pause, job, a_user()).code == "frozen"
    assert actions.pause(job, a_user(), keep_memory=True).state == JobState.SUSPENDED
    assert booked(device) == job.min_memory


def test_what_an_admin_suspends_only_an_admin_resumes(device):
    job = training(device, owner=a_user("owner"))
    actions.pause(job, an_admin())
    lifecycle.finish(attempt_of(job), SUSPENDED)
    assert refusal(actions.resume, job, a_user("owner")).status == 403
    assert actions.resume(job, an_admin()).state == JobState.QUEUED


def test_a_save_that_was_promised_and_not_made_is_told(device):
    job = training(device)
    Job.objects.filter(pk=job.pk).update(progress={"step": 9, "at": timezone.now().timestamp()})
    actions.pause(job, a_user())
    attempt = attempt_of(job)
    ending = endings.lost(attempt, Reason.SUPERVISOR_DIED)
    assert "did not" in ending.detail
    lifecycle.finish(attempt, ending)
    assert fresh(job).state == JobState.SUSPENDED
    data = job.events.get(kind="suspend").data
    assert (data["was_to_save"], data["saved"]) == (True, False)
    assert data["lost"] >= 0


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_pause_at_the_very_moment_of_the_start_is_not_forgotten():
    device, person = a_device(total=1000 * GIB), a_user()
    for number in range(30):
        job, attempt = a_started_job(
            f"job-{number}", device=device, command=None, llamafactory=CONFIG
        )
        together(
            lambda attempt=attempt: lifecycle.mark_running(
                attempt, started_at=timezone.now(), containment="tag"
            ),
            lambda job=job: actions.pause(job, person),
        )
        assert (fresh(job).state, attempt_of(job).stop_for) == ("SUSPENDING", "suspended")


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_pause_at_the_very_moment_of_the_end_changes_no_ending():
    device, person = a_device(total=1000 * GIB), a_user()
    for number in range(30):
        job, _ = a_running_job(f"job-{number}", device=device, command=None, llamafactory=CONFIG)
        together(
            lambda job=job: lifecycle.finish(attempt_of(job), DONE),
            lambda job=job: actions.pause(job, person),
        )
        lifecycle.finish(attempt_of(job), DONE)  # the reconciler comes again where it was too early
        assert fresh(job).state == JobState.SUCCEEDED
    assert booked(device) == 0


def test_a_queued_job_loses_nothing(device):
    assert cost_of_pause(a_job()).way is Way.HOLD
