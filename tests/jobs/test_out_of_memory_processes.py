"""Out of memory with real processes: recognised by log and exit, tried again with more, or failed with the way out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import pytest
from django.utils import timezone

from gpus.models import Device
from jobs.core.remedies import RemedyCode
from jobs.core.states import JobState
from jobs.cycle import Cycle
from jobs.engines.local import LocalEngine
from jobs.failures import failure_of
from jobs.models import Job
from jobs.refs import ref_of
from tests.rows import GIB, a_device, a_job
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db

MESSAGE = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.25 GiB"
    " of which 60.00 GiB is free. Including non-PyTorch memory, this process has 13.50 GiB memory in use. 14.00 GiB"
    " allowed; Of the allocated memory 13.00 GiB is allocated by PyTorch, and 0 bytes is reserved by PyTorch."
)
ONCE = f"if [ -e tried ]; then echo fine; else touch tried; echo {quote(MESSAGE)} >&2; exit 1; fi"
ALWAYS = f"echo {quote(MESSAGE)} >&2; exit 1"


def has_ended(engine: LocalEngine, job: Job) -> bool:
    attempt = job.open_attempt
    return attempt is None or engine.observe(ref_of(attempt)).kind != "alive"


@pytest.fixture
def cycle(tmp_path: Path, settings: Any) -> Iterator[Cycle]:
    settings.COOP_HOME = tmp_path
    engine = LocalEngine(tmp_path)
    yield Cycle(engine)
    for job in Job.objects.active():
        wait_until(partial(has_ended, engine, job), what="its end")
    engine.close()


def run_until(cycle: Cycle, job: Job, wanted: JobState) -> Job:
    def reached() -> bool:
        Device.objects.update(read_at=timezone.now())
        cycle.run()
        return Job.objects.get(pk=job.pk).state == wanted

    wait_until(reached, what=f"{job} to be {wanted}")
    return Job.objects.get(pk=job.pk)


def test_the_second_attempt_gets_what_the_first_one_wanted_and_succeeds(cycle: Cycle) -> None:
    a_device()
    job = run_until(cycle, a_job(command=ONCE, retry_on=["oom"]), JobState.SUCCEEDED)
    booked = [each.allocations.get().booked // GIB for each in job.attempts.all()]
    assert booked == [14, 21]
    assert [each.reason for each in job.attempts.all()] == ["gpu_out_of_memory", "completed"]
    assert Device.objects.get().booked == 0


def test_it_is_tried_no_more_often_than_its_task_allows_and_each_time_with_more(
    cycle: Cycle,
) -> None:
    a_device()
    job = a_job(command=ALWAYS, retry_on=["oom"], max_attempts=3)
    job = run_until(cycle, job, JobState.FAILED)
    booked = [each.allocations.get().booked // GIB for each in job.attempts.all()]
    assert booked == [14, 21, 32]


def test_where_no_card_has_more_it_fails_at_once(cycle: Cycle) -> None:
    a_device(total=15 * GIB)
    job = a_job(command=ALWAYS, retry_on=["oom"], max_attempts=3, memory=12 * GIB)
    job = run_until(cycle, job, JobState.FAILED)
    assert job.attempts.count() == 1


def test_without_leave_it_fails_and_says_that_it_met_its_cap_and_what_to_do(cycle: Cycle) -> None:
    a_device()
    job = run_until(cycle, a_job(command=ALWAYS), JobState.FAILED)
    failure = failure_of(job)
    assert failure is not None
    assert "It met its own cap of 14 GiB; the card had room." in failure.diagnosis
    assert [each.code for each in failure.remedies] == [RemedyCode.MORE_MEMORY]
