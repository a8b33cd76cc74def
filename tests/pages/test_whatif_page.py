"""The what-if page: who may ask, what it shows, and what it says before there is anything to show."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from gpus.models import Device
from jobs.models import Job, Membership, Project, Quota, Replay
from jobs.projects import default_project, join
from jobs.replay import asking
from tests.jobs.pasts import Past, three_on_one_card
from tests.pages.conftest import signed_in
from tests.rows import a_device, a_user, an_admin


@pytest.fixture
def lead(db):
    return a_user("lead", role="lead")


@pytest.fixture
def past(lead):
    """Sixteen minutes of work on one card, two hours ago."""
    made = Past(timezone.now() - timedelta(hours=2))
    three_on_one_card(made, a_device(), owner=lead)
    return made


def text_of(response):
    return response.content.decode()


def form(**changes):
    """What the page sends where nothing is changed."""
    return {
        "days": "1",
        "policy": "",
        "mode": "",
        "placement": "",
        "preemption": "",
        "min_run_minutes": "",
        "max_workers": "",
        "max_jobs_per_card": "",
        "more": "0",
        "kind": "NVIDIA A100-SXM4-80GB",
        "fleet": "",
        "weight:default": "1",
        "guarantee:default": "",
        "limit:default": "",
    } | changes


def asked(browser, **changes):
    """Ask, have it worked out, and show the page of the answer."""
    answer = browser.post(reverse("whatif"), form(**changes))
    assert answer.status_code == 302, text_of(answer)
    asking.work_out(Replay.objects.get(ended_at=None).pk)
    return text_of(browser.get(answer["Location"]))


def plain(text):
    """The words of a page."""
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_a_member_may_not_ask_and_finds_no_link(client):
    response = client.get(reverse("whatif"))
    assert response.status_code == 403
    assert "for those who lead a project" in text_of(response)
    assert reverse("whatif") not in text_of(client.get(reverse("project-list")))
    assert reverse("whatif") not in text_of(client.get(reverse("project", args=["default"])))


def test_a_lead_finds_it_beside_the_projects(lead):
    link = f'href="{reverse("whatif")}"'
    browser = signed_in(lead)
    assert link in text_of(browser.get(reverse("project-list")))
    assert link in text_of(browser.get(reverse("project", args=["default"])))


def test_an_admin_finds_it_where_quotas_are_edited(db):
    default_project()
    page = reverse("manage-quotas")
    assert f'href="{reverse("whatif")}"' in text_of(signed_in(an_admin()).get(page))


def test_without_a_history_it_says_what_to_do(lead):
    text = text_of(signed_in(lead).get(reverse("whatif")))
    assert "No history yet" in text
    assert 'name="days"' not in text


def test_one_more_card_is_compared_in_words(lead, past):
    words = plain(asked(signed_in(lead), more="1"))
    assert "Mean wait 7m20s → 1m20s" in words
    assert "Mean wait 7m20s 7m20s 1m20s 6m shorter (82 %)" in words
    assert "9 of 10 waited at most 13m 13m 4m 9m shorter (69 %)" in words
    assert "All ended after" in words
    assert "3 jobs that came from" in words
    assert "Changed: more cards: 1xNVIDIA A100-SXM4-80GB" in words
    assert "Really, jobs waited 7m20s on average; replayed with today's settings, 7m20s." in (
        words.replace("&#x27;", "'")
    )
    assert "default 7m20s 7m20s 1m20s" in words
    assert "Nobody has measured how much of a card they compute with: 3." in words


def test_with_no_change_it_says_how_well_the_model_does(lead, past):
    text = asked(signed_in(lead))
    assert "How well the model does" in text
    assert "Replayed changed" not in text
    assert Replay.objects.get().question["projects"] == {}


def test_weights_and_quotas_are_asked_where_they_differ(lead, past):
    Quota.objects.create(project=default_project(), guarantee_cards=1, limit_cards=4)
    changes = {"weight:default": "3", "guarantee:default": "", "limit:default": "4"}
    words = plain(asked(signed_in(lead), **changes, preemption="no", policy="fifo"))
    question = Replay.objects.get().question
    assert question["projects"] == {"default": {"weight": 3.0, "guarantee": {"cards": None}}}
    assert question["settings"] == {"policy": "fifo", "preemption": False}
    assert "default, weight: 3" in words
    assert "default, guarantee, cards: none" in words
    assert "preemption: off" in words


def test_the_form_keeps_what_was_asked(lead, past):
    changes = {"weight:default": "3", "limit:default": "2", "max_workers": "5"}
    text = asked(signed_in(lead), **changes, more="2", preemption="yes")
    assert 'name="weight:default" value="3"' in text
    assert 'name="limit:default" value="2"' in text
    assert 'name="max_workers" value="5"' in text
    assert 'name="more" value="2"' in text
    assert '<option value="yes" selected>' in text


def test_jobs_that_would_never_start_are_a_warning(lead, past):
    words = plain(asked(signed_in(lead), **{"limit:default": "0"}))
    assert "With the change 3 jobs would never start, and are in no mean." in words
    assert "Jobs started 3 3 0 3 less" in words


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"days": "5"}, "Select a valid choice"),
        ({"min_run_minutes": "-1"}, "greater than or equal to 0"),
        ({"weight:default": "many"}, "default, weight: Enter a number."),
        ({"limit:default": "1.5"}, "default, most cards: Enter a whole number."),
        ({"guarantee:default": "3", "limit:default": "2"}, "would be above its limit"),
        ({"fleet": "8 cards"}, "which names no machines"),
    ],
)
def test_what_is_wrong_is_said_in_the_form(lead, past, changes, said):
    response = signed_in(lead).post(reverse("whatif"), form(**changes))
    assert response.status_code == 422
    text = text_of(response).replace("&quot;", '"').replace("&#x27;", "'")
    assert said in text
    for name, value in changes.items():
        if name != "days":
            assert re.search(
                rf'name="{name}"[^>]* value="{value}"|value="{value}"[^>]* name="{name}"', text
            )


def test_a_second_question_waits_for_the_first(lead, past):
    browser = signed_in(lead)
    browser.post(reverse("whatif"), form())
    response = browser.post(reverse("whatif"), form())
    assert response.status_code == 409
    text = text_of(response)
    assert "Only one replay of yours runs at a time" in text
    assert reverse("whatif-answer", args=[Replay.objects.get().pk]) in text


def test_while_it_is_worked_out_the_part_is_fetched_again(lead, past):
    browser = signed_in(lead)
    browser.post(reverse("whatif"), form())
    replay = Replay.objects.get()
    part = reverse("whatif-part", args=[replay.pk])
    text = text_of(browser.get(part))
    assert f'hx-get="{part}" hx-trigger="every 1s"' in text
    assert "Waits for the background service" in text
    assert "<html" not in text
    Replay.objects.update(begun_at=timezone.now())
    assert "Replaying" in text_of(browser.get(part))
    Replay.objects.update(begun_at=None)
    asking.work_out(replay.pk)
    assert "hx-trigger" not in text_of(browser.get(part))


def test_nothing_to_replay_is_said(lead, past):
    long_ago = past.zero - timedelta(days=400)
    Job.objects.update(submitted_at=long_ago, finished_at=long_ago)
    text = asked(signed_in(lead))
    assert "No job of this time can be replayed." in text
    assert "Choose a longer period" in text


def test_answers_of_others_do_not_exist(lead, past):
    signed_in(lead).post(reverse("whatif"), form())
    other = a_user("other-lead", role="lead")
    place = reverse("whatif-answer", args=[Replay.objects.get().pk])
    assert signed_in(other).get(place).status_code == 404
    assert signed_in(a_user("member")).get(place).status_code == 404
    assert signed_in(an_admin()).get(place).status_code == 200
    assert signed_in(other).get(reverse("whatif-part", args=["none"])).status_code == 404


def test_a_lead_sees_the_sums_of_all_and_nobody_elses_names(lead, past):
    hidden = Project.objects.create(slug="hidden-team", name="Hidden team")
    stranger = a_user("stranger", role=None)
    join(stranger, hidden, Membership.Role.LEAD)
    past.job("secret", 3, (16, 20), on=Device.objects.get(), owner=stranger, project=hidden)
    text = asked(signed_in(lead), more="1")
    for name in ("hidden-team", "Hidden team", "stranger", "secret"):
        assert name not in text
    assert "4 jobs that came" in plain(text)
    everything = asked(signed_in(an_admin()), more="1")
    assert "hidden-team" in everything
    assert "stranger" not in everything


def test_only_an_admin_is_offered_a_policy_of_a_file(lead, past):
    assert 'name="policy_file"' not in text_of(signed_in(lead).get(reverse("whatif")))
    assert 'name="policy_file"' in text_of(signed_in(an_admin()).get(reverse("whatif")))


def test_earlier_questions_are_listed(lead, past):
    browser = signed_in(lead)
    asked(browser)
    text = text_of(browser.get(reverse("whatif")))
    assert reverse("whatif-answer", args=[Replay.objects.get().pk]) in text
    assert "answered" in text


@pytest.mark.parametrize("page", ["empty", "form", "answer"])
def test_it_has_what_assistive_technology_needs(lead, page, request):
    browser = signed_in(lead)
    if page == "empty":
        text = text_of(browser.get(reverse("whatif")))
    else:
        request.getfixturevalue("past")
        text = (
            text_of(browser.get(reverse("whatif"))) if page == "form" else asked(browser, more="1")
        )
    assert text.count("<h1") == 1
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    labels = set(re.findall(r'<label[^>]* for="([^"]+)"', text))
    inputs = re.findall(r"<(?:input|select)\s([^>]*)>", text)
    shown = [each for each in inputs if 'type="hidden"' not in each and 'class="form' in each]
    assert all(re.search(r'id="([^"]+)"', each)[1] in labels for each in shown), shown
