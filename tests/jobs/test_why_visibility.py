"""Names and ids of other projects' jobs are told to those who may see them, and to nobody else."""

from __future__ import annotations

import json

import pytest

from jobs import estimates, queue, sitesettings
from jobs.explain import explain
from jobs.models import Membership
from jobs.projects import default_project, join
from jobs.serialize import job_json
from jobs.sight import sight_of
from tests.jobs.apicalls import by_token
from tests.jobs.queueworlds import a_project, behind_one_another, kept_for_another
from tests.rows import GIB, a_job, a_user, an_admin

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(estimates, "PATIENCE", 20.0)


def told(caller, job):
    response = caller.get(f"/api/v1/jobs/{job.pk}/why")
    assert response.status_code == 200
    return response.json()


def test_a_card_kept_for_a_job_of_another_project_says_no_more_than_that():
    mine, secret = kept_for_another()
    body = told(by_token(a_user()), mine)
    assert body["code"] == "WAIT_RESERVED"
    assert "kept for a job of another project, for about" in body["sentence"]
    assert (body["numbers"]["kept_for"], body["numbers"]["kept_for_id"]) == (None, None)
    whole = json.dumps(body)
    assert "secret" not in whole
    assert "stranger" not in whole
    assert secret.pk not in whole


def test_who_sees_both_projects_is_told_the_name():
    mine, secret = kept_for_another()
    join(a_user(), a_project(), Membership.Role.VIEWER)
    body = told(by_token(a_user()), mine)
    assert "kept for secret, for about" in body["sentence"]
    assert body["numbers"]["kept_for_id"] == secret.pk


def test_a_token_of_one_project_sees_no_other_even_where_its_account_does():
    mine, _secret = kept_for_another()
    join(a_user(), a_project(), Membership.Role.VIEWER)
    body = told(by_token(a_user(), project=default_project()), mine)
    assert (body["code"], "secret" in json.dumps(body)) == ("WAIT_RESERVED", False)


def test_an_open_queue_tells_the_name_and_no_id():
    mine, secret = kept_for_another()
    sitesettings.change({"open_queue": True}, None)
    body = told(by_token(a_user()), mine)
    assert "kept for secret" in body["sentence"]
    assert secret.pk not in json.dumps(body)
    assert (body["ahead"][0]["name"], body["ahead"][0]["owner"]) == ("secret#1", "stranger")


def test_what_everybody_reads_who_sees_the_job_names_only_jobs_of_its_own_project():
    mine, secret = kept_for_another()
    join(a_user(), a_project(), Membership.Role.VIEWER)  # may know, but who else reads this answer?
    body = job_json(mine)
    assert body["why"]["code"] == "WAIT_RESERVED"
    assert "secret" not in json.dumps(body)
    assert secret.pk not in json.dumps(body)


def test_a_card_kept_for_a_job_of_the_same_project_names_it():
    (big,) = behind_one_another("big")
    small = a_job("small", memory=20 * GIB)
    why = job_json(small)["why"]
    assert (why["code"], why["numbers"]["kept_for_id"]) == ("WAIT_RESERVED", big.pk)
    assert "kept for big" in why["sentence"]


def test_those_ahead_of_another_project_have_a_need_and_nothing_else():
    mine, secret = kept_for_another()
    body = told(by_token(a_user()), mine)
    assert body["ahead"] == [
        {
            "position": 1,
            "min_memory_bytes": 70 * GIB,
            "gpus": 1,
            "name": None,
            "owner": None,
            "job": None,
        }
    ]
    theirs = told(by_token(an_admin()), mine)["ahead"][0]
    assert (theirs["name"], theirs["owner"], theirs["job"]) == ("secret#1", "stranger", secret.pk)


def test_the_queue_tells_expected_starts_of_visible_jobs_only():
    mine, _secret = kept_for_another()
    body = by_token(a_user()).get("/api/v1/queue").json()
    rows = [(row["name"], row["eta"] is None) for row in body["items"]]
    assert rows[0] == (None, True)
    assert "secret" not in json.dumps(body)
    assert mine.pk in json.dumps(body)


def test_a_dry_run_tells_no_names_either():
    kept_for_another()
    task = "task_id: new\nresources: {min_memory: 20G}\ncommand: 'true'\n"
    body = by_token(a_user()).post("/api/v1/jobs?dry_run=true", task).json()
    assert body["why"]["code"] == "WAIT_RESERVED"
    assert "secret" not in json.dumps(body)


def test_who_sees_no_project_is_told_no_name_at_all():
    mine, _secret = kept_for_another()
    found = explain(mine, a_user("nobody", role=None), sight_of(a_user("nobody", role=None)))
    assert found is not None
    assert [row.named for row in found.ahead] == [""]
    assert found.why.numbers["kept_for"] is None
    assert queue.rows(sight_of(a_user("nobody", role=None))).rows[0].job is None
