"""Every address of the API, asked by everybody: who gets what, with nothing left out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction
from django.urls import URLPattern, URLResolver
from django.utils import timezone

from jobs import queue
from jobs.api import urls
from jobs.api.site import api
from jobs.models import Dataset, DatasetUpload, Project, Replay, User
from jobs.projects import join
from jobs.replay.question import Question
from jobs.tokens import issue
from tests.jobs.apicalls import Caller, a_task, by_session, by_token, nobody
from tests.rows import a_device, a_job, a_user, an_admin

pytestmark = pytest.mark.django_db

ROLES = ("anonymous", "stranger", "viewer", "member", "lead", "admin")


@dataclass(frozen=True)
class Answers:
    """The status that each of ROLES gets."""

    statuses: tuple[int, ...]
    body: Any = None
    kind: str = ""
    headers: tuple[tuple[str, str], ...] = ()


def answers(*statuses: int, **more: Any) -> Answers:
    assert len(statuses) == len(ROLES)
    return Answers(statuses, **more)


EVERYBODY = (401, 200, 200, 200, 200, 200)
WHO_SEES = (401, 404, 200, 200, 200, 200)
WHO_SUBMITS = (401, 403, 403, 201, 201, 201)
WHO_CONTROLS = (401, 404, 403, 403, 200, 200)  # somebody else's job
WHO_MANAGES = (401, 404, 403, 403, 200, 200)
ADMINS = (401, 403, 403, 403, 403, 200)
ANYBODY = (200, 200, 200, 200, 200, 200)

UPLOAD = {"name": "rows", "filename": "rows.jsonl", "size": 10, "project": "alpha"}
ROWS = b'[{"instruction": "a", "input": "", "output": "b"}]'
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nrows\r\n'
    b'--x\r\nContent-Disposition: form-data; name="project"\r\n\r\nalpha\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="rows.json"\r\n\r\n'
    + ROWS
    + b"\r\n--x--\r\n"
)
FORM_KIND = "multipart/form-data; boundary=x"

MATRIX: dict[tuple[str, str], Answers] = {
    ("GET", "/healthz"): answers(*ANYBODY),
    ("GET", "/readyz"): answers(503, 503, 503, 503, 503, 503),  # nothing beats in a test
    ("GET", "/metrics"): answers(*EVERYBODY),
    ("POST", "/submit"): answers(*WHO_SUBMITS, body=a_task("new", project="alpha")),
    ("GET", "/api/v1/"): answers(404, 404, 404, 404, 404, 404),
    ("GET", "/api/v1/openapi.json"): answers(*EVERYBODY),
    ("GET", "/api/v1/docs"): answers(*EVERYBODY),
    ("GET", "/api/v1/nowhere"): answers(404, 404, 404, 404, 404, 404),
    ("GET", "/api/v1/jobs"): answers(*EVERYBODY),
    ("POST", "/api/v1/estimate"): answers(
        401,
        403,
        403,
        200,
        200,
        200,
        body="model_name_or_path: Qwen/Qwen2.5-7B\n",
    ),
    ("POST", "/api/v1/jobs"): answers(*WHO_SUBMITS, body=a_task("new", project="alpha")),
    ("GET", "/api/v1/jobs/{job_id}"): answers(*WHO_SEES),
    ("PATCH", "/api/v1/jobs/{job_id}"): answers(*WHO_MANAGES, body={"priority": "high"}),
    ("GET", "/api/v1/jobs/{job_id}/pause-cost"): answers(*WHO_SEES),
    ("POST", "/api/v1/jobs/{job_id}/pause"): answers(*WHO_CONTROLS),
    ("POST", "/api/v1/jobs/{job_id}/resume"): answers(*WHO_CONTROLS),
    ("POST", "/api/v1/jobs/{job_id}/keep"): answers(
        401, 404, 403, 403, 409, 409
    ),  # it does not run
    ("POST", "/api/v1/jobs/{job_id}/cancel"): answers(*WHO_CONTROLS),
    ("POST", "/api/v1/jobs/{job_id}/clone"): answers(
        401, 404, 403, 201, 201, 201, body={"changes": {"task_id": "copy"}}
    ),
    ("GET", "/api/v1/jobs/{job_id}/why"): answers(*WHO_SEES),
    ("GET", "/api/v1/jobs/{job_id}/log"): answers(*WHO_SEES),
    ("GET", "/api/v1/jobs/{job_id}/events"): answers(*WHO_SEES),
    ("GET", "/api/v1/jobs/{job_id}/readings"): answers(*WHO_SEES),
    ("GET", "/api/v1/queue"): answers(*EVERYBODY),
    ("GET", "/api/v1/gpus"): answers(*EVERYBODY),
    ("GET", "/api/v1/gpus/{uuid}"): answers(*EVERYBODY),
    ("POST", "/api/v1/gpus/{uuid}/drain"): answers(*ADMINS),
    ("POST", "/api/v1/gpus/{uuid}/undrain"): answers(*ADMINS),
    ("GET", "/api/v1/projects"): answers(*EVERYBODY),
    ("POST", "/api/v1/projects"): answers(
        401, 403, 403, 403, 403, 201, body={"slug": "beta", "name": "Beta"}
    ),
    ("GET", "/api/v1/projects/{slug}"): answers(*WHO_SEES),
    ("PATCH", "/api/v1/projects/{slug}"): answers(*WHO_MANAGES, body={"name": "Alpha team"}),
    ("GET", "/api/v1/projects/{slug}/members"): answers(*WHO_SEES),
    ("PATCH", "/api/v1/projects/{slug}/members"): answers(
        *WHO_MANAGES, body={"members": {"viewer": None}}
    ),
    ("GET", "/api/v1/projects/{slug}/quota"): answers(*WHO_SEES),
    ("PATCH", "/api/v1/projects/{slug}/quota"): answers(*ADMINS, body={"limit": {"cards": 2}}),
    ("GET", "/api/v1/reports/usage"): answers(401, 403, 403, 403, 200, 200),
    ("POST", "/api/v1/replays"): answers(401, 403, 403, 403, 201, 201, body={"days": 7}),
    ("GET", "/api/v1/replays/{replay_id}"): answers(401, 403, 403, 403, 200, 200),
    ("GET", "/api/v1/datasets"): answers(*EVERYBODY),
    ("POST", "/api/v1/datasets"): answers(*WHO_SUBMITS, body=FORM, kind=FORM_KIND),
    ("GET", "/api/v1/datasets/{dataset_id}"): answers(*WHO_SEES),
    ("DELETE", "/api/v1/datasets/{dataset_id}"): answers(401, 404, 403, 403, 204, 204),
    ("POST", "/api/v1/datasets/uploads"): answers(*WHO_SUBMITS, body=UPLOAD),
    # An upload is its owner's alone, whoever else may manage the project.
    ("GET", "/api/v1/datasets/uploads/{upload_id}"): answers(401, 404, 404, 404, 404, 404),
    ("PATCH", "/api/v1/datasets/uploads/{upload_id}"): answers(
        401, 404, 404, 404, 404, 404, body=b"x", headers=(("Upload-Offset", "0"),)
    ),
    ("DELETE", "/api/v1/datasets/uploads/{upload_id}"): answers(401, 404, 404, 404, 404, 404),
    ("POST", "/api/v1/datasets/uploads/{upload_id}/finish"): answers(401, 404, 404, 404, 404, 404),
    ("GET", "/api/v1/settings"): answers(*EVERYBODY),
    ("PATCH", "/api/v1/settings"): answers(*ADMINS, body={"max_workers": 3}),
    ("GET", "/api/v1/tokens"): answers(*EVERYBODY),
    ("POST", "/api/v1/tokens"): answers(
        401, 201, 201, 201, 201, 201, body={"name": "ci", "scopes": ["read"]}
    ),
    # A token is its owner's alone.
    ("DELETE", "/api/v1/tokens/{token_id}"): answers(401, 404, 404, 404, 404, 404),
    ("GET", "/api/v1/whoami"): answers(*EVERYBODY),
    ("GET", "/api/v1/health"): answers(*EVERYBODY),
}


@pytest.fixture
def places(db, settings) -> dict[str, str]:
    """Objects of the project alpha, made by its member `owner`, for the names in the addresses."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    settings.COOP_PUBLIC_URL = "https://coop.example.org"  # then nobody counts as local
    project = Project.objects.create(slug="alpha", name="Alpha")
    owner = a_user("owner", role=None)
    join(owner, project)
    for role in ("viewer", "member", "lead"):
        join(a_user(role, role=None), project, role)
    a_user("stranger", role=None)
    an_admin()
    dataset = Dataset.objects.create(
        project=project,
        name="d",
        owner=owner,
        sha256="0" * 64,
        extension="json",
        format="alpaca",
        rows=1,
        size=1,
    )
    upload = DatasetUpload.objects.create(
        project=project, owner=owner, name="u", filename="u.json", size=1
    )
    return {
        "job_id": a_job("theirs", owner=owner, project=project).pk,
        "uuid": a_device().uuid,
        "slug": "alpha",
        "dataset_id": dataset.pk,
        "upload_id": upload.pk,
        "replay_id": a_replay(User.objects.get(username="lead")).pk,
        "token_id": str(issue(owner, name="theirs", scopes=["read"])[0].pk),
    }


def a_replay(maker: User) -> Replay:
    """An answered question; while one is open, nobody asks another one."""
    asked = {"asked_at": timezone.now(), "ended_at": timezone.now(), "problem": "no_jobs"}
    return Replay.objects.create(made_by=maker, question=Question().as_json(), **asked)


def caller(role: str, way: Callable[..., Caller]) -> Caller:
    if role == "anonymous":
        return nobody()
    return way(an_admin() if role == "admin" else a_user(role, role=None))


@pytest.mark.parametrize("way", [by_token, by_session])
@pytest.mark.parametrize(("method", "template"), MATRIX, ids=str)
def test_everybody_gets_what_the_matrix_says(places, method, template, way):
    expected = MATRIX[method, template]
    got = {}
    for role in ROLES:
        queue.forget()
        cache.clear()
        asking = caller(role, way)
        asking.headers |= dict(expected.headers)
        with transaction.atomic():
            response = asking.send(
                method, template.format(**places), expected.body, kind=expected.kind
            )
            transaction.set_rollback(True)
        got[role] = response.status_code
    assert got == dict(zip(ROLES, expected.statuses, strict=True))


def test_no_address_is_missing_from_the_matrix():
    schema = api.get_openapi_schema()["paths"]
    documented = {(method.upper(), path) for path, methods in schema.items() for method in methods}
    assert documented - set(MATRIX) == set()


def test_no_address_is_hidden_from_the_documentation():
    """What openapi.json does not list could be forgotten by the matrix, too."""
    known = {template for _method, template in MATRIX}
    assert {address for address in _addresses(urls.urlpatterns) if address not in known} == set()


def test_the_matrix_names_no_address_that_is_gone():
    addresses = _addresses(urls.urlpatterns) | {"/api/v1/nowhere"}
    assert {template for _method, template in MATRIX} - addresses == set()


def _addresses(patterns: list[Any], before: str = "/") -> set[str]:
    found: set[str] = set()
    for each in patterns:
        here = before + str(each.pattern)
        if isinstance(each, URLResolver):
            found |= _addresses(each.url_patterns, here)
        elif isinstance(each, URLPattern) and not here.endswith(".*"):
            found.add(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", here))
    return found
