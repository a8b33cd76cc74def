"""The cycle over a real database and real processes; only the readings of the cards are given."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from django.utils import timezone

from gpus.models import Device
from jobs import actions, lifecycle
from jobs.core.states import JobState
from jobs.cycle import Cycle
from jobs.engines.local import LocalEngine
from jobs.models import Attempt, Job
from jobs.refs import ref_of
from tests.rows import GIB, a_device, a_job, a_user
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db


def has_ended(engine: LocalEngine, attempt: Attempt) -> bool:
    return engine.observe(ref_of(attempt)).kind != "alive"


@pytest.fixture
def engine(tmp_path: Path, settings: object) -> Iterator[LocalEngine]:
    settings.COOP_HOME = tmp_path  # type: ignore[attr-defined] # pytest-django's settings
    engine = LocalEngine(tmp_path)
    yield engine
    for job in Job.objects.active():
        attempt = job.open_attempt
        if attempt is not None:
            engine.control(ref_of(attempt), "stop", 0.0)
            wait_until(partial(has_ended, engine, attempt), what="its end")
    engine.close()


@pytest.fixture
def cycle(engine: LocalEngine) -> Cycle:
    return Cycle(engine)


def state(job: Job) -> str:
    return Job.objects.get(pk=job.pk).state


def run_until(cycle: Cycle, job: Job, wanted: JobState) -> None:
    def reached() -> bool:
        Device.objects.update(read_at=timezone.now())
        cycle.run()
        return state(job) == wanted

    wait_until(reached, what=f"{job} to be {wanted}")


def test_a_queued_job_is_started_runs_and_succeeds(cycle: Cycle) -> None:
    device = a_device()
    job = a_job(command="echo hello")
    run_until(cycle, job, JobState.SUCCEEDED)
    job.refresh_from_db()
    assert (job.outcome, job.reason, job.exit_code) == ("succeeded", "completed", 0)
    assert [event.kind for event in job.events.all()] == ["submit", "start", "run", "end"]
    assert Device.objects.get(pk=device.pk).booked == 0


def test_a_command_that_fails_says_with_which_code(cycle: Cycle) -> None:
    a_device()
    job = a_job(command="echo 'ValueError: no such model' >&2; exit 3")
    run_until(cycle, job, JobState.FAILED)
    job.refresh_from_db()
    assert (job.reason, job.exit_code) == ("exit_code", 3)
    assert "no such model" in job.detail


def test_what_is_printed_is_in_the_log_of_the_attempt(cycle: Cycle, engine: LocalEngine) -> None:
    a_device()
    job = a_job(command="echo one; echo two >&2")
    run_until(cycle, job, JobState.SUCCEEDED)
    log = engine.read_log(ref_of(job.attempts.get()), 0, 1000)
    assert set(log.split()) == {b"one", b"two"}


def test_jobs_share_a_card_by_memory_and_the_rest_waits_with_a_reason(cycle: Cycle) -> None:
    device = a_device(total=80 * GIB)
    jobs = [a_job(f"job-{number}", command="sleep 60", memory=14 * GIB) for number in range(6)]
    assert cycle.run() == 5
    last = Job.objects.get(pk=jobs[-1].pk)
    assert (last.state, last.wait_code) == (JobState.QUEUED, "WAIT_MEMORY")
    assert last.wait_numbers["need"] == 14 * GIB
    assert Device.objects.get(pk=device.pk).booked == 70 * GIB


def test_the_memory_of_a_job_that_ended_goes_to_the_next_in_the_same_cycle(cycle: Cycle) -> None:
    a_device(total=20 * GIB)
    first = a_job("first", command="true")
    second = a_job("second", command="true")
    run_until(cycle, first, JobState.SUCCEEDED)
    assert state(second) in (JobState.STARTING, JobState.RUNNING, JobState.SUCCEEDED)


def test_a_cancelled_job_is_ended_with_its_children(cycle: Cycle, engine: LocalEngine) -> None:
    a_device()
    job = a_job(command="sleep 300 & sleep 300")
    run_until(cycle, job, JobState.RUNNING)
    attempt = job.attempts.get()
    actions.cancel(job, a_user())
    run_until(cycle, job, JobState.CANCELLED)
    attempt.refresh_from_db()
    assert (attempt.outcome, attempt.reason) == ("cancelled", "user")
    assert engine.pids(ref_of(attempt)) == frozenset()


def test_a_frozen_job_stops_and_goes_on_where_it_was(cycle: Cycle, engine: LocalEngine) -> None:
    a_device()
    job = a_job(command="while :; do echo tick; sleep 0.02; done")
    run_until(cycle, job, JobState.RUNNING)
    ref = ref_of(job.attempts.get())
    actions.pause(job, a_user(), keep_memory=True)
    cycle.run()
    wait_until(
        lambda: (engine.observe(ref).applied or {}).get("action") == "freeze", what="the freeze"
    )
    frozen_at = engine.log_size(ref)
    actions.resume(job, a_user())
    assert engine.log_size(ref) == frozen_at
    cycle.run()
    wait_until(lambda: engine.log_size(ref) > frozen_at, what="the job to go on")


def test_a_job_that_depends_on_another_starts_after_its_success(cycle: Cycle) -> None:
    a_device()
    first = a_job("first", command="true")
    second = a_job("second", command="true", depends_on=["first"])
    lifecycle.hold(second, a_user())
    Job.objects.filter(pk=second.pk).update(wait_code="DEPENDENCY")
    run_until(cycle, second, JobState.SUCCEEDED)
    assert state(first) == JobState.SUCCEEDED


def test_a_job_that_depends_on_a_failed_one_says_so(cycle: Cycle) -> None:
    a_device()
    first = a_job("first", command="false")
    second = a_job("second", depends_on=["first"])
    lifecycle.hold(second, a_user())
    Job.objects.filter(pk=second.pk).update(wait_code="DEPENDENCY")
    run_until(cycle, first, JobState.FAILED)
    cycle.run()
    assert Job.objects.get(pk=second.pk).wait_numbers == {"task_ids": {"first": "FAILED"}}


def test_a_job_whose_working_directory_is_gone_fails_and_says_so(cycle: Cycle) -> None:
    a_device()
    job = a_job(workdir="/nonexistent/place")
    run_until(cycle, job, JobState.FAILED)
    job.refresh_from_db()
    assert job.reason == "launch_failed"
    assert "/nonexistent/place" in job.detail


def test_a_stale_reading_starts_nothing(cycle: Cycle) -> None:
    a_device(age=60)
    job = a_job()
    assert cycle.run() == 0
    assert Job.objects.get(pk=job.pk).wait_code == "AGENT_OFFLINE"


def test_a_new_dispatcher_takes_the_running_jobs_over(cycle: Cycle, engine: LocalEngine) -> None:
    a_device()
    job = a_job(command="sleep 300")
    run_until(cycle, job, JobState.RUNNING)
    engine.close()
    successor = Cycle(LocalEngine(engine.directory(ref_of(job.attempts.get())).parents[3]))
    successor.run()
    assert (state(job), job.attempts.count()) == (JobState.RUNNING, 1)
