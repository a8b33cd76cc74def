"""`/jobs`: handing in, listing, looking, acting."""

from __future__ import annotations

import threading
import time

import pytest
from django.core.cache import cache

from jobs import lifecycle, queue
from jobs.api.schemas import JobOut, JobsOut, PauseCostOut, PausedOut, PlanOut, SubmittedOut
from jobs.core.states import JobState
from jobs.models import Job, Project
from jobs.projects import join
from tests.jobs.apicalls import a_task, by_token, fits, problem
from tests.rows import GIB, a_device, a_job, a_running_job, a_user, an_admin

pytestmark = pytest.mark.django_db

JOBS = "/api/v1/jobs"


@pytest.fixture(autouse=True)
def nothing_remembered():
    queue.forget()
    cache.clear()


@pytest.fixture
def member():
    return by_token(a_user("member"))


# --- handing in -----------------------------------------------------------------------------------


def test_a_new_job_is_answered_with_201_and_its_address(member):
    response = member.post(JOBS, a_task())
    body = fits(SubmittedOut, response)
    assert response.status_code == 201
    assert response["Location"] == f"http://testserver/api/v1/jobs/{body['id']}"
    assert (body["task_id"], body["run"], body["state"]) == ("t-1", 1, "QUEUED")
    assert (body["project"], body["owner"], body["position"]) == ("default", "member", 1)
    assert body["url"] == f"http://testserver/jobs/{body['id']}/"


def test_json_and_yaml_describe_the_same_job(member):
    first = member.post(JOBS, a_task()).json()
    same = {"task_id": "t-1", "resources": {"min_memory": "1G"}, "command": "echo hello"}
    second = member.post(JOBS, same)
    assert (second.status_code, second.json()["id"]) == (200, first["id"])


def test_the_same_content_is_answered_with_200_and_other_content_with_409(member):
    first = member.post(JOBS, a_task()).json()
    assert member.post(JOBS, a_task()).status_code == 200
    body = problem(member.post(JOBS, a_task(says="bye")), 409, "task_id_in_use")
    assert body["job"] == first["id"]


def test_a_repeat_with_its_idempotency_key_gets_the_first_answer(member):
    key = {"Idempotency_Key": "k-1"}
    first = member.post(JOBS, a_task(), **key)
    job = Job.objects.get()
    lifecycle.cancel(job, job.owner)
    second = member.post(JOBS, a_task(), **key)
    assert (second.status_code, second.json()) == (201, first.json())
    assert Job.objects.count() == 1


def test_without_the_key_a_cancelled_job_makes_a_second_run(member):
    member.post(JOBS, a_task())
    job = Job.objects.get()
    lifecycle.cancel(job, job.owner)
    assert member.post(JOBS, a_task()).json()["run"] == 2


def test_an_idempotency_key_is_good_for_one_request_only(member):
    member.post(JOBS, a_task(), Idempotency_Key="k-1")
    response = member.post(JOBS, a_task("t-2"), Idempotency_Key="k-1")
    problem(response, 422, "idempotency_key_reused")
    problem(member.post(JOBS, a_task("t-2"), Idempotency_Key=""), 422, "idempotency_key_invalid")


def test_two_people_may_use_the_same_idempotency_key(member):
    other = by_token(a_user("other"))
    assert member.post(JOBS, a_task(), Idempotency_Key="k").status_code == 201
    assert other.post(JOBS, a_task("t-2"), Idempotency_Key="k").status_code == 201


def test_a_refusal_is_not_kept_for_the_key(member):
    running = member.post(JOBS, a_task(says="first")).json()["id"]
    assert member.post(JOBS, a_task(), Idempotency_Key="k").status_code == 409
    assert member.post(f"{JOBS}/{running}/cancel").status_code == 200
    assert member.post(JOBS, a_task(), Idempotency_Key="k").status_code == 201


def test_a_wrong_task_names_line_and_field(member):
    text = "task_id: a\nresources:\n  min_memory: much\ncommand: x\n"
    body = problem(member.post(JOBS, text), 422, "task_invalid")
    (error,) = body["errors"]
    assert (error["line"], error["field"]) == (3, "resources.min_memory")
    assert "16G" in error["hint"]


@pytest.mark.parametrize("text", ["", "   \n"])
def test_a_request_without_a_task_says_how_to_send_one(member, text):
    problem(member.post(JOBS, text), 422, "task_missing")


def test_a_body_of_more_than_16_kib_is_refused(member):
    text = a_task() + "# " + "x" * 20_000
    assert "16384" in problem(member.post(JOBS, text), 422, "task_invalid")["detail"]


def test_a_job_that_no_card_can_hold_is_refused_unless_it_is_to_be_kept(member):
    a_device()
    text = a_task().replace("1G", "600G")
    assert "80" in problem(member.post(JOBS, text), 422, "never_fits")["detail"]
    body = fits(SubmittedOut, member.post(f"{JOBS}?keep_impossible=true", text))
    assert [warning["code"] for warning in body["warnings"]] == ["never_fits"]


def test_a_training_config_can_come_as_a_part_of_its_own(member):
    task = "task_id: sft\nresources: {min_memory: 1G}\n"
    config = (
        "stage: sft\ndo_train: true\nmodel_name_or_path: tiny\nlearning_rate: 1.0e-4\ndataset: d\n"
    )
    body = (
        f'--x\r\nContent-Disposition: form-data; name="task"; filename="t.yaml"\r\n\r\n{task}'
        f'\r\n--x\r\nContent-Disposition: form-data; name="config"; filename="c.yaml"\r\n\r\n'
        f"{config}\r\n--x--\r\n"
    )
    response = member.post(JOBS, body, kind="multipart/form-data; boundary=x")
    assert response.status_code == 201, response.content
    assert Job.objects.get().spec["llamafactory"]["learning_rate"] == 1.0e-4


def test_a_config_beside_a_command_is_refused(member):
    body = (
        f'--x\r\nContent-Disposition: form-data; name="task"\r\n\r\n{a_task()}'
        '\r\n--x\r\nContent-Disposition: form-data; name="config"\r\n\r\nstage: sft\r\n--x--\r\n'
    )
    response = member.post(JOBS, body, kind="multipart/form-data; boundary=x")
    assert "both command and llamafactory" in problem(response, 422, "task_invalid")["detail"]


# --- a dry run ------------------------------------------------------------------------------------


def test_a_dry_run_says_where_a_job_would_go_and_stores_nothing(member):
    a_device()
    body = fits(PlanOut, member.post(f"{JOBS}?dry_run=true", a_task()))
    assert body["starts_now"]
    assert (body["position"], body["why"], body["active"]) == (1, None, None)
    assert [card["fits_now"] for card in body["cards"]] == [True]
    assert Job.objects.count() == 0


def test_a_dry_run_says_why_a_job_would_wait(member):
    a_device()
    a_job("large", memory=60 * GIB)
    body = fits(PlanOut, member.post(f"{JOBS}?dry_run=true", a_task().replace("1G", "40G")))
    assert not body["starts_now"]
    assert body["why"]["code"] == "WAIT_MEMORY"
    assert body["position"] == 2


def test_a_dry_run_tells_of_the_same_job_and_of_another_under_its_name(member):
    first = member.post(JOBS, a_task()).json()
    same = fits(PlanOut, member.post(f"{JOBS}?dry_run=true", a_task()))
    assert same["active"]["id"] == first["id"]
    other = fits(PlanOut, member.post(f"{JOBS}?dry_run=true", a_task(says="bye")))
    assert [warning["code"] for warning in other["warnings"]] == ["task_id_in_use"]


# --- listing and looking --------------------------------------------------------------------------


def names(response):
    return [item["task_id"] for item in fits(JobsOut, response)["items"]]


def test_the_list_goes_page_by_page_newest_first(member):
    for number in range(5):
        a_job(f"j-{number}")
    first = member.get(f"{JOBS}?limit=2")
    assert names(first) == ["j-4", "j-3"]
    a_job("j-5")  # comes in between and shifts nothing
    second = member.get(f"{JOBS}?limit=2&cursor={first.json()['next_cursor']}")
    assert names(second) == ["j-2", "j-1"]
    third = member.get(f"{JOBS}?limit=2&cursor={second.json()['next_cursor']}")
    assert (names(third), third.json()["next_cursor"]) == (["j-0"], None)


@pytest.mark.parametrize("cursor", ["x", "e", "AAAA", "MjAyNi0wMS0wMSB4"])
def test_a_cursor_that_is_none_of_ours_is_refused(member, cursor):
    problem(member.get(f"{JOBS}?cursor={cursor}"), 422, "request_invalid")


def test_the_list_is_filtered_by_state_project_owner_and_name(member):
    cancelled = a_job("ended")
    lifecycle.cancel(cancelled, cancelled.owner)
    a_job("mine")
    a_job("others", owner=a_user("other"))
    assert names(member.get(f"{JOBS}?state=ended")) == ["ended"]
    assert names(member.get(f"{JOBS}?state=CANCELLED&state=active")) == ["others", "mine", "ended"]
    assert names(member.get(f"{JOBS}?state=active&mine=true")) == ["mine"]
    assert names(member.get(f"{JOBS}?task_id=mine&run=1")) == ["mine"]
    assert names(member.get(f"{JOBS}?project=nowhere")) == []


def test_an_unknown_state_is_refused_with_those_there_are(member):
    body = problem(member.get(f"{JOBS}?state=walking"), 422, "request_invalid")
    assert "RUNNING" in body["hint"]
    assert names(member.get(f"{JOBS}?state=queued")) == []


def test_the_list_takes_a_fixed_number_of_queries(member, django_assert_max_num_queries):
    device = a_device()
    for number in range(12):
        a_running_job(f"j-{number}", device=device, memory=GIB)
    with django_assert_max_num_queries(12):
        assert len(names(member.get(JOBS))) == 12


def test_the_unchanged_answer_is_not_sent_again(member):
    job = a_job()
    first = member.get(f"{JOBS}/{job.pk}")
    again = member.get(f"{JOBS}/{job.pk}", If_None_Match=first["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    lifecycle.hold(job, job.owner)
    assert member.get(f"{JOBS}/{job.pk}", If_None_Match=first["ETag"]).status_code == 200


def test_a_job_says_why_it_waits_and_what_it_holds(member):
    device = a_device()
    running, _attempt = a_running_job("runs", device=device, memory=60 * GIB)
    a_job("waits", memory=40 * GIB)
    holds = fits(JobOut, member.get(f"{JOBS}/{running.pk}"))
    (booking,) = holds["allocations"]
    assert (booking["uuid"], booking["booked_bytes"]) == (device.uuid, 60 * GIB)
    (waits,) = fits(JobsOut, member.get(f"{JOBS}?task_id=waits"))["items"]
    assert waits["why"]["class"] in {"wait", "admin"}
    assert waits["why"]["sentence"]


def test_what_one_may_not_see_is_not_found(member):
    other = Project.objects.create(slug="other", name="Other")
    hidden = a_job("hidden", owner=a_user("stranger", role=None), project=other)
    seen = problem(member.get(f"{JOBS}/{hidden.pk}"), 404, "not_found")
    missing = problem(member.get(f"{JOBS}/nothere"), 404, "not_found")
    assert seen["title"] == missing["title"]
    assert names(member.get(JOBS)) == []


# --- waiting for a change -------------------------------------------------------------------------


def test_a_long_poll_for_another_state_is_answered_at_once(member):
    job = a_job()
    started = time.monotonic()
    assert member.get(f"{JOBS}/{job.pk}?wait=30&state=RUNNING").json()["state"] == "QUEUED"
    assert time.monotonic() - started < 5


def test_a_long_poll_of_an_ended_job_is_answered_at_once(member):
    job = a_job()
    lifecycle.cancel(job, job.owner)
    started = time.monotonic()
    assert member.get(f"{JOBS}/{job.pk}?wait=30").json()["state"] == "CANCELLED"
    assert time.monotonic() - started < 5


def test_a_long_poll_ends_when_its_time_is_over(member):
    job = a_job()
    started = time.monotonic()
    assert member.get(f"{JOBS}/{job.pk}?wait=1&state=QUEUED").json()["state"] == "QUEUED"
    assert 1 <= time.monotonic() - started < 5


@pytest.mark.django_db(transaction=True)
def test_a_long_poll_is_answered_as_soon_as_the_state_changes(member):
    job = a_job()
    looked = threading.Event()

    def cancel_it() -> None:
        from django.db import connection

        looked.wait(10)
        lifecycle.cancel(Job.objects.get(pk=job.pk), job.owner)
        connection.close()

    other = threading.Thread(target=cancel_it)
    other.start()
    threading.Timer(0.3, looked.set).start()
    started = time.monotonic()
    body = member.get(f"{JOBS}/{job.pk}?wait=30&state=QUEUED").json()
    other.join()
    assert body["state"] == "CANCELLED"
    assert time.monotonic() - started < 10


# --- acting ---------------------------------------------------------------------------------------


def test_a_queued_job_is_held_and_released(member):
    job = a_job()
    assert fits(PausedOut, member.post(f"{JOBS}/{job.pk}/pause"))["state"] == "HELD"
    assert fits(JobOut, member.post(f"{JOBS}/{job.pk}/resume"))["state"] == "QUEUED"


def test_a_plain_pause_of_a_running_job_names_the_way_that_works(member):
    job, _attempt = a_running_job(device=a_device())
    body = problem(member.post(f"{JOBS}/{job.pk}/pause"), 409, "pause_needs_keep_memory")
    assert "keep_memory" in body["hint"]
    cost = fits(PauseCostOut, member.get(f"{JOBS}/{job.pk}/pause-cost"))
    assert (cost["possible"], cost["way"]) == (False, "none")
    frozen = fits(PausedOut, member.post(f"{JOBS}/{job.pk}/pause", {"keep_memory": True}))
    assert (frozen["state"], frozen["pause"]["way"]) == ("SUSPENDED", "freeze")


def test_a_pause_that_begins_anew_asks_nothing_and_says_so(member):
    job, _attempt = a_running_job(device=a_device())
    Job.objects.filter(pk=job.pk).update(preemptible=True)
    before = fits(PauseCostOut, member.get(f"{JOBS}/{job.pk}/pause-cost"))
    body = fits(PausedOut, member.post(f"{JOBS}/{job.pk}/pause"))
    assert (body["state"], body["pause"]["way"]) == ("SUSPENDING", "restart")
    assert "starts again from its beginning" in body["pause"]["sentence"]
    assert (before["frees_bytes"], before["cards"]) == (job.min_memory, 1)
    problem(member.post(f"{JOBS}/{job.pk}/pause"), 409, "being_paused")


def test_a_cancelled_job_stays_cancelled(member):
    job = a_job()
    assert member.post(f"{JOBS}/{job.pk}/cancel").json()["state"] == "CANCELLED"
    problem(member.post(f"{JOBS}/{job.pk}/resume"), 409, "wrong_state")


def test_only_who_manages_the_project_changes_a_priority(member):
    job = a_job()
    problem(member.patch(f"{JOBS}/{job.pk}", {"priority": "high"}), 403, "forbidden")
    lead = by_token(a_user("lead", role="lead"))
    assert fits(JobOut, lead.patch(f"{JOBS}/{job.pk}", {"priority": "high"}))["priority"] == "high"
    problem(lead.patch(f"{JOBS}/{job.pk}", {"priority": "urgent"}), 422, "request_invalid")


def test_a_clone_is_the_same_task_with_changes_and_knows_its_parent(member):
    parent = member.post(JOBS, a_task(env="{A: b}")).json()
    changes = {"task_id": "copy", "resources.min_memory": "2G", "priority": "low"}
    body = fits(SubmittedOut, member.post(f"{JOBS}/{parent['id']}/clone", {"changes": changes}))
    copy = Job.objects.get(pk=body["id"])
    assert (copy.task_id, copy.min_memory, copy.priority) == ("copy", 2 * GIB, 0)
    assert copy.spec["env"] == {"A": "b"}
    assert copy.cloned_from_id == parent["id"]


def test_a_clone_with_a_wrong_change_says_which(member):
    parent = member.post(JOBS, a_task()).json()
    changes = {"task_id": "copy", "resources.memory": "2G"}
    response = member.post(f"{JOBS}/{parent['id']}/clone", {"changes": changes})
    assert problem(response, 422, "task_invalid")["errors"][0]["field"] == "resources.memory"


def test_a_clone_of_an_ended_job_is_its_next_run(member):
    parent = member.post(JOBS, a_task()).json()
    member.post(f"{JOBS}/{parent['id']}/cancel")
    body = fits(SubmittedOut, member.post(f"{JOBS}/{parent['id']}/clone"))
    assert (body["task_id"], body["run"]) == ("t-1", 2)


# --- bound tokens ---------------------------------------------------------------------------------


def test_a_bound_token_hands_in_to_its_project_only():
    user, other = a_user(), Project.objects.create(slug="other", name="Other")
    join(user, other)
    bound = by_token(user, project=other)
    assert bound.post(JOBS, a_task()).json()["project"] == "other"
    no = bound.post(JOBS, a_task("t-2", project="default"))
    problem(no, 403, "project_not_open_to_you")
    mine = a_job("elsewhere", owner=user)
    problem(bound.get(f"{JOBS}/{mine.pk}"), 404, "not_found")
    problem(bound.post(f"{JOBS}/{mine.pk}/cancel"), 404, "not_found")


@pytest.mark.parametrize(
    ("scope", "path"), [("read", ""), ("submit", "/cancel"), ("read", "/cancel")]
)
def test_a_token_does_only_what_its_scopes_say(scope, path):
    user = a_user()
    job = a_job(owner=user)
    caller = by_token(user, scope)
    response = caller.post(JOBS, a_task()) if not path else caller.post(f"{JOBS}/{job.pk}{path}")
    problem(response, 403, "forbidden")
    assert Job.objects.get(pk=job.pk).state == JobState.QUEUED


def test_an_admin_sees_and_controls_everything():
    other = Project.objects.create(slug="other", name="Other")
    job = a_job(owner=a_user("stranger", role=None), project=other)
    admin = by_token(an_admin())
    assert admin.post(f"{JOBS}/{job.pk}/cancel").json()["state"] == "CANCELLED"
