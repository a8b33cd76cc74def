"""`POST /submit` and the shared token, as the article's snippet uses them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from jobs import queue
from jobs.api import auth
from jobs.api.schemas import SubmittedOut
from jobs.models import Job, User
from tests.jobs.apicalls import Caller, a_task, by_session, by_token, fits, problem
from tests.rows import a_device, a_user

pytestmark = pytest.mark.django_db

ARTICLE = """\
task_id: finetune_qwen_001
priority: high
resources:
  min_memory: 16G
  gpu_type: A100
command: |
  python src/train.py --model qwen-7b --method lora --dataset my_data
"""
TOKEN = "myteam123"


@pytest.fixture(autouse=True)
def shared_token(settings):
    settings.COOP_AUTH_TOKEN = TOKEN
    queue.forget()
    cache.clear()


@pytest.fixture
def script() -> Caller:
    return Caller({"Authorization": f"Bearer {TOKEN}"})


def post_file(caller: Caller, text: str = ARTICLE, **more):
    """What `requests.post(url, files={"task": open("task.yaml")})` sends."""
    return caller.client.post(
        "/submit",
        {"task": SimpleUploadedFile("task.yaml", text.encode())},
        headers=caller.headers,
        **more,
    )


def test_the_articles_snippet_is_answered_with_201_and_json(script):
    a_device()
    response = post_file(script)
    body = fits(SubmittedOut, response)
    assert response.status_code == 201
    assert response["Location"].endswith(f"/api/v1/jobs/{body['id']}")
    assert {"id", "task_id", "state", "position", "why", "url"} <= set(body)
    assert (body["owner"], body["project"], body["priority"]) == ("shared", "default", "high")
    assert Job.objects.get().door == "submit"


def test_the_body_itself_may_be_the_task(script):
    response = script.post("/submit", ARTICLE)
    assert response.status_code == 201


def test_a_repeat_is_200_and_other_content_409(script):
    first = post_file(script).json()
    again = post_file(script)
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    problem(post_file(script, ARTICLE.replace("16G", "8G")), 409, "task_id_in_use")


def test_a_wrong_or_missing_token_is_401_and_says_how_to_sign_in(script):
    wrong = problem(post_file(Caller({"Authorization": "Bearer myteam124"})), 401, "not_signed_in")
    missing = problem(post_file(Caller()), 401, "not_signed_in")
    assert wrong["detail"] == missing["detail"]
    assert "Bearer" in post_file(Caller())["WWW-Authenticate"]


@pytest.mark.parametrize("header", [f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
def test_the_word_bearer_may_be_written_in_any_case(header):
    assert post_file(Caller({"Authorization": header})).status_code == 201


@pytest.mark.parametrize("header", ["", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer é"])
def test_any_other_authorization_is_401_even_beside_a_good_session(header):
    session = by_session(a_user())
    session.headers["Authorization"] = header.encode().decode("latin-1")
    assert post_file(session).status_code == 401


def test_the_shared_token_controls_its_own_jobs_and_no_others(script):
    own = post_file(script).json()["id"]
    assert script.post(f"/api/v1/jobs/{own}/cancel").status_code == 200
    other = by_token(a_user("other")).post("/api/v1/jobs", a_task()).json()["id"]
    assert script.get(f"/api/v1/jobs/{other}").status_code == 200
    assert script.post(f"/api/v1/jobs/{other}/cancel").status_code == 403


def test_the_shared_token_never_does_admin_work_and_makes_no_tokens(script):
    assert script.patch("/api/v1/settings", {"max_workers": 1}).status_code == 403
    token = {"name": "more", "scopes": ["read"]}
    problem(script.post("/api/v1/tokens", token), 403, "forbidden")


def test_after_many_wrong_tokens_the_shared_one_rests_and_personal_ones_work(script):
    wrong = Caller({"Authorization": "Bearer guess"})
    for _guess in range(auth.MOST_WRONG):
        assert wrong.get("/api/v1/whoami").status_code == 401
    response = script.get("/api/v1/whoami")
    problem(response, 429, "too_many_wrong_tokens")
    assert response["Retry-After"] == "60"
    assert by_token(a_user()).get("/api/v1/whoami").status_code == 200
    elsewhere = script.client.get(
        "/api/v1/whoami", headers=script.headers, REMOTE_ADDR="203.0.113.9"
    )
    assert elsewhere.status_code == 200


# --- under which name the service is reached -------------------------------------------------------


@pytest.mark.parametrize("path", ["/submit", "/api/v1/jobs"])
def test_with_the_shared_token_any_host_name_is_taken(script, path):
    response = script.post(path, a_task(), Host="gpu-server:8900")
    assert response.status_code == 201
    assert response.json()["url"].startswith("http://gpu-server:8900/jobs/")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/submit", {}),
        ("/api/v1/jobs", {"Authorization": "Basic x"}),
        ("/api/v1/jobs", {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example/<script>"}),
    ],
)
def test_other_requests_and_malformed_names_are_refused(path, headers):
    wanted = {"Host": "gpu-server:8900"} | headers
    body = problem(Client().get(path, headers=wanted), 400, "host_not_allowed")
    assert "COOP_ALLOWED_HOSTS" in body["hint"]


def test_a_token_opens_no_page_under_a_name_that_is_not_listed(settings):
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    headers = {"Host": "gpu-server:8900", "Authorization": f"Bearer {TOKEN}"}
    for path in ("/signin/", "/submitted"):
        assert Client().get(path, headers=headers).status_code == 400


def test_without_a_shared_token_the_list_of_hosts_holds(settings):
    settings.COOP_AUTH_TOKEN = None
    caller = by_token(a_user())
    assert caller.get("/api/v1/jobs", Host="gpu-server:8900").status_code == 400
    settings.COOP_AUTH_TOKEN = TOKEN
    assert caller.get("/api/v1/jobs", Host="gpu-server:8900").status_code == 200


def test_addresses_in_answers_follow_the_public_url(script, settings):
    settings.COOP_PUBLIC_URL = "https://coop.example.org/"
    body = post_file(script).json()
    assert body["url"] == f"https://coop.example.org/jobs/{body['id']}/"


# --- sessions -------------------------------------------------------------------------------------


def test_a_session_acts_only_with_its_csrf_token():
    session = by_session(a_user())
    assert session.post("/api/v1/jobs", a_task()).status_code == 201
    del session.headers["X-CSRFToken"]
    problem(session.post("/api/v1/jobs", a_task("t-2")), 403, "csrf")
    problem(session.post("/submit", a_task("t-3")), 403, "csrf")
    assert session.get("/api/v1/jobs").status_code == 200
    assert Job.objects.count() == 1


def test_a_token_in_the_address_opens_nothing():
    assert Client().get(f"/api/v1/jobs?token={TOKEN}").status_code == 401
    assert not User.objects.filter(username="shared").exists()


# --- whatever is sent, the answer is a problem ----------------------------------------------------


def test_a_body_that_is_too_large_is_413(script, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    problem(script.post("/api/v1/jobs", a_task() + "#" * 2000), 413, "too_large")
    problem(script.post("/submit", a_task() + "#" * 2000), 413, "too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/submit", 405, "method_not_allowed"),
        ("PUT", "/api/v1/jobs", 405, "method_not_allowed"),
        ("GET", "/api/v1/nowhere", 404, "not_found"),
        ("GET", "/api/v1/jobs/x/y/z", 404, "not_found"),
        ("PATCH", "/api/v1/settings", 403, "forbidden"),
        ("GET", "/api/v1/jobs?limit=1000", 422, "request_invalid"),
        ("POST", "/api/v1/tokens", 422, "request_invalid"),
    ],
)
def test_every_refusal_has_one_shape(script, method, path, status, code):
    problem(script.send(method, path), status, code)


def test_a_405_says_what_is_allowed(script):
    assert script.get("/submit")["Allow"] == "POST"
    assert script.send("PUT", "/api/v1/jobs")["Allow"] == "GET, POST"


def test_a_failure_of_ours_is_500_without_details(script, monkeypatch, caplog):
    def fail(*_args, **_kwargs):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("jobs.submission.submit", fail)
    for path in ("/submit", "/api/v1/jobs"):
        response = script.post(path, a_task())
        body = problem(response, 500, "failed")
        assert "secret detail" not in str(body)
    assert "secret detail" in caplog.text


def test_a_broken_multipart_body_is_refused(script):
    response = script.post("/submit", b"--x\r\nbroken", kind="multipart/form-data; boundary=x")
    problem(response, 422, "task_missing")


def test_the_snippet_in_the_documentation_is_the_one_that_is_tested():
    text = Path("docs/api.md").read_text(encoding="utf-8")
    assert 'requests.post("http://server:8900/submit", files={"task": open("task.yaml")}' in text
    assert io.StringIO(text).readline().startswith("# ")
