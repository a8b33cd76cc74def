"""Lists, projects, cards, administration, and what is shown when something is wrong."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gpus.charts import MOST_POINTS, Point, memory_figure, thinned, with_gaps
from gpus.models import Node, Reading
from jobs import lifecycle, live
from jobs.core.states import JobState
from jobs.models import Allocation, Membership, Quota
from jobs.projects import default_project
from tests.pages.conftest import signed_in
from tests.rows import GIB, a_device, a_job, a_running_job, a_user, an_admin


def text_of(response):
    return response.content.decode()


def test_the_list_shows_what_the_address_asks_for(client, member):
    a_running_job("runs", device=a_device(), owner=member)
    a_job("waits", owner=member)
    ended = a_job("ended", owner=member)
    lifecycle.cancel(ended, member)
    a_job("others", owner=a_user("other"))
    wanted = {
        "": {"runs", "waits", "others"},
        "show=waiting": {"waits", "others"},
        "show=holding": {"runs"},
        "show=ended": {"ended"},
        "show=all&mine=yes": {"runs", "waits", "ended"},
        "q=WAI": {"waits"},
        "project=none": set(),
        "show=nonsense&page=99": {"runs", "waits", "others"},
    }
    for query, names in wanted.items():
        text = text_of(client.get(f"{reverse('job-list')}?{query}"))
        assert {n for n in ("runs", "waits", "ended", "others") if f"{n}<span" in text} == names, (
            query
        )


def test_a_long_list_has_pages_that_keep_the_filter(client, member):
    for number in range(55):
        a_job(f"job-{number:02d}", owner=member)
    text = text_of(client.get(reverse("job-list"), {"q": "job-"}))
    assert "1 to 50 of 55" in text
    assert "?q=job-&amp;page=2" in text


def test_the_list_is_fetched_again_without_the_page_around_it(client, member):
    a_job("waits", owner=member)
    text = text_of(client.get(reverse("job-list"), headers={"HX-Request": "true"}))
    assert "waits" in text
    assert "<html" not in text


def test_an_empty_list_says_what_to_do_next(client):
    assert "min_memory: 16G" in text_of(client.get(reverse("job-list")))
    assert "Nobody waits" in text_of(client.get(reverse("overview")))
    assert "No cards yet" in text_of(client.get(reverse("overview")))


def test_a_card_shows_booked_used_foreign_and_free(client, member):
    device = a_device(used=30 * GIB, foreign=9 * GIB)
    job, _attempt = a_running_job("mine", device=device, owner=member)
    key = Allocation.objects.get().key
    live.LATEST.readings = {
        "k": "readings",
        "at": timezone.now().timestamp(),
        "devices": [{"uuid": device.uuid, "segs": [[key, 14 * GIB, 7 * GIB]]}],
    }
    text = text_of(client.get(reverse("part-fleet")))
    assert '<b data-v="used">7</b> / 14 GiB' in text
    assert 'class="used" x="0.00%" width="8.75%"' in text
    assert 'class="tail" x="8.75%" width="8.75%"' in text
    assert 'class="foreign" x="17.50%" width="11.25%"' in text
    assert f'href="{reverse("job", args=[job.pk])}"' in text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"fault": "The card has fallen off the bus."}, "Lost"),
        ({"age": 60.0}, "Stale"),
        ({"drained": True, "drain_reason": "fan replaced"}, "fan replaced"),
    ],
)
def test_a_card_that_takes_nothing_says_so_in_words(client, fields, words):
    a_device(**fields)
    assert words in text_of(client.get(reverse("part-fleet")))


def test_simulated_cards_are_never_mistaken_for_real_ones(client):
    assert "Simulated cards" not in text_of(client.get(reverse("overview")))
    Node.objects.create(name="sim", source="simulated")
    assert "Simulated cards" in text_of(client.get(reverse("overview")))


def test_without_isolation_several_accounts_are_warned(client, monkeypatch):
    monkeypatch.setattr("jobs.context_processors.isolation_level", lambda: "L0")
    assert "read each other" not in text_of(client.get(reverse("overview")))
    a_user("second")
    assert "read each other" in text_of(client.get(reverse("overview")))


def test_a_project_shows_quota_and_members_and_a_lead_changes_them(db):
    lead, member = a_user("lead", role="lead"), a_user("member")
    Quota.objects.create(project=default_project(), limit_memory=160 * GIB, guarantee_cards=1)
    browser = signed_in(lead)
    text = text_of(browser.get(reverse("project", args=["default"])))
    assert "160 GiB" in text
    browser.post(reverse("member-add", args=["default"]), {"username": "member", "role": "viewer"})
    assert Membership.objects.get(user=member).role == "viewer"
    browser.post(reverse("member-remove", args=["default", member.pk]))
    assert not Membership.objects.filter(user=member).exists()
    answer = browser.post(
        reverse("member-add", args=["default"]), {"username": "ghost", "role": "viewer"}
    )
    assert answer.status_code == 422
    assert "There is no account “ghost”" in text_of(answer)


def test_a_member_does_not_change_members(client):
    other = a_user("other")
    client.post(reverse("member-remove", args=["default", other.pk]))
    client.post(reverse("member-add", args=["default"]), {"username": "other", "role": "lead"})
    assert Membership.objects.get(user=other).role == "member"


def test_a_card_has_its_own_page_and_chart(client):
    device = a_device()
    now = int(timezone.now().timestamp())
    Reading.objects.create(
        device=device, seconds=10, start=now - 20, samples=10, used_max=40 * GIB, busy_mean=0.9
    )
    assert device.name in text_of(client.get(reverse("device", args=[device.uuid])))
    figure = client.get(reverse("device-charts", args=[device.uuid]), {"span": "15m"}).json()[
        "memory"
    ]
    assert figure["data"][1]["y"] == [40.0]
    assert client.get(reverse("device", args=["GPU-none"])).status_code == 404


def points(*starts):
    return [Point(start=start, seconds=10, used=GIB, busy=None) for start in starts]


def test_a_gap_in_the_readings_is_a_gap_in_the_line():
    shown = with_gaps(points(0, 10, 20, 90, 100))
    assert [point.used for point in shown] == [GIB, GIB, GIB, None, None, GIB, GIB]
    ground = memory_figure(points(0, 10, 20, 90, 100))["data"][0]
    assert ground["y"] == [1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]


def test_many_points_are_thinned_and_the_peak_stays():
    many = [
        Point(start=n * 10, seconds=10, used=GIB * (9 if n == 777 else 1), busy=0.5)
        for n in range(5000)
    ]
    few = thinned(many)
    assert len(few) <= MOST_POINTS
    assert max(point.used for point in few) == 9 * GIB


def test_a_card_that_cannot_tell_is_a_gap_and_not_a_zero():
    figure = memory_figure([Point(start=0, seconds=10, used=None, busy=None)], total=80 * GIB)
    assert figure["data"][1]["y"] == [None]


@pytest.mark.parametrize(
    "model",
    [
        "user",
        "project",
        "job",
        "jobevent",
        "apitoken",
        "dataset",
        "sitesetting",
        "heartbeat",
        "lease",
    ],
)
def test_the_administration_opens(model):
    browser = signed_in(an_admin())
    assert browser.get(reverse(f"admin:jobs_{model}_changelist")).status_code == 200


@pytest.fixture(autouse=True)
def _database(db):
    """Every test here reads pages, and pages read the database."""


def test_the_administration_sets_no_state_and_cancels_through_the_lifecycle():
    job = a_job("seen")
    browser = signed_in(an_admin())
    page = text_of(browser.get(reverse("admin:jobs_job_change", args=[job.pk])))
    assert 'name="state"' not in page
    browser.post(
        reverse("admin:jobs_job_changelist"), {"action": "cancel", "_selected_action": [job.pk]}
    )
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert job.events.last().actor.username == "admin"


def test_the_administration_shows_a_card_and_changes_none():
    device = a_device()
    browser = signed_in(an_admin())
    page = reverse("admin:gpus_device_change", args=[device.pk])
    assert browser.get(page).status_code == 200
    assert browser.post(page, {"mode": "", "weight": "2", "drained": "on"}).status_code == 403
    device.refresh_from_db()
    assert (device.drained, device.weight) == (False, 1)


def test_a_page_that_is_not_there_says_what_to_do(client):
    response = client.get("/jobs/none/")
    assert response.status_code == 404
    assert "To the overview" in text_of(response)


def test_a_foreign_host_name_gets_a_page_that_says_so(client, settings):
    settings.ALLOWED_HOSTS = ["localhost"]
    response = client.get("/", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert "This request cannot be read" in text_of(response)


def test_an_old_form_says_that_nothing_was_done(member):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(member)
    response = browser.post(reverse("job-cancel", args=[a_job("kept").pk]))
    assert response.status_code == 403
    assert "The page was too old" in text_of(response)


def test_a_failure_of_ours_is_a_page_of_ours(client, monkeypatch):
    client.raise_request_exception = False
    monkeypatch.setattr("jobs.views.overview.fleet_for", lambda viewer: 1 / 0)
    response = client.get(reverse("overview"))
    assert response.status_code == 500
    assert "Something broke on our side" in text_of(response)


@pytest.mark.parametrize(
    "page", ["overview", "job-list", "submit", "dataset-list", "project-list", "account", "signin"]
)
def test_a_page_has_what_assistive_technology_needs(client, page):
    response = client.get(reverse(page), follow=True)
    text = text_of(response)
    assert text.count("<h1") == 1
    assert '<main id="main"' in text
    assert 'class="skip" href="#main"' in text
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids)), [each for each in ids if ids.count(each) > 1]
    assert "Content-Security-Policy" in response.headers
    assert "unsafe" not in response.headers["Content-Security-Policy"]
