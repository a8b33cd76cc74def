"""The fair share as a picture: the numbers are those that the order counts, and strangers have no name."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import heartbeats
from jobs.models import Project
from jobs.projects import default_project
from jobs.shares import shares_for
from tests.jobs.queueworlds import a_project, a_stranger
from tests.rows import GIB, a_device, a_job, a_past_run, a_user, an_admin

pytestmark = pytest.mark.django_db


@pytest.fixture
def past():
    """An hour ago the default project used two hours of a card, and another, of three times its weight, one hour."""
    heartbeats.beat(heartbeats.DISPATCHER)
    default_project()
    Project.objects.filter(pk=a_project().pk).update(weight=3)
    device, now = a_device(), timezone.now()
    begun = now - timedelta(hours=4)
    for name, owner, project, hours in (
        ("ours", a_user("ana"), default_project(), 2),
        ("theirs", a_stranger(), a_project(), 1),
    ):
        end = begun + timedelta(hours=hours)
        a_past_run(
            name,
            device=device,
            begun=begun,
            ended=end,
            owner=owner,
            project=project,
            memory=80 * GIB,
        )
        begun = end
    return device


def test_shares_follow_the_weights_and_use_the_hours(past):
    bars = {bar.name: bar for bar in shares_for(an_admin()).bars}
    assert (bars["default"].entitled, bars["vision"].entitled) == (0.25, 0.75)
    assert bars["default"].used == pytest.approx(2 / 3, abs=0.02)
    assert (bars["default"].is_behind, bars["vision"].is_behind) == (False, True)


def test_projects_that_have_nothing_to_do_with_it_take_no_part(past):
    a_project("idle")
    assert {bar.name for bar in shares_for(an_admin()).bars} == {"default", "vision"}


def test_a_job_that_waits_is_enough_to_take_part(past):
    a_job("waits", owner=a_user("new"), project=a_project("fresh"), memory=79 * GIB)
    past.drained = True
    past.save()
    bar = next(bar for bar in shares_for(an_admin()).bars if bar.name == "fresh")
    assert (bar.waiting, bar.running, bar.used) == (1, 0, 0)


def test_people_of_a_project_share_evenly(past):
    a_job("waits", owner=a_user("wang"), memory=79 * GIB)
    (inside,) = shares_for(a_user("ana")).inside
    assert {bar.name: (bar.entitled, bar.used) for bar in inside.bars} == {
        "ana": (0.5, 1.0),
        "wang": (0.5, 0.0),
    }


def test_what_one_does_not_belong_to_is_summed_up_without_a_name(past):
    found = shares_for(a_user("ana"))
    assert [bar.name for bar in found.bars] == ["default", ""]
    assert [each.project.slug for each in found.inside] == ["default"]
    assert sum(bar.entitled for bar in found.bars) == pytest.approx(1)


def test_an_idle_site_has_no_bars():
    default_project()
    assert shares_for(an_admin()).bars == ()
