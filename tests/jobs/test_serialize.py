from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobs import lifecycle, queue
from jobs.core.ending import Ending
from jobs.core.states import Outcome, Reason
from jobs.models import Allocation, Job
from jobs.serialize import instant, job_json, jobs_json
from tests.rows import GIB, a_device, a_job, a_running_job

pytestmark = pytest.mark.django_db

SPECIFIED = """
id task_id run project owner priority state outcome reason why position eta resources allocations
progress submitted_at started_at finished_at exit_code url
"""


@pytest.fixture(autouse=True)
def nothing_remembered():
    queue.forget()


def test_a_job_has_at_least_the_fields_that_are_promised() -> None:
    assert set(SPECIFIED.split()) <= set(job_json(a_job()))


def test_times_are_utc_with_a_z_whatever_zone_they_came_in() -> None:
    east = timezone(timedelta(hours=8))
    assert instant(datetime(2026, 2, 3, 14, 5, tzinfo=east)) == "2026-02-03T06:05:00.000Z"
    assert instant(None) is None


def test_sizes_are_whole_bytes() -> None:
    assert job_json(a_job(memory=14 * GIB))["resources"]["min_memory_bytes"] == 14 * GIB


def test_the_expected_end_follows_the_jobs_own_rate() -> None:
    job, _attempt = a_running_job(device=a_device())
    seen = datetime(2026, 2, 3, 14, 5, tzinfo=UTC).timestamp()
    job.progress = {"step": 1, "eta_s": 90.0, "at": seen}
    assert job_json(job)["eta"] == "2026-02-03T14:06:30.000Z"


@pytest.mark.parametrize("progress", [{}, {"eta_s": None}, {"eta_s": "soon"}])
def test_an_unknown_end_is_null(progress: dict[str, object]) -> None:
    job, _attempt = a_running_job(device=a_device())
    job.progress = progress
    assert job_json(job)["eta"] is None


def test_an_ended_job_still_tells_what_its_last_attempt_held() -> None:
    job, attempt = a_running_job(device=a_device(), memory=14 * GIB)
    Allocation.objects.filter(attempt=attempt).update(peak=15 * GIB)
    ending = Ending(outcome=Outcome.FAILED, reason=Reason.EXIT_CODE, detail="it broke", exit_code=3)
    assert lifecycle.finish(attempt, ending)
    told = job_json(Job.objects.select_related("project", "owner").get(pk=job.pk))
    (booking,) = told["allocations"]
    assert (booking["booked_bytes"], booking["peak_bytes"]) == (14 * GIB, 15 * GIB)
    assert booking["released_at"] is not None
    assert (told["outcome"], told["reason"], told["exit_code"]) == ("failed", "exit_code", 3)
    assert (told["why"], told["position"]) == (None, None)


def test_many_jobs_take_as_many_queries_as_one(django_assert_num_queries) -> None:
    device = a_device()
    for number in range(8):
        a_running_job(f"j-{number}", device=device, memory=GIB)
    jobs = list(Job.objects.select_related("project", "owner"))
    with django_assert_num_queries(1):
        jobs_json(jobs)


def test_a_job_is_json_and_nothing_else() -> None:
    job, _attempt = a_running_job(device=a_device())
    assert json.loads(json.dumps(job_json(job))) == job_json(job)
