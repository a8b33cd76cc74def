"""A project's people on the pages: invitations, limits of members, requests to go ahead, the fair share."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from jobs import heartbeats, invitations, priorityrequests
from jobs.core.states import Priority
from jobs.models import Invitation, Membership, PriorityRequest, Project, Quota, User
from jobs.projects import default_project
from tests.pages.conftest import signed_in
from tests.rows import a_device, a_job, a_user, an_admin

NEW = {
    "username": "ana",
    "password1": "a long password of hers",
    "password2": "a long password of hers",
}


@pytest.fixture
def lead(db):
    return a_user("lead", role="lead")


def text_of(response):
    return response.content.decode()


def link(by):
    """The path of a new invitation, as its maker sees it once."""
    page = reverse("invitations", args=["default"])
    text = text_of(signed_in(by).post(page, {"role": "member", "days": "7", "note": "Ana"}))
    return re.search(r"http://testserver(/invitation/[\w-]+)", text).group(1)


# --- invitations ---------------------------------------------------------------------------------------


def test_a_lead_makes_a_link_that_is_shown_once(lead):
    path = link(lead)
    page = signed_in(lead).get(reverse("invitations", args=["default"]))
    assert path not in text_of(page)
    assert "Ana" in text_of(page)


def test_somebody_who_is_signed_in_joins_with_one_click(lead):
    path, ana = link(lead), a_user("ana", role=None)
    browser = signed_in(ana)
    assert "Join Default" in text_of(browser.get(path))
    assert not Membership.objects.filter(user=ana).exists()
    response = browser.post(path)
    assert response.url == reverse("project", args=["default"])
    assert Membership.objects.get(user=ana).role == "member"
    assert browser.post(path).status_code == 410


def test_somebody_new_chooses_a_name_and_is_in(lead):
    path, browser = link(lead), Client()
    assert "Make my account" in text_of(browser.get(path))
    response = browser.post(path, NEW)
    assert response.url == reverse("project", args=["default"])
    assert "ana" in text_of(browser.get(response.url))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"username": "lead"}, "is taken"),
        ({"username": "LEAD"}, "is taken"),
        ({"username": "shared"}, "is taken"),
        ({"password2": "another one"}, "match"),
        ({"password1": "12345", "password2": "12345"}, "too short"),
    ],
)
def test_what_is_wrong_with_a_new_account_is_said_and_uses_nothing_up(lead, changes, said):
    path, browser = link(lead), Client()
    response = browser.post(path, NEW | changes)
    assert response.status_code == 422
    assert said in text_of(response)
    assert browser.post(path, NEW).status_code == 302
    assert User.objects.filter(username="ana").count() == 1


def test_a_link_that_is_not_good_says_what_to_do(db):
    response = Client().get(reverse("invitation", args=["guessed"]))
    assert response.status_code == 410
    assert "Ask who sent it for a new one" in text_of(response)


def test_a_revoked_link_lets_nobody_in(lead):
    path = link(lead)
    made = Invitation.objects.get()
    address = reverse("invitation-revoke", args=["default", made.pk])
    signed_in(a_user("member")).post(address)
    assert invitations.found(path.rpartition("/")[2])
    signed_in(lead).post(address)
    assert Client().get(path).status_code == 410


@pytest.mark.parametrize("name", ["invitations", "member-quotas"])
def test_these_pages_are_for_leads_and_others_projects_do_not_exist(client, lead, name):
    page = reverse(name, args=["default"])
    assert client.get(page).status_code == 403
    assert signed_in(lead).get(page).status_code == 200
    assert signed_in(a_user("stranger", role=None)).get(page).status_code == 404


# --- limits of members ---------------------------------------------------------------------------------


def test_a_lead_limits_a_member_in_the_table(lead, member):
    page = reverse("member-quotas", args=["default"])
    browser = signed_in(lead)
    text = text_of(browser.get(page))
    assert "weight:" not in text
    before = unescape(re.findall(r'name="before" value="([^"]*)"', text)[0])
    cell = f"limit_cards:{default_project().pk}:{member.pk}"
    assert cell in json.loads(before)
    response = browser.post(page, json.loads(before) | {cell: "1", "before": before})
    assert response.status_code == 302
    assert (Quota.objects.get().user, Quota.objects.get().limit_cards) == (member, 1)


def test_a_lead_cannot_smuggle_in_a_cell_of_the_project(lead):
    cell = f"limit_cards:{default_project().pk}"
    page = reverse("member-quotas", args=["default"])
    signed_in(lead).post(page, {"before": json.dumps({cell: ""}), cell: "9"})
    assert not Quota.objects.exists()


# --- requests ------------------------------------------------------------------------------------------


def test_a_member_asks_on_the_page_of_the_job_and_a_lead_answers_there(client, member, lead):
    job = a_job("mine", owner=member)
    page = reverse("job", args=[job.pk])
    assert "Ask that it goes ahead" in text_of(client.get(page))
    fields = {"priority": "high", "days": "3", "reason": "results for Friday"}
    client.post(reverse("job-ask-priority", args=[job.pk]), fields)
    assert "Withdraw" in text_of(client.get(page))
    assert "results for Friday" in text_of(signed_in(lead).get(page))
    request = PriorityRequest.objects.get()
    signed_in(lead).post(reverse("priority-request", args=[request.pk]), {"do": "approve"})
    job.refresh_from_db()
    assert job.priority == Priority.HIGH
    assert "results for Friday" in text_of(client.get(page))


def asked(owner):
    job = a_job("mine", owner=owner)
    return priorityrequests.ask(
        job, owner, priority=Priority.HIGH, reason="for Friday", lasts=timedelta(days=1)
    )


def test_who_decides_is_told_on_every_page_and_declines_with_a_word(member, lead):
    request, browser = asked(member), signed_in(lead)
    assert "1 request waits for your answer." in text_of(browser.get("/"))
    page = reverse("requests")
    fields = {"do": "decline", "note": "next week", "next": page}
    response = browser.post(reverse("priority-request", args=[request.pk]), fields, follow=True)
    assert response.redirect_chain[-1][0] == page
    assert "next week" in text_of(response)
    assert "waits for your answer" not in text_of(response)


def test_a_member_finds_no_requests_of_others_and_answers_none(client, member, lead):
    request = asked(a_user("other"))
    assert "mine#1" not in text_of(client.get(reverse("requests")))
    client.post(reverse("priority-request", args=[request.pk]), {"do": "approve"})
    request.refresh_from_db()
    assert request.answer == "open"
    stranger = signed_in(a_user("stranger", role=None))
    assert stranger.post(reverse("priority-request", args=[request.pk])).status_code == 404


def test_nobody_asks_says_how_one_does(lead):
    assert "A member asks on the page of a waiting job" in text_of(
        signed_in(lead).get(reverse("requests"))
    )


def test_a_wrong_request_is_refused(client, member):
    job = a_job("mine", owner=member)
    address = reverse("job-ask-priority", args=[job.pk])
    assert client.post(address, {"priority": "urgent", "days": "3"}).status_code == 400
    assert client.post(address, {"priority": "high", "days": "300"}).status_code == 400
    response = client.post(address, {"priority": "high", "days": "3", "reason": ""}, follow=True)
    assert "The request says no reason." in text_of(response)


def test_a_lead_sets_a_priority_with_a_reason_that_its_owner_reads(client, member, lead):
    job = a_job("mine", owner=member)
    fields = {"priority": "low", "reason": "the review is over"}
    signed_in(lead).post(reverse("job-priority", args=[job.pk]), fields)
    assert "the review is over" in text_of(client.get(reverse("job", args=[job.pk])))


def test_a_lead_asks_for_more_weight_and_an_admin_gives_it(lead):
    page, browser = reverse("project", args=["default"]), signed_in(lead)
    assert "Ask for more weight" in text_of(browser.get(page))
    fields = {"weight": "3", "days": "7", "reason": "the deadline of the paper"}
    browser.post(reverse("project-ask-weight", args=["default"]), fields)
    assert "asks for weight 3:" in text_of(browser.get(page))
    admin = signed_in(an_admin())
    assert "weight 3, now 1" in text_of(admin.get(reverse("requests")))
    request = PriorityRequest.objects.get()
    admin.post(reverse("priority-request", args=[request.pk]), {"do": "approve"})
    assert Project.objects.get().weight == 3.0
    assert "approved" in text_of(browser.get(page))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"weight": "heavy"}, "Ask for more than 1"),
        ({"weight": "1"}, "Ask for more than 1"),
        ({"reason": ""}, "says no reason"),
    ],
)
def test_a_wrong_request_for_weight_says_what_to_do(lead, fields, said):
    wanted = {"weight": "3", "days": "7", "reason": "the deadline"} | fields
    address = reverse("project-ask-weight", args=["default"])
    assert said in text_of(signed_in(lead).post(address, wanted, follow=True))
    assert not PriorityRequest.objects.exists()


# --- the picture ---------------------------------------------------------------------------------------


def test_the_fair_share_is_a_picture_with_its_numbers_in_words(client, member):
    heartbeats.beat(heartbeats.DISPATCHER)
    a_device(drained=True)
    a_job("waits", owner=member)
    text = text_of(client.get(reverse("shares")))
    assert 'aria-label="entitled 100\N{NO-BREAK SPACE}%, used 0\N{NO-BREAK SPACE}%"' in text
    assert "0 run, 1 wait" in text
    assert "Inside Default" in text


def test_before_anybody_has_used_anything_it_says_so(client):
    assert "Nobody has used anything yet" in text_of(client.get(reverse("shares")))


def test_an_admin_is_offered_the_table_where_the_project_is(db):
    default_project()
    text = text_of(signed_in(an_admin()).get(reverse("project", args=["default"])))
    assert reverse("manage-quotas") in text
