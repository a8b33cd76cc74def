"""What belongs to a project one is not in does not exist, and where it must appear it has no name."""

from __future__ import annotations

import pytest
from django.urls import URLPattern, get_resolver, reverse
from django.utils import timezone

from jobs import lifecycle
from jobs.models import Dataset, Project
from jobs.projects import join
from tests.pages.conftest import signed_in
from tests.rows import GIB, a_device, a_job, a_running_job, a_user, an_admin

SECRET = "secret-training"
OPEN_TO_ALL = {"signin", "signin-link", "preferences", "invitation"}


@pytest.fixture
def foreign(db):
    """A project with a running, a queued and a held job, of which the member of `default` knows nothing."""
    project = Project.objects.create(slug="hidden-team", name="Hidden team")
    owner = a_user("stranger", role=None)
    join(owner, project, "member")
    device = a_device()
    running, _attempt = a_running_job(f"{SECRET}-1", device=device, owner=owner, project=project)
    queued = a_job(f"{SECRET}-2", owner=owner, project=project, memory=23 * GIB)
    held = a_job(f"{SECRET}-3", owner=owner, project=project)
    assert lifecycle.hold(held, owner)
    dataset = Dataset.objects.create(
        project=project,
        name=f"{SECRET}-data",
        owner=owner,
        sha256="0" * 64,
        extension="json",
        format="alpaca",
        rows=1,
        size=1,
    )
    return {
        "project": project,
        "owner": owner,
        "running": running,
        "queued": queued,
        "dataset": dataset,
    }


@pytest.mark.parametrize(
    "page",
    [
        "overview",
        "part-fleet",
        "part-queue",
        "part-running",
        "job-list",
        "submit",
        "dataset-list",
        "project-list",
        "account",
    ],
)
def test_no_page_of_a_member_names_what_belongs_to_others(client, foreign, page):
    text = client.get(reverse(page), {"show": "all"}).content.decode()
    for name in (SECRET, "hidden-team", "stranger", foreign["running"].pk, foreign["queued"].pk):
        assert name not in text


def test_memory_and_queue_of_others_appear_without_a_name(client, foreign):
    fleet = client.get(reverse("part-fleet")).content.decode()
    assert "another project" in fleet
    assert "14 GiB" in fleet
    queue = client.get(reverse("part-queue")).content.decode()
    assert "another project" in queue
    assert "23 GiB" in queue


def test_an_open_queue_names_job_and_owner_but_links_nowhere(client, foreign):
    from jobs import sitesettings

    sitesettings.change({"open_queue": True}, None)
    text = client.get(reverse("overview")).content.decode()
    assert f"{SECRET}-1" in text
    assert "stranger" in text
    assert foreign["running"].pk not in text
    assert client.get(reverse("job", args=[foreign["running"].pk])).status_code == 404


def job_addresses(job):
    names = [
        p.name
        for p in get_resolver().url_patterns[-1].url_patterns
        if "<str:job_id>" in str(p.pattern)
    ]
    return [reverse(name, args=[job.pk]) for name in names]


def test_every_address_of_a_foreign_job_answers_not_found(client, foreign):
    addresses = job_addresses(foreign["running"])
    assert len(addresses) >= 8
    for address in addresses:
        method = (
            client.post
            if address.rsplit("/", 1)[1]
            in {"pause", "resume", "cancel", "priority", "ask-priority"}
            else client.get
        )
        assert method(address).status_code == 404, address


def test_dataset_and_project_of_others_are_not_found(client, foreign):
    for address in (
        reverse("dataset", args=[foreign["dataset"].pk]),
        reverse("project", args=["hidden-team"]),
        reverse("submit") + f"?from={foreign['running'].pk}",
    ):
        assert client.get(address).status_code == 404
    assert client.post(reverse("dataset-delete", args=[foreign["dataset"].pk])).status_code == 404
    assert client.post(reverse("member-add", args=["hidden-team"])).status_code == 404


def test_an_admin_sees_all_by_name(foreign):
    text = signed_in(an_admin()).get(reverse("overview")).content.decode()
    assert f"{SECRET}-1" in text
    assert reverse("job", args=[foreign["running"].pk]) in text


def test_a_viewer_looks_and_has_no_buttons(db):
    job, _attempt = a_running_job("watched", device=a_device())
    browser = signed_in(a_user("viewer", role="viewer"))
    text = browser.get(reverse("job", args=[job.pk])).content.decode()
    assert "watched" in text
    assert "data-deed" not in text
    browser.post(reverse("job-cancel", args=[job.pk]))
    job.refresh_from_db()
    assert job.state == "RUNNING"


def page_patterns():
    for pattern in get_resolver().url_patterns:
        for inner in getattr(pattern, "url_patterns", []):
            if isinstance(inner, URLPattern) and inner.lookup_str.startswith(
                ("jobs.views", "gpus.views")
            ):
                yield inner


@pytest.mark.parametrize("pattern", list(page_patterns()), ids=lambda pattern: pattern.name)
def test_a_stranger_gets_no_page_but_the_sign_in(client, pattern):
    client.logout()
    arguments = [1 if "int:" in part else "x" for part in str(pattern.pattern).split("<")[1:]]
    response = client.get(reverse(pattern.name, args=arguments))
    if pattern.name in OPEN_TO_ALL:
        assert response.status_code in {200, 405, 410}
    else:
        assert response.status_code == 302
        assert response.url.startswith(reverse("signin"))


def test_the_queue_of_a_thousand_costs_the_page_no_more_queries(
    client, foreign, django_assert_max_num_queries
):
    for number in range(60):
        a_job(f"mine-{number}")
    assert timezone.now()
    with django_assert_max_num_queries(40):
        client.get(reverse("overview"))
