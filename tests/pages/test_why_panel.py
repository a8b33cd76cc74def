"""The panel that says why a job waits: its parts, what its buttons do, and what it keeps to itself."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from jobs import estimates, heartbeats, queuestate
from jobs.core.states import Priority
from jobs.models import Job, Membership
from jobs.projects import default_project, join
from tests.jobs.queueworlds import behind_one_another, kept_for_another
from tests.pages.conftest import signed_in
from tests.rows import GIB, a_device, a_job, a_running_job, a_user


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(estimates, "PATIENCE", 20.0)


@pytest.fixture
def lead(db):
    return a_user("lead", role=Membership.Role.LEAD)


def panel(client, job):
    text = client.get(reverse("job", args=[job.pk])).content.decode()
    found = re.search(r'<section class="panel why-panel.*?</section>', text, re.DOTALL)
    return " ".join(found.group().split()) if found else ""


def test_the_panel_has_place_reason_remedy_code_and_who_can_act(client, member):
    behind_one_another("first", "second")
    text = panel(client, a_job("third", memory=70 * GIB, owner=member))
    assert "Position 3 in the queue." in text
    assert "Needs 70 GiB; the largest free block is" in text
    assert "It starts when that much is free" in text
    assert "waiting helps" in text
    assert "WAIT_MEMORY" in text


def test_the_expected_start_has_its_range_as_times_that_a_script_can_move_to_the_readers_zone(
    client,
):
    (job,) = behind_one_another("waits")
    text = panel(client, job)
    assert len(re.findall(r"<time datetime=\"[^\"]+\" data-clock>[^<]+</time>", text)) == 3
    assert re.search("Expected start: ≈ <time.*</time>, between <time.*</time> and <time", text)


def test_where_nobody_knows_how_long_jobs_run_there_is_no_time(client):
    (job,) = behind_one_another("waits", est_time=None)
    text = panel(client, job)
    assert "nobody knows how long the jobs ahead will run" in text
    assert "data-clock" not in text


def test_a_job_that_never_fits_is_the_readers_to_change(client, member):
    a_device()
    heartbeats.beat(heartbeats.DISPATCHER)
    text = panel(client, a_job("huge", memory=600 * GIB, owner=member))
    assert "you can act" in text
    assert "it starts only after somebody has done something" in text


def test_a_job_that_starts_at_once_promises_no_time(client, member):
    a_device()
    heartbeats.beat(heartbeats.DISPATCHER)
    text = panel(client, a_job("soon", owner=member))
    assert "It starts with the next cycle." in text
    assert "Expected start" not in text


def test_the_steps_of_the_order_are_a_numbered_list(client):
    (job,) = behind_one_another("waits")
    steps = re.search(r"<ol class=\"order-steps\">(.*?)</ol>", panel(client, job)).group(1)
    assert steps.count("<li>") == 6
    assert "Priority medium counts as if it had come 12h earlier." in steps


def test_those_ahead_are_links_where_the_viewer_may_see_them(client):
    first, second = behind_one_another("first", "second")
    text = panel(client, second)
    ahead = re.search(r"<ol class=\"ahead prose\">(.*?)</ol>", text).group(1)
    assert reverse("job", args=[first.pk]) in ahead
    assert "first#1" in ahead


def test_less_memory_is_offered_as_a_form_filled_in_with_it(client):
    job, _other = behind_one_another("waits", "other")
    text = panel(client, job)
    assert "Starts now with min_memory 30G" in text
    link = reverse("submit") + f"?from={job.pk}&amp;resources.min_memory=30G"
    assert link in text
    form = client.get(link.replace("&amp;", "&")).content.decode()
    assert "min_memory: 30G" in form
    assert "task_id: waits_copy" in form


def test_a_lead_raises_the_priority_there_and_a_member_only_reads_what_it_would_bring(client, lead):
    _first, second = behind_one_another("first", "second")
    offer = "Position 1 with priority high (needs a lead)"
    address = reverse("job-priority", args=[second.pk])
    assert offer in panel(client, second)
    assert address not in panel(client, second)
    browser = signed_in(lead)
    assert f'hx-post="{address}"' in panel(browser, second)
    assert browser.post(address, {"priority": "high"}).status_code == 302
    assert Job.objects.get(pk=second.pk).priority == Priority.HIGH
    assert "Position 1 in the queue." in panel(browser, second)


def test_a_member_who_posts_it_all_the_same_is_refused(client):
    (job,) = behind_one_another("waits")
    address = reverse("job-priority", args=[job.pk])
    refused = client.post(address, {"priority": "high"}, headers={"HX-Request": "true"})
    assert refused.status_code == 403
    assert client.post(address, {"priority": "urgent"}).status_code == 400
    assert Job.objects.get(pk=job.pk).priority == Priority.MEDIUM


def test_a_viewer_reads_everything_and_is_offered_nothing(db):
    (job,) = behind_one_another("waits")
    text = panel(signed_in(a_user("reader", role=Membership.Role.VIEWER)), job)
    assert "Starts now with min_memory 30G" in text
    assert "<form" not in text
    assert "Clone so" not in text


def test_a_held_job_says_who_holds_it_and_has_no_place(client, member):
    job = a_job("held", owner=member)
    client.post(reverse("job-pause", args=[job.pk]))
    text = panel(client, job)
    assert "Held by a person" in text
    assert "Position" not in text


def test_a_running_job_has_no_such_panel(client, member):
    job, _attempt = a_running_job("runs", device=a_device(), owner=member)
    assert panel(client, job) == ""


def test_of_another_projects_jobs_no_page_tells_more_than_their_needs(client, member):
    mine, secret = kept_for_another()
    for address in (f"/jobs/{mine.pk}/", f"/jobs/{mine.pk}/part", "/", "/parts/queue"):
        text = client.get(address).content.decode()
        assert "another project" in text
        assert "secret" not in text
        assert secret.pk not in text
        assert "stranger" not in text


def test_the_queue_of_the_overview_tells_expected_starts_and_why_there_is_none(client):
    behind_one_another("known")
    a_job("huge", memory=600 * GIB)
    queuestate.current().forget()
    text = " ".join(client.get(reverse("part-queue")).content.decode().split())
    assert re.search(r"≈ <time datetime=\"[^\"]+\" data-clock>", text)
    assert 'title="not estimated: it starts only after somebody has done something"' in text


def test_the_form_of_a_new_job_says_where_it_would_stand(client, member):
    behind_one_another("first")
    task = "task_id: new\nresources:\n  min_memory: 70G\ncommand: 'true'\n"
    answer = client.post(reverse("submit-check"), {"tab": "text", "task": task})
    text = " ".join(answer.content.decode().split())
    assert "Position 2 in the queue." in text
    assert "Expected start: ≈ <time" in text
    assert "What would" not in text


def test_the_form_of_a_new_job_says_that_it_would_start_at_once(client, member):
    a_device()
    join(member, default_project())
    task = "task_id: new\nresources:\n  min_memory: 16G\ncommand: 'true'\n"
    answer = client.post(reverse("submit-check"), {"tab": "text", "task": task})
    assert "It would start at once." in answer.content.decode()


def test_the_list_of_jobs_tells_expected_starts(client):
    behind_one_another("known")
    text = client.get(reverse("job-list")).content.decode()
    assert len(re.findall("data-clock", text)) == 1
