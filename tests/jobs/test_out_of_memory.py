"""A job that ran out of memory: tried again only with more, and otherwise told what to change, at every door."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from jobs import endings, lifecycle, outofmemory
from jobs.api.schemas import JobOut, SubmittedOut
from jobs.api.whyschemas import WhyDetailOut
from jobs.core.ending import Ending
from jobs.core.outofmemory import Shortage
from jobs.core.states import JobState, Outcome, Reason
from jobs.failures import failure_of
from jobs.launch import procfs
from jobs.launch.command import Command, Ended
from jobs.models import Allocation, Attempt, Job, Quota
from jobs.serialize import event_json
from tests.jobs.apicalls import by_token, fits
from tests.rows import GIB, a_device, a_running_job, a_user

pytestmark = pytest.mark.django_db

CUDA = Ending(outcome=Outcome.FAILED, reason=Reason.GPU_OUT_OF_MEMORY, exit_code=1)
HOST = Ending(outcome=Outcome.FAILED, reason=Reason.HOST_OUT_OF_MEMORY, exit_code=137)
TRAINING = {
    "model_name_or_path": "Qwen/Qwen2.5-7B-Instruct",
    "stage": "sft",
    "do_train": True,
    "dataset": "alpaca",
    "cutoff_len": 2048,
    "per_device_train_batch_size": 8,
}


def running(task_id: str = "greedy", *, total: int = 80, **spec: Any) -> tuple[Job, Attempt]:
    device = a_device(total=total * GIB)
    return a_running_job(task_id, device=device, owner=a_user(), **spec)


def ends(attempt: Attempt, ending: Ending = CUDA) -> Job:
    """The attempt ends as the dispatcher would end it."""
    assert lifecycle.finish(attempt, outofmemory.with_next_need(attempt, ending))
    return Job.objects.get(pk=attempt.job_id)


def test_without_leave_it_is_not_tried_again():
    _job, attempt = running()
    assert ends(attempt).state == JobState.FAILED


def test_with_leave_it_is_tried_again_with_more_memory_and_says_so():
    job, attempt = running(retry_on=["oom"])
    again = ends(attempt)
    assert (again.state, again.min_memory, again.exclusive) == (JobState.QUEUED, 21 * GIB, False)
    assert again.spec["resources"]["min_memory"] == 14 * GIB, "the task keeps what was written"
    event = job.events.select_related("attempt", "actor").get(kind="retry")
    assert "From now on it asks for 21 GiB on each card." in event_json(event)["detail"]


def test_whoever_lost_what_was_booked_to_others_gets_a_card_of_its_own():
    _job, attempt = running(retry_on=["oom"])
    squeezed = Ending(
        outcome=CUDA.outcome,
        reason=CUDA.reason,
        shortage=Shortage(tried=GIB, in_use=8 * GIB, free=0),
    )
    again = ends(attempt, squeezed)
    assert (again.state, again.min_memory, again.exclusive) == (JobState.QUEUED, 14 * GIB, True)


def test_what_no_card_can_give_is_not_tried_again():
    _job, attempt = running(retry_on=["oom"], total=15)
    hopeless = Ending(
        outcome=CUDA.outcome,
        reason=CUDA.reason,
        shortage=Shortage(tried=9 * GIB, in_use=14 * GIB, free=0),
    )
    job = ends(attempt, hopeless)
    assert job.state == JobState.FAILED
    assert "No card here that it may run on has more" in failure_of(job).advice


def test_main_memory_that_ran_out_is_never_tried_again_by_itself():
    job, attempt = running(retry_on=["oom", "failed"])
    assert ends(attempt, HOST).state == JobState.FAILED
    assert "main memory" in failure_of(Job.objects.get(pk=job.pk)).advice


def test_the_quota_sets_a_limit_to_more():
    job, attempt = running(retry_on=["oom"])
    Quota.objects.create(project=job.project, limit_memory=20 * GIB)
    assert ends(attempt).state == JobState.FAILED


def test_the_measured_peak_informs_the_next_booking():
    _job, attempt = running(retry_on=["oom"])
    Allocation.objects.filter(attempt=attempt).update(peak=30 * GIB)
    assert ends(attempt).min_memory == 37 * GIB


def test_the_api_tells_the_remedies_and_takes_them_as_a_clone():
    job, attempt = running("train", total=80, command=None, llamafactory=TRAINING)
    ends(attempt)
    caller = by_token(a_user(), "read", "submit")
    body = fits(JobOut, caller.get(f"/api/v1/jobs/{job.pk}"))
    found = {each["code"]: each for each in body["failure"]["remedies"]}
    batch = found["batch"]
    assert batch["after_bytes"] < batch["before_bytes"]
    assert batch["url"].startswith("http")
    assert fits(WhyDetailOut, caller.get(f"/api/v1/jobs/{job.pk}/why"))["remedy"]
    answer = caller.post(f"/api/v1/jobs/{job.pk}/clone", {"changes": batch["changes"]})
    copy = Job.objects.get(pk=fits(SubmittedOut, answer)["id"])
    changed = copy.spec["llamafactory"]
    assert changed["per_device_train_batch_size"] * changed["gradient_accumulation_steps"] == 8


def test_lists_do_not_work_remedies_out():
    _job, attempt = running("one")
    ends(attempt)
    answer = by_token(a_user(), "read").get("/api/v1/jobs").json()
    assert {item["failure"] for item in answer["items"] if len(answer["items"]) > 1} <= {None}


def test_a_job_that_succeeded_after_all_has_no_failure():
    job, attempt = running(retry_on=["oom"])
    ends(attempt)
    Job.objects.filter(pk=job.pk).update(state="SUCCEEDED", finished_at=timezone.now())
    assert failure_of(Job.objects.get(pk=job.pk)) is None


class NobodyCounts:
    """A container of which the kernel keeps no account."""

    label = "tag"

    def out_of_memory(self) -> bool | None:
        return None


@pytest.mark.parametrize(
    ("ended", "rises", "expected"),
    [
        (Ended(signal=9), 1, True),
        (Ended(code=137), 1, True),
        (Ended(signal=9), 0, False),
        (Ended(code=1), 1, False),
    ],
)
def test_without_a_count_of_its_own_a_kill_while_the_kernel_killed_was_for_memory(
    monkeypatch, ended, rises, expected
):
    kills = iter([3, 3 + rises])
    monkeypatch.setattr(procfs, "out_of_memory_kills", lambda: next(kills))
    command = Command({}, NobodyCounts())
    assert command._ran_out_of_memory(ended) is expected


def test_the_kernels_count_can_be_read():
    assert procfs.out_of_memory_kills() >= 0


def test_an_exit_record_with_a_kernel_kill_is_host_memory(settings):
    _job, attempt = running()
    ending = endings.exited(attempt, {"oom_kill": True, "signal": 9}, engine=None)
    assert ending.reason is Reason.HOST_OUT_OF_MEMORY
