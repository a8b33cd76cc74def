"""Who gave way reads for whom, why and what it costs, on the page and from the API; never what is not theirs to see."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs import lifecycle, preemptions, queue
from jobs.api.schemas import EventsOut
from jobs.core.ending import Ending
from jobs.core.plan import PreemptionRule
from jobs.core.states import Outcome, Reason
from jobs.models import Attempt, Job, Project
from jobs.preemptions import Preemption
from jobs.projects import join
from tests.jobs.apicalls import by_token, fits
from tests.rows import a_device, a_job, a_running_job, a_user, an_admin

pytestmark = pytest.mark.django_db

GAVE_WAY = Ending(outcome=Outcome.PREEMPTED, reason=Reason.PREEMPTED, signal=15)
SECRET = "secret-training"


@pytest.fixture(autouse=True)
def plain_pages(settings):
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    queue.forget()


@pytest.fixture
def member():
    return a_user("member")


@pytest.fixture
def victim(member) -> Job:
    return a_running_job("victim", device=a_device(), owner=member)[0]


@pytest.fixture
def foreign(victim) -> Job:
    """A job of a project that the member knows nothing of."""
    project = Project.objects.create(slug="hidden-team", name="Hidden team")
    owner = a_user("stranger", role=None)
    join(owner, project, "member")
    return a_job(SECRET, owner=owner, project=project)


def make_room(job: Job, other: Job, rule: PreemptionRule = PreemptionRule.PRIORITY) -> Attempt:
    """The job is told after it has run for twelve minutes."""
    attempt = job.attempts.get()
    begun = timezone.now() - timedelta(minutes=12)
    Attempt.objects.filter(pk=attempt.pk).update(started_at=begun)
    told = {"beneficiary": other.pk, "rule": rule, "lost": 765.0}
    assert lifecycle.preempt(Job.objects.get(pk=job.pk), attempt, **told)
    return Attempt.objects.select_related("job").get(pk=attempt.pk)


def page(user, job: Job) -> str:
    browser = Client()
    browser.force_login(user)
    return browser.get(reverse("job", args=[job.pk])).content.decode()


def events(user, job: Job) -> list[dict]:
    answer = by_token(user).get(f"/api/v1/jobs/{job.pk}/events")
    return fits(EventsOut, answer)["items"]


def test_a_job_that_makes_room_says_for_whom_and_about_what_it_costs(member, victim):
    make_room(victim, a_job("urgent"))
    text = page(member, victim)
    expected = "Preempted for urgent#1 (higher priority); about 12m45s of work will be repeated."
    assert expected in text
    assert "Its processes were asked to end" in text
    (event,) = [event for event in events(member, victim) if event["preemption"]]
    assert (event["kind"], event["detail"]) == ("preempt", expected)


def test_a_job_that_made_room_says_what_it_cost(member, victim):
    other = a_job("urgent")
    lifecycle.finish(make_room(victim, other), GAVE_WAY)
    text = page(member, victim)
    assert "Preempted for urgent#1 (higher priority); 12m" in text
    assert "It waits at its old place in the queue" in text
    event = events(member, victim)[-1]
    assert (event["kind"], event["new_state"], event["actor"]) == ("requeue", "QUEUED", None)
    lost = victim.attempts.get().lost_seconds
    assert event["preemption"] == {
        "beneficiary": other.pk,
        "rule": "priority",
        "lost_gpu_seconds": lost,
        "expected": False,
    }


def test_the_words_stay_in_the_time_line_when_it_runs_again(member, victim):
    lifecycle.finish(make_room(victim, a_job("urgent")), GAVE_WAY)
    again = Job.objects.get(pk=victim.pk)
    device = a_device(1)
    lifecycle.start(again, device.node, [(device, again.min_memory)])
    text = page(member, victim)
    assert "Preempted for urgent#1" in text
    assert "It waits at its old place" not in text


def test_a_job_of_another_project_has_no_name(member, victim, foreign):
    lifecycle.finish(make_room(victim, foreign, PreemptionRule.RECLAIM), GAVE_WAY)
    text, told = page(member, victim), events(member, victim)
    assert "Preempted for another project&#x27;s job (its project is below its guarantee)" in text
    assert SECRET not in text
    assert foreign.pk not in text
    assert SECRET not in str(told)
    assert foreign.pk not in str(told)
    assert told[-1]["preemption"]["beneficiary"] is None


def test_an_admin_sees_the_name(victim, foreign):
    lifecycle.finish(make_room(victim, foreign), GAVE_WAY)
    assert f"Preempted for {SECRET}#1" in page(an_admin(), victim)


def test_a_token_for_one_project_does_not_tell_of_another(victim, foreign):
    admin = an_admin()
    make_room(victim, foreign)
    answer = by_token(admin, "read", project=victim.project).get(f"/api/v1/jobs/{victim.pk}/events")
    assert SECRET not in answer.content.decode()


def test_a_job_that_has_been_removed_is_not_called_another_projects(member, victim):
    other = a_job("urgent")
    make_room(victim, other)
    other.delete()
    assert "a job that has been removed since" in page(member, victim)


def test_jobs_without_preemptions_cost_no_query(victim, django_assert_num_queries):
    rows = list(victim.events.all())
    with django_assert_num_queries(0):
        assert preemptions.told(rows, Job.objects.all()) == {}


@pytest.mark.parametrize(
    ("lost", "cards", "rule", "sentence"),
    [
        (0.4, 1, "reclaim", "(its project is below its guarantee); no work will be repeated."),
        (59, 1, "service", "(it has had less service so far); 59s of work will be repeated."),
        (7200, 4, "priority", "(higher priority); 30m of work on 4 cards will be repeated."),
        (7200, 1, "of-a-later-release", "(of-a-later-release); 2h of work will be repeated."),
    ],
)
def test_each_rule_and_cost_has_its_words(lost, cards, rule, sentence):
    told = Preemption(beneficiary=None, name="x", rule=rule, lost=lost, cards=cards, expected=False)
    assert told.sentence == f"Preempted for x {sentence}"
