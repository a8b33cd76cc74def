"""`/jobs/<id>/why`, and what queue, jobs and dry runs say of places and expected starts."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from jobs import estimates, heartbeats, queue
from jobs.api.schemas import JobOut, JobsOut, PlanOut
from jobs.api.siteschemas import QueueOut
from jobs.api.whyschemas import WhyDetailOut
from jobs.core.states import Priority
from jobs.models import Job, Membership, Quota
from jobs.projects import default_project
from tests.jobs.apicalls import by_token, fits, problem
from tests.jobs.queueworlds import HOUR, a_project, behind_one_another
from tests.rows import GIB, a_device, a_job, a_running_job, a_user, an_admin

pytestmark = pytest.mark.django_db

TASK = "task_id: new\nresources: {{min_memory: {memory}}}\ncommand: 'true'\n"


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(estimates, "PATIENCE", 20.0)


@pytest.fixture
def member():
    return by_token(a_user("member"))


def why(caller, job):
    return fits(WhyDetailOut, caller.get(f"/api/v1/jobs/{job.pk}/why"))


def plan(caller, memory="70G", query=""):
    path = f"/api/v1/jobs?dry_run=true{query}"
    return fits(PlanOut, caller.post(path, TASK.format(memory=memory)))


def from_now(text):
    return (datetime.fromisoformat(text) - timezone.now()).total_seconds()


def test_the_expected_start_lies_between_the_two_ends_of_its_range(member):
    first, second = behind_one_another("first", "second")
    one, two = why(member, first), why(member, second)
    assert from_now(one["eta"]) == pytest.approx(HOUR, abs=30)
    assert [from_now(end) for end in one["eta_range"]] == [
        pytest.approx(0.7 * HOUR, abs=30),
        pytest.approx(1.5 * HOUR, abs=60),
    ]
    assert from_now(two["eta"]) == pytest.approx(2 * HOUR, abs=60)
    assert (one["eta_unknown"], one["position"], two["position"]) == (None, 1, 2)


def test_where_nobody_can_tell_there_is_no_number_and_a_sentence(member):
    (job,) = behind_one_another("waits", est_time=None)
    body = why(member, job)
    assert (body["eta"], body["eta_range"]) == (None, None)
    assert body["eta_unknown"] == ("not estimated: nobody knows how long the jobs ahead will run")


def test_the_order_is_told_in_steps_with_their_numbers(member):
    (job,) = behind_one_another("waits")
    steps = {step["step"]: step for step in why(member, job)["order"]}
    assert list(steps) == ["guarantee", "project", "long_wait", "person", "priority", "age"]
    assert steps["project"]["numbers"]["share"] == 1.0
    assert steps["priority"]["numbers"] == {"priority": "medium", "head_start_seconds": 12 * HOUR}
    assert "goes first in its project" in steps["long_wait"]["sentence"]


def test_service_that_a_job_has_had_is_a_step_of_its_own(member):
    (job,) = behind_one_another("waits")
    Job.objects.filter(pk=job.pk).update(service=3 * HOUR, preemptible=True)
    steps = {step["step"]: step for step in why(member, job)["order"]}
    assert steps["service"]["numbers"]["gpu_hours"] == 3.0
    assert "3.0 GPU-hours" in steps["service"]["sentence"]


def test_what_would_help_is_told_as_one_writes_it_in_a_task_file(member):
    _first, second = behind_one_another("first", "second")
    found = {each["field"]: each for each in why(member, second)["what_ifs"]}
    assert found["priority"] == {
        "field": "priority",
        "value": "high",
        "starts_now": False,
        "position": 1,
        "suspended": 0,
        "needs_lead": True,
        "allowed": False,
        "sentence": "Position 1 with priority high (needs a lead)",
    }


def test_a_what_if_of_memory_can_be_sent_to_clone_as_it_is(member):
    (job,) = behind_one_another("waits")
    found = {each["field"]: each for each in why(member, job)["what_ifs"]}
    memory = found["resources.min_memory"]
    assert (memory["sentence"], memory["allowed"]) == ("Starts now with min_memory 30G", True)
    changes = {memory["field"]: memory["value"], "task_id": "smaller"}
    copy = member.post(f"/api/v1/jobs/{job.pk}/clone", {"changes": changes}).json()
    assert copy["resources"]["min_memory_bytes"] == 30 * GIB


def test_a_lead_may_do_what_needs_a_lead():
    _first, second = behind_one_another("first", "second")
    lead = by_token(a_user("lead", role=Membership.Role.LEAD))
    found = {each["field"]: each for each in why(lead, second)["what_ifs"]}
    assert found["priority"]["allowed"]


def test_a_job_far_back_tells_its_place_and_only_the_first_of_those_ahead(member, monkeypatch):
    from jobs import explain, queuestate, starts

    monkeypatch.setattr(queuestate, "POSITIONS", 3)
    monkeypatch.setattr(starts, "POSITIONS", 3)
    monkeypatch.setattr(explain, "MOST_AHEAD", 2)
    jobs = behind_one_another(*"abcdef")
    body = why(member, jobs[5])
    assert (body["position"], [each["name"] for each in body["ahead"]]) == (6, ["a#1", "b#1"])
    assert body["ahead_more"] == 3
    assert body["eta_unknown"] == "not estimated: only the first 3 of the queue are"
    monkeypatch.setattr(queuestate, "FURTHEST", 4)
    queue.forget()
    body = why(member, jobs[5])
    assert (body["position"], body["ahead_more"], len(body["ahead"])) == (None, None, 2)


def test_of_a_large_fleet_the_cards_are_told_that_come_nearest(member, monkeypatch):
    monkeypatch.setattr(queue, "MOST_CARDS", 2)
    heartbeats.beat(heartbeats.DISPATCHER)
    for index, total in enumerate((24, 80, 40)):
        a_device(index, total=total * GIB)
    job = a_job(memory=100 * GIB)
    body = why(member, job)
    assert ([card["index"] for card in body["cards"]], body["cards_more"]) == ([1, 2], 1)


def test_a_persons_own_quota_is_named_as_such(member):
    Quota.objects.create(project=default_project(), user=a_user("member"), limit_running=1)
    a_device(1)
    (job,) = behind_one_another("waits")
    body = why(member, job)
    assert (body["code"], body["numbers"]["user"]) == ("WAIT_QUOTA", "member")
    assert body["sentence"].startswith("member uses 1 of 1 (running jobs)")
    assert "of the same person" in body["remedy"]


def test_a_job_for_which_others_are_suspended_says_how_many(member):
    heartbeats.beat(heartbeats.DISPATCHER)
    low, _attempt = a_running_job("low", device=a_device(), memory=60 * GIB, priority=Priority.LOW)
    long_ago = timezone.now() - timedelta(hours=2)
    Job.objects.filter(pk=low.pk).update(preemptible=True, started_at=long_ago)
    low.attempts.update(started_at=long_ago, created_at=long_ago)
    body = why(member, a_job("urgent", memory=60 * GIB, priority=Priority.HIGH))
    assert (body["code"], body["numbers"]) == ("WAIT_PREEMPTION", {"jobs": 1})
    assert body["what_ifs"] == []


# --- the same in jobs, queue and dry runs ----------------------------------------------------------


def test_a_job_carries_place_and_expected_start(member):
    _first, second = behind_one_another("first", "second")
    body = fits(JobOut, member.get(f"/api/v1/jobs/{second.pk}"))
    assert body["position"] == 2
    assert from_now(body["eta"]) == pytest.approx(2 * HOUR, abs=60)
    assert body["eta_range"][0] < body["eta"] < body["eta_range"][1]
    (listed,) = fits(JobsOut, member.get("/api/v1/jobs?task_id=second"))["items"]
    assert listed["eta"] == body["eta"]


def test_a_running_job_has_no_range(member):
    job, _attempt = a_running_job(device=a_device())
    body = fits(JobOut, member.get(f"/api/v1/jobs/{job.pk}"))
    assert (body["eta"], body["eta_range"]) == (None, None)


def test_the_queue_comes_in_its_order_with_starts_and_how_many_more_there_are(member):
    behind_one_another("first", "second", "third")
    body = fits(QueueOut, member.get("/api/v1/queue?limit=2"))
    assert [(row["name"], row["position"]) for row in body["items"]] == [
        ("first#1", 1),
        ("second#1", 2),
    ]
    assert body["more"] == 1
    assert from_now(body["items"][0]["eta"]) == pytest.approx(HOUR, abs=30)
    problem(member.get("/api/v1/queue?limit=0"), 422, "request_invalid")


def test_a_dry_run_tells_place_reason_and_expected_start(member):
    behind_one_another("first")
    body = plan(member)
    assert (body["starts_now"], body["position"], body["why"]["code"]) == (False, 2, "WAIT_MEMORY")
    assert from_now(body["eta"]) == pytest.approx(2 * HOUR, abs=60)
    assert body["eta_unknown"] is None


def test_a_dry_run_of_a_job_that_would_start_says_so(member):
    a_device()
    body = plan(member)
    assert (body["starts_now"], body["position"], body["why"]) == (True, 1, None)
    assert from_now(body["eta"]) == pytest.approx(0, abs=30)


def test_a_dry_run_stores_nothing_and_leaves_the_queue_as_it_is(member):
    (first,) = behind_one_another("first")
    before = why(member, first)
    plan(member)
    after = why(member, first)
    assert (Job.objects.count(), after["position"], after["ahead"]) == (2, 1, before["ahead"])


def test_a_dry_run_far_back_tells_no_place(member, monkeypatch):
    from jobs import dryrun, queuestate

    monkeypatch.setattr(queuestate, "POSITIONS", 2)
    monkeypatch.setattr(dryrun, "POSITIONS", 2)
    behind_one_another(*"abc")
    assert plan(member)["position"] is None


def test_a_dry_run_beyond_a_quota_is_refused_as_the_submit_would_be(member):
    Quota.objects.create(project=default_project(), limit_memory=16 * GIB)
    path = "/api/v1/jobs?dry_run=true"
    task = TASK.format(memory="70G")
    problem(member.post(path, task), 422, "over_project_quota")
    body = fits(PlanOut, member.post(f"{path}&keep_impossible=true", task))
    assert body["why"]["code"] == "OVER_PROJECT_QUOTA"


def test_everything_told_is_json_without_infinities():
    project = a_project()
    behind_one_another("waits")
    a_job("elsewhere", project=project, owner=a_user("eve", role=None), memory=70 * GIB)
    admin = by_token(an_admin())
    for job in Job.objects.queued():
        text = admin.get(f"/api/v1/jobs/{job.pk}/why").content.decode()
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
