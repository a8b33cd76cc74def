"""Cards, queue, projects, settings, tokens, account: what belongs to the site."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.core.cache import cache
from django.utils import timezone

from jobs import heartbeats, queue, sitesettings
from jobs.api.projectschemas import MembersOut, ProjectOut, ProjectsOut, QuotaOut
from jobs.api.siteschemas import (
    GpuOut,
    GpusOut,
    HealthOut,
    NewTokenOut,
    QueueOut,
    SettingsOut,
    TokensOut,
    WhoamiOut,
)
from jobs.models import Project
from jobs.projects import join
from jobs.tokens import create_token
from tests.jobs.apicalls import Caller, by_token, fits, nobody, problem
from tests.rows import GIB, a_device, a_job, a_running_job, a_user, an_admin

pytestmark = pytest.mark.django_db

API = "/api/v1"
SECRET = "secret-training"


@pytest.fixture(autouse=True)
def nothing_remembered():
    queue.forget()
    cache.clear()


@pytest.fixture
def member():
    return by_token(a_user("member"))


@pytest.fixture
def admin():
    return by_token(an_admin())


@pytest.fixture
def foreign():
    """A running and a waiting job of a project that the member knows nothing of."""
    project = Project.objects.create(slug="hidden-team", name="Hidden team")
    owner = a_user("stranger", role=None)
    join(owner, project)
    device = a_device()
    a_running_job(f"{SECRET}-1", device=device, owner=owner, project=project, memory=23 * GIB)
    a_job(f"{SECRET}-2", owner=owner, project=project, memory=70 * GIB)
    return project


# --- cards and queue ------------------------------------------------------------------------------


def test_a_card_tells_its_memory_and_who_holds_it(member):
    device = a_device(used=20 * GIB, foreign=2 * GIB, busy=0.5, temperature=61.0)
    job, _attempt = a_running_job("mine", device=device, memory=14 * GIB)
    (card,) = fits(GpusOut, member.get(f"{API}/gpus"))["items"]
    assert (card["state"], card["used_bytes"], card["booked_bytes"]) == ("ok", 20 * GIB, 14 * GIB)
    assert (card["foreign_bytes"], card["busy"], card["temperature_celsius"]) == (2 * GIB, 0.5, 61)
    assert card["power_watts"] is None
    assert card["free_bytes"] < 66 * GIB
    (holder,) = card["holders"]
    assert holder["job"] == {"id": job.pk, "name": "mine#1", "owner": "member"}
    assert fits(GpuOut, member.get(f"{API}/gpus/{device.uuid}")) == card


def test_jobs_of_others_hold_memory_without_a_name(member, foreign):
    for path in ("/gpus", "/queue"):
        text = member.get(API + path).content.decode()
        for name in (SECRET, "hidden-team", "stranger"):
            assert name not in text
    (holder,) = member.get(f"{API}/gpus").json()["items"][0]["holders"]
    assert (holder["booked_bytes"], holder["job"]) == (23 * GIB, None)
    (row,) = fits(QueueOut, member.get(f"{API}/queue"))["items"]
    assert (row["position"], row["min_memory_bytes"]) == (1, 70 * GIB)
    assert (row["name"], row["owner"], row["job"]) == (None, None, None)


def test_an_open_queue_tells_name_and_owner_and_no_more(member, foreign):
    sitesettings.change({"open_queue": True}, None)
    (row,) = fits(QueueOut, member.get(f"{API}/queue"))["items"]
    assert (row["name"], row["owner"], row["job"]) == (f"{SECRET}-2#1", "stranger", None)
    (holder,) = member.get(f"{API}/gpus").json()["items"][0]["holders"]
    assert holder["job"] == {"id": None, "name": f"{SECRET}-1#1", "owner": "stranger"}


def test_a_bound_token_sees_other_projects_of_its_account_as_strangers_do():
    user, other = a_user("member"), Project.objects.create(slug="other", name="Other")
    join(user, other)
    a_running_job(SECRET, device=a_device(), owner=user)
    a_job(f"{SECRET}-2", owner=user)
    bound = by_token(user, project=other)
    for path in ("/gpus", "/queue", "/jobs", "/projects", "/whoami"):
        assert SECRET not in bound.get(API + path).content.decode(), path
    assert [each["slug"] for each in bound.get(f"{API}/projects").json()["items"]] == ["other"]


def test_an_admin_drains_a_card_and_puts_it_back(admin):
    device = a_device()
    body = fits(GpuOut, admin.post(f"{API}/gpus/{device.uuid}/drain", {"reason": "new fan"}))
    assert (body["state"], body["drained"], body["drain_reason"]) == ("drained", True, "new fan")
    body = fits(GpuOut, admin.post(f"{API}/gpus/{device.uuid}/undrain"))
    assert (body["state"], body["drained"], body["drain_reason"]) == ("ok", False, None)
    assert LogEntry.objects.filter(change_message__startswith="drained").count() == 1
    assert LogEntry.objects.filter(change_message__startswith="undrained").count() == 1


def test_a_card_that_there_is_not_is_not_found(admin):
    problem(admin.get(f"{API}/gpus/GPU-none"), 404, "not_found")
    problem(admin.post(f"{API}/gpus/GPU-none/drain"), 404, "not_found")


# --- projects -------------------------------------------------------------------------------------


def test_an_admin_makes_a_project_and_a_lead_runs_it(admin):
    made = admin.post(f"{API}/projects", {"slug": "vision", "name": "Vision"})
    assert fits(ProjectOut, made)["slug"] == "vision"
    a_user("ana", role=None)
    a_user("wang", role=None)
    people = {"members": {"ana": "lead", "wang": "viewer"}}
    assert admin.patch(f"{API}/projects/vision/members", people).status_code == 200
    ana = by_token(a_user("ana", role=None))
    changed = ana.patch(f"{API}/projects/vision/members", {"members": {"wang": "member"}})
    roles = {row["username"]: row["role"] for row in fits(MembersOut, changed)["items"]}
    assert roles == {"ana": "lead", "wang": "member"}
    gone = ana.patch(f"{API}/projects/vision/members", {"members": {"wang": None}})
    assert [row["username"] for row in gone.json()["items"]] == ["ana"]
    assert fits(ProjectsOut, ana.get(f"{API}/projects"))["items"][0]["role"] == "lead"


def test_a_slug_is_taken_once_and_has_a_form(admin):
    first = {"slug": "vision", "name": "Vision"}
    assert admin.post(f"{API}/projects", first).status_code == 201
    problem(admin.post(f"{API}/projects", first), 409, "project_exists")
    bad = {"slug": "Vision Team", "name": "x"}
    problem(admin.post(f"{API}/projects", bad), 422, "request_invalid")


def test_members_are_changed_all_or_none(admin):
    a_user("ana", role=None)
    Project.objects.create(slug="vision", name="Vision")
    people = {"members": {"ana": "member", "nobody": "member"}}
    problem(admin.patch(f"{API}/projects/vision/members", people), 422, "no_such_account")
    assert admin.get(f"{API}/projects/vision/members").json()["items"] == []


def test_a_lead_changes_the_name_but_not_the_weight():
    lead = by_token(a_user("lead", role="lead"))
    assert lead.patch(f"{API}/projects/default", {"name": "Main"}).json()["name"] == "Main"
    problem(lead.patch(f"{API}/projects/default", {"weight": 9}), 403, "forbidden")
    assert Project.objects.get(slug="default").weight == 1


def test_a_quota_is_changed_in_part_and_shows_what_is_used(admin):
    a_running_job(device=a_device(), memory=14 * GIB)
    path = f"{API}/projects/default/quota"
    assert admin.patch(path, {"limit": {"cards": 4, "memory_bytes": 80 * GIB}}).status_code == 200
    body = fits(QuotaOut, admin.patch(path, {"guarantee": {"cards": 2}, "limit": {"cards": None}}))
    assert body["guarantee"]["cards"] == 2
    assert (body["limit"]["cards"], body["limit"]["memory_bytes"]) == (None, 80 * GIB)
    assert (body["used"]["cards"], body["used"]["memory_bytes"]) == (1, 14 * GIB)


def test_a_guarantee_above_its_limit_is_refused_and_changes_nothing(admin):
    path = f"{API}/projects/default/quota"
    a_job()
    wrong = {"guarantee": {"cards": 3}, "limit": {"cards": 2}}
    problem(admin.patch(path, wrong), 422, "guarantee_above_limit")
    assert admin.get(path).json()["guarantee"]["cards"] is None
    problem(admin.patch(path, {"limit": {"cards": -1}}), 422, "request_invalid")


# --- settings -------------------------------------------------------------------------------------


def test_everybody_reads_the_settings_and_an_admin_changes_them(member, admin):
    change = {"max_workers": 5, "memory_threshold": 0.8, "log_dir": "/srv/coop_logs"}
    body = fits(SettingsOut, admin.patch(f"{API}/settings", change))
    assert {name: body[name] for name in change} == change
    assert member.get(f"{API}/settings").json() == body
    assert LogEntry.objects.count() == 3


@pytest.mark.parametrize(
    "change",
    [
        {"max_workers": 0},
        {"max_workers": True},
        {"max_workers": "5"},
        {"memory_threshold": 1.5},
        {"memory_threshold": 0},
        {"log_dir": "relative/logs"},
        {"mode": "fastest"},
        {"no_such_setting": 1},
        {"max_workers": 4, "memory_threshold": 9},
    ],
)
def test_a_wrong_setting_says_what_is_allowed_and_changes_nothing(admin, change):
    before = admin.get(f"{API}/settings").json()
    body = problem(admin.patch(f"{API}/settings", change), 422, "setting_refused")
    assert "Allowed" in body["detail"]
    assert admin.get(f"{API}/settings").json() == before


@pytest.mark.parametrize("text", ["[1]", "nonsense", "5", '"x"', "null"])
def test_settings_that_are_no_object_are_refused(admin, text):
    response = admin.send("PATCH", f"{API}/settings", text, kind="application/json")
    problem(response, 422, "request_invalid")


# --- tokens and account ---------------------------------------------------------------------------


def test_a_new_token_is_shown_once_and_works(member):
    body = fits(NewTokenOut, member.post(f"{API}/tokens", {"name": "ci", "scopes": ["read"]}))
    made = Caller({"Authorization": f"Bearer {body['token']}"})
    assert fits(WhoamiOut, made.get(f"{API}/whoami"))["scopes"] == ["read"]
    listed = member.get(f"{API}/tokens")
    assert body["token"] not in listed.content.decode()
    assert "ci" in {item["name"] for item in fits(TokensOut, listed)["items"]}


def test_a_revoked_token_is_401_at_once(member):
    body = member.post(f"{API}/tokens", {"name": "ci", "scopes": ["read"]}).json()
    made = Caller({"Authorization": f"Bearer {body['token']}"})
    assert made.get(f"{API}/whoami").status_code == 200
    assert member.delete(f"{API}/tokens/{body['id']}").json()["revoked_at"]
    problem(made.get(f"{API}/whoami"), 401, "not_signed_in")


def test_a_token_makes_no_token_that_may_more_than_itself():
    user, other = a_user("member"), Project.objects.create(slug="other", name="Other")
    join(user, other)
    bound = by_token(user, "read", "control", project=other)
    problem(bound.post(f"{API}/tokens", {"name": "x", "scopes": ["submit"]}), 403, "forbidden")
    elsewhere = {"name": "x", "scopes": ["read"], "project": "default"}
    problem(bound.post(f"{API}/tokens", elsewhere), 404, "not_found")
    made = bound.post(f"{API}/tokens", {"name": "x", "scopes": ["read"]}).json()
    assert made["project"] == "other"


def test_a_token_does_not_outlive_the_one_that_made_it():
    text = create_token(a_user(), name="t", scopes=["control"], lifetime=timedelta(days=1))
    maker = Caller({"Authorization": f"Bearer {text}"})
    made = maker.post(f"{API}/tokens", {"name": "x", "scopes": ["control"], "days": 90}).json()
    left = datetime.fromisoformat(made["expires_at"]) - timezone.now()
    assert left <= timedelta(days=1)


@pytest.mark.parametrize("days", [0, 91, -1, 1e9])
def test_a_token_lives_at_most_90_days(member, days):
    wanted = {"name": "x", "scopes": ["read"], "days": days}
    assert member.post(f"{API}/tokens", wanted).status_code == 422


def test_whoami_tells_rights_as_they_really_are():
    admin = an_admin()
    body = fits(WhoamiOut, by_token(admin).get(f"{API}/whoami"))
    assert (body["is_admin"], body["scopes"]) == (True, ["read", "submit", "control", "admin"])
    weak = fits(WhoamiOut, by_token(admin, "read").get(f"{API}/whoami"))
    assert (weak["is_admin"], weak["scopes"], weak["projects"]) == (False, ["read"], [])
    viewer = by_token(a_user("viewer", role="viewer")).get(f"{API}/whoami").json()
    assert viewer["projects"] == [{"slug": "default", "role": "viewer", "can_submit": False}]


# --- health, metrics, documentation ---------------------------------------------------------------


@pytest.fixture
def alive():
    for name in (heartbeats.DISPATCHER, heartbeats.BACKGROUND, f"{heartbeats.AGENT}:node-a"):
        heartbeats.beat(name)
    return a_device()


def test_a_living_service_is_ready_and_a_silent_dispatcher_makes_it_not(alive):
    assert nobody().get("/readyz").content == b"ready\n"
    heartbeats.Heartbeat.objects.filter(name=heartbeats.DISPATCHER).delete()
    response = nobody().get("/readyz")
    assert response.status_code == 503
    assert b"dispatcher: " in response.content


def test_stale_readings_make_it_not_ready(alive):
    type(alive).objects.update(read_at=alive.read_at.replace(year=2020))
    assert b"readings: " in nobody().get("/readyz").content


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ({"X-Forwarded-For": "203.0.113.9"}, {}),
        ({}, {"REMOTE_ADDR": "203.0.113.9"}),
        ({}, {"REMOTE_ADDR": ""}),
    ],
)
def test_strangers_learn_no_more_than_not_ready(db, headers, more):
    client = nobody().client
    response = client.get("/readyz", headers=headers, **more)
    assert (response.status_code, response.content) == (503, b"not ready\n")
    assert client.get("/metrics", headers=headers, **more).status_code == 401
    assert client.get("/healthz", headers=headers, **more).content == b"up\n"


def test_behind_a_proxy_nobody_counts_as_local(settings, alive):
    settings.COOP_PUBLIC_URL = "https://coop.example.org"
    assert nobody().get("/metrics").status_code == 401
    assert by_token(a_user()).get("/metrics").status_code == 200


def test_the_metrics_are_in_the_form_that_prometheus_reads(alive):
    a_running_job(device=alive, memory=14 * GIB)
    a_job("waits")
    text = nobody().get("/metrics").content.decode()
    sample = re.compile(r'[a-z_]+(\{([a-zA-Z_]+="[^"\\\n]*",?)*\})? -?[0-9.e+]+')
    for line in text.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or sample.fullmatch(line), line
    assert 'llama_coop_jobs{state="QUEUED",project="default"} 1' in text
    assert f'llama_coop_gpu_memory_reserved_bytes{{gpu="0",UUID="{alive.uuid}"' in text
    assert "waits" not in text


def test_health_lists_each_part_with_what_to_do(alive, member):
    body = fits(HealthOut, member.get(f"{API}/health"))
    found = {item["check"]: item for item in body["items"]}
    assert {
        "database",
        "dispatcher",
        "background",
        "readings",
        "cards",
        "llamafactory",
        "disk",
    } <= set(found)
    assert found["dispatcher"]["status"] == "ok"
    assert all(item["hint"] for item in body["items"] if item["status"] != "ok")


def test_a_faulty_card_and_stuck_processes_are_told(alive, member):
    type(alive).objects.update(fault="fell off the bus")
    items = member.get(f"{API}/health").json()["items"]
    assert "fell off the bus" in {item["detail"] for item in items}


def test_a_database_that_does_not_answer_is_told(member, monkeypatch, alive):
    from django.db import DatabaseError

    from jobs import health

    def broken():
        raise DatabaseError("gone")

    monkeypatch.setattr(health.connection, "cursor", broken)
    (check,) = health.needed_checks()
    assert (check.name, check.status) == ("database", "error")


def test_the_schema_describes_every_refusal_and_how_to_sign_in(member):
    schema = json.loads(member.get(f"{API}/openapi.json").content)
    assert {"type": "http", "scheme": "bearer"} in schema["components"]["securitySchemes"].values()
    assert "ProblemOut" in schema["components"]["schemas"]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert operation.get("description"), (method, path)


def test_the_documentation_is_served_from_here(member, settings):
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    text = member.get(f"{API}/docs").content.decode()
    assert "/static/ninja/swagger-ui-bundle.js" in text
    assert "https://" not in text


def test_a_browser_that_is_not_signed_in_is_led_to_the_sign_in_page():
    response = nobody().get(f"{API}/docs", Accept="text/html,application/xhtml+xml")
    assert (response.status_code, response["Location"]) == (302, "/signin/?next=/api/v1/docs")
    problem(nobody().get(f"{API}/docs", Accept="*/*"), 401, "not_signed_in")
