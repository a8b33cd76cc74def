"""Requests that a job goes ahead: who asks, who decides, and what happens when the day has come."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import actions, audit, permissions, priorityrequests, quotas
from jobs.core.states import Priority
from jobs.models import PriorityRequest, Project
from jobs.projects import default_project
from jobs.refusals import Refused
from tests.rows import a_job, a_user, an_admin

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def lead():
    return a_user("lead", role="lead")


@pytest.fixture
def job():
    return a_job("mine", owner=a_user("member"))


def asked(job, reason="results for the review on Friday", **changes):
    wanted = {"priority": Priority.HIGH, "reason": reason, "lasts": DAY} | changes
    return priorityrequests.ask(job, job.owner, **wanted)


def refusal(deed, *given, **more):
    with pytest.raises(Refused) as caught:
        deed(*given, **more)
    return caught.value


def test_an_approved_request_raises_the_priority_and_its_owner_reads_why(job, lead):
    priorityrequests.approve(asked(job), lead, "go on")
    job.refresh_from_db()
    assert job.priority == Priority.HIGH
    event = job.events.last()
    assert (event.actor, event.detail) == (lead, "results for the review on Friday")
    assert priorityrequests.standing_of(job).answer == "approved"


def test_when_its_day_has_come_the_priority_falls_back(job, lead):
    request = asked(job)
    priorityrequests.approve(request, lead)
    assert priorityrequests.end_due(timezone.now()) == 0
    assert priorityrequests.end_due(request.ends_at) == 1
    assert priorityrequests.end_due(request.ends_at) == 0
    job.refresh_from_db()
    assert job.priority == Priority.MEDIUM
    assert job.events.last().actor is None
    assert priorityrequests.standing_of(job) is None


def test_a_priority_that_somebody_has_set_since_stays(job, lead):
    request = asked(job)
    priorityrequests.approve(request, lead)
    actions.set_priority(job, lead, Priority.LOW)
    priorityrequests.end_due(request.ends_at)
    job.refresh_from_db()
    assert job.priority == Priority.LOW


def test_a_declined_request_changes_nothing_and_another_may_be_made(job, lead):
    priorityrequests.decline(asked(job), lead, "not this week")
    job.refresh_from_db()
    assert job.priority == Priority.MEDIUM
    assert asked(job).answer == "open"
    (answered,) = priorityrequests.answered_for(job.owner)
    assert (answered.answer, answered.note, answered.answered_by) == (
        "declined",
        "not this week",
        lead,
    )


def test_the_request_of_a_job_that_has_ended_ends(job):
    asked(job)
    actions.cancel(job, job.owner)
    assert priorityrequests.end_due(timezone.now()) == 1
    assert PriorityRequest.objects.get().answer == "ended"


def test_a_job_has_one_request_at_a_time_and_its_owner_takes_it_back(job):
    request = asked(job)
    assert refusal(asked, job).code == "request_stands"
    assert refusal(priorityrequests.withdraw, request, a_user("other")).status == 403
    priorityrequests.withdraw(request, job.owner)
    assert asked(job).pk != request.pk


def test_two_who_answer_at_once_do_not_both_decide(job, lead):
    request = asked(job)
    stale = PriorityRequest.objects.get(pk=request.pk)
    priorityrequests.decline(request, lead)
    assert refusal(priorityrequests.approve, stale, an_admin()).code == "request_answered"
    job.refresh_from_db()
    assert job.priority == Priority.MEDIUM


@pytest.mark.parametrize("name", ["member", "other"])
def test_who_does_not_lead_decides_nothing(job, name):
    request = asked(job)
    for deed in (priorityrequests.approve, priorityrequests.decline):
        assert refusal(deed, request, a_user(name)).status == 403


def test_who_may_raise_it_anyway_or_may_not_touch_it_has_nothing_to_ask(job, lead):
    assert not priorityrequests.may_ask(lead, job)
    assert not priorityrequests.may_ask(an_admin(), job)
    assert not priorityrequests.may_ask(a_user("other"), job)
    assert not priorityrequests.may_ask(a_user("stranger", role=None), job)
    assert priorityrequests.may_ask(job.owner, job)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"reason": "  "}, "reason_missing"),
        ({"priority": Priority.MEDIUM}, "request_invalid"),
        ({"priority": Priority.LOW}, "request_invalid"),
        ({"lasts": timedelta(0)}, "request_invalid"),
        ({"lasts": timedelta(days=31)}, "request_invalid"),
    ],
)
def test_a_wrong_request_says_what_to_do(job, changes, code):
    found = refusal(asked, job, **changes)
    assert found.code == code
    assert found.hint


def test_leads_find_what_waits_for_them_and_nobody_else_does(job, lead):
    request = asked(job)
    for person, found in ((lead, [request]), (an_admin(), [request]), (job.owner, [])):
        led = permissions.projects_reported_to(person)
        assert list(priorityrequests.to_answer(person, led)) == found


def test_all_of_it_is_in_the_log(job, lead):
    priorityrequests.approve(asked(job), lead)
    verbs = [each.verb for each in audit.entries(audit.Wanted(kind="projects"))]
    assert verbs == ["request approved", "asked"]


# --- for a project -------------------------------------------------------------------------------------


def asked_for_project(lead, weight=3.0, **changes):
    wanted = {"reason": "the deadline of the paper", "lasts": DAY} | changes
    return priorityrequests.ask_for_project(default_project(), lead, weight=weight, **wanted)


def weight():
    return Project.objects.get(slug="default").weight


def test_an_admin_gives_a_project_more_weight_until_its_day(lead):
    request = asked_for_project(lead)
    priorityrequests.approve(request, an_admin())
    assert weight() == 3.0
    assert priorityrequests.end_due(timezone.now()) == 0
    assert priorityrequests.end_due(request.ends_at) == 1
    assert weight() == 1.0
    verbs = [each.verb for each in audit.entries(audit.Wanted(kind="projects"))]
    assert verbs == ["weight fell back", "request approved", "weight changed", "asked"]


def test_a_weight_that_an_admin_has_set_since_stays(lead):
    request = asked_for_project(lead)
    priorityrequests.approve(request, an_admin())
    change = quotas.QuotaChange(project=default_project(), weight=2.0)
    quotas.change([change], an_admin())
    priorityrequests.end_due(request.ends_at)
    assert weight() == 2.0


def test_a_lead_does_not_decide_over_the_own_projects_weight(lead):
    request = asked_for_project(lead)
    assert refusal(priorityrequests.approve, request, lead).status == 403
    assert weight() == 1.0
    led = permissions.projects_reported_to(lead)
    assert list(priorityrequests.to_answer(lead, led)) == []
    admin = an_admin()
    led = permissions.projects_reported_to(admin)
    assert list(priorityrequests.to_answer(admin, led)) == [request]


def test_who_does_not_lead_the_project_or_sets_its_weight_anyway_does_not_ask():
    for person in (a_user("member"), a_user("stranger", role=None), an_admin()):
        assert refusal(asked_for_project, person).status == 403


@pytest.mark.parametrize("wanted", [1.0, 0.5, -1.0, 1001.0, float("nan")])
def test_a_weight_that_is_no_more_or_too_much_is_refused(lead, wanted):
    assert refusal(asked_for_project, lead, weight=wanted).code == "request_invalid"


def test_a_project_has_one_request_at_a_time(lead):
    asked_for_project(lead)
    assert refusal(asked_for_project, lead).code == "request_stands"
