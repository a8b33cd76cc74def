from __future__ import annotations

import pytest

from jobs import actions, lifecycle
from jobs.core.states import JobState, Priority
from jobs.models import Job, Membership
from jobs.refusals import Refused
from tests.rows import a_device, a_job, a_running_job, a_started_job, a_user, an_admin

pytestmark = pytest.mark.django_db


def state(job: Job) -> str:
    return Job.objects.get(pk=job.pk).state


def refusal(action: object, *args: object, **options: object) -> Refused:
    with pytest.raises(Refused) as caught:
        action(*args, **options)  # type: ignore[operator]
    return caught.value


def test_pausing_a_queued_job_holds_it_and_resuming_releases_it() -> None:
    job = a_job()
    actions.pause(job, a_user())
    assert state(job) == JobState.HELD
    actions.resume(job, a_user())
    assert state(job) == JobState.QUEUED


def test_pausing_twice_is_no_error() -> None:
    job = a_job()
    actions.pause(job, a_user())
    assert actions.pause(job, a_user()).state == JobState.HELD


def test_a_running_job_is_frozen_only_when_its_memory_may_stay() -> None:
    job, _attempt = a_running_job(device=a_device())
    no = refusal(actions.pause, job, a_user())
    assert (no.status, no.code) == (409, "pause_needs_keep_memory")
    assert "--keep-memory" in no.hint
    actions.pause(job, a_user(), keep_memory=True)
    assert state(job) == JobState.SUSPENDED
    actions.resume(job, a_user())
    assert state(job) == JobState.RUNNING


def test_a_starting_job_is_not_paused() -> None:
    job, _attempt = a_started_job(device=a_device())
    assert refusal(actions.pause, job, a_user()).code == "not_running_yet"


def test_nothing_can_be_done_to_an_ended_job() -> None:
    job = a_job()
    lifecycle.cancel(job, a_user())
    for action in (actions.pause, actions.resume):
        assert refusal(action, job, a_user()).status == 409


def test_cancelling_twice_is_no_error() -> None:
    job = a_job()
    actions.cancel(job, a_user())
    assert actions.cancel(job, a_user()).state == JobState.CANCELLED


def test_a_job_that_moved_meanwhile_is_read_again() -> None:
    device = a_device()
    stale = a_job()
    lifecycle.start(Job.objects.get(pk=stale.pk), device.node, [(device, stale.min_memory)])
    assert actions.cancel(stale, a_user()).state == JobState.STOPPING


def test_a_member_controls_own_jobs_only_and_a_lead_controls_all() -> None:
    job = a_job(owner=a_user("owner"))
    assert refusal(actions.cancel, job, a_user("other")).status == 403
    assert refusal(actions.cancel, job, a_user("viewer", role=Membership.Role.VIEWER)).status == 403
    assert (
        actions.cancel(job, a_user("lead", role=Membership.Role.LEAD)).state == JobState.CANCELLED
    )


def test_what_an_admin_holds_only_an_admin_releases() -> None:
    job = a_job(owner=a_user("owner"))
    actions.pause(job, an_admin())
    assert refusal(actions.resume, job, a_user("owner")).status == 403
    assert actions.resume(job, an_admin()).state == JobState.QUEUED


def test_only_leads_and_admins_change_a_priority() -> None:
    job = a_job()
    assert refusal(actions.set_priority, job, a_user(), Priority.HIGH).status == 403
    actions.set_priority(job, a_user("lead", role=Membership.Role.LEAD), Priority.HIGH)
    assert Job.objects.get(pk=job.pk).priority == Priority.HIGH
