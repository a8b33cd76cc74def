"""Quotas and shares: who may change which, what is refused, what is noted, and what a change would do to the queue."""

from __future__ import annotations

import pytest

from jobs import audit, heartbeats, quotas
from jobs.core.scheduling.compare import Change
from jobs.models import Project, Quota
from jobs.projects import default_project
from jobs.quotaeffect import effect_of
from jobs.quotas import QuotaChange
from jobs.refusals import Refused
from jobs.sight import sight_of
from tests.jobs.queueworlds import HOUR, a_project, a_stranger
from tests.rows import GIB, a_device, a_job, a_running_job, a_user, an_admin

pytestmark = pytest.mark.django_db


def refusal(*changes, by):
    with pytest.raises(Refused) as caught:
        quotas.change(changes, by)
    return caught.value


def newest():
    return next(audit.entries(audit.Wanted()))


# --- changing -----------------------------------------------------------------------------------------


def test_an_admin_changes_weight_and_quota_of_a_project_and_both_are_noted():
    project = default_project()
    wanted = QuotaChange(
        project=project, weight=2.5, fields={"limit_cards": 4, "guarantee_memory": 80 * GIB}
    )
    quotas.change([wanted], an_admin())
    project.refresh_from_db()
    assert project.weight == 2.5
    quota = quotas.quota_of(project)
    assert (quota.limit_cards, quota.guarantee_memory) == (4, 80 * GIB)
    entry = newest()
    assert (entry.person, entry.kind, entry.verb) == ("admin", "projects", "quota changed")
    assert entry.values["before"] == {"limit_cards": None, "guarantee_memory": None}


def test_what_is_not_named_stays():
    project, admin = default_project(), an_admin()
    quotas.change([QuotaChange(project=project, fields={"limit_cards": 4})], admin)
    quotas.change([QuotaChange(project=project, fields={"limit_running": 3})], admin)
    quotas.change([QuotaChange(project=project, fields={"limit_running": None})], admin)
    quota = quotas.quota_of(project)
    assert (quota.limit_cards, quota.limit_running) == (4, None)


def test_a_lead_limits_members_and_nothing_else():
    lead, member, project = a_user("lead", role="lead"), a_user(), default_project()
    quotas.change([QuotaChange(project=project, person=member, fields={"limit_cards": 1})], lead)
    assert quotas.quota_of(project, member).limit_cards == 1
    assert newest().values["person"] == "member"
    own = QuotaChange(project=project, fields={"limit_cards": 9})
    assert refusal(own, by=lead).status == 403
    assert refusal(QuotaChange(project=project, weight=9.0), by=lead).status == 403
    elsewhere = QuotaChange(project=a_project(), person=member, fields={"limit_cards": 1})
    assert refusal(elsewhere, by=lead).status == 403
    assert refusal(QuotaChange(project=project, person=member), by=member).status == 403


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"weight": 0.0}, "weight_out_of_range"),
        ({"weight": 1e9}, "weight_out_of_range"),
        ({"weight": float("nan")}, "weight_out_of_range"),
        ({"fields": {"limit_cards": -1}}, "quota_below_zero"),
        ({"fields": {"guarantee_cards": 3, "limit_cards": 2}}, "guarantee_above_limit"),
        ({"fields": {"guarantee_memory": 100 * GIB}}, "guarantee_above_limit"),
    ],
)
def test_what_is_out_of_range_is_refused_and_nothing_is_stored(change, code):
    project = default_project()
    Quota.objects.create(project=project, limit_memory=80 * GIB)
    good = QuotaChange(project=a_project(), weight=3.0)
    assert refusal(good, QuotaChange(project=project, **change), by=an_admin()).code == code
    assert set(Project.objects.values_list("weight", flat=True)) == {1.0}
    assert list(audit.entries(audit.Wanted())) == []


# --- what it would do -----------------------------------------------------------------------------------


@pytest.fixture
def busy():
    """Two cards; the default project holds one and may hold no more, so that its next job waits for its quota."""
    heartbeats.beat(heartbeats.DISPATCHER)
    a_running_job("runs", device=a_device(0), memory=70 * GIB, est_time=HOUR)
    a_device(1)
    Quota.objects.create(project=default_project(), limit_cards=1)
    return a_job("waits", memory=70 * GIB, est_time=HOUR)


def test_who_would_start_now_is_told_before_anything_is_saved(busy):
    wanted = QuotaChange(project=default_project(), fields={"limit_cards": 2})
    effect = effect_of([wanted], sight_of(an_admin()))
    assert [(each.row.job, each.moved.change) for each in effect.rows] == [(busy, Change.STARTS)]
    assert (effect.starts, effect.later, effect.waiting) == (1, 0, 1)
    assert quotas.quota_of(default_project()).limit_cards == 1


def test_what_changes_nothing_says_so(busy):
    wanted = QuotaChange(project=default_project(), fields={"limit_memory": 900 * GIB})
    assert effect_of([wanted], sight_of(an_admin())).rows == ()


def test_a_persons_limit_has_its_effect_too(busy):
    Quota.objects.update(user=busy.owner)
    raised = QuotaChange(project=default_project(), person=busy.owner, fields={"limit_cards": 2})
    effect = effect_of([raised], sight_of(an_admin()))
    assert [each.moved.change for each in effect.rows] == [Change.STARTS]


def test_a_stranger_among_those_who_would_start_has_no_name(busy):
    theirs = a_job(
        "secret", owner=a_stranger(), project=a_project(), memory=75 * GIB, est_time=HOUR
    )
    Quota.objects.create(project=a_project(), limit_cards=0)
    wanted = QuotaChange(project=a_project(), fields={"limit_cards": 1})
    effect = effect_of([wanted], sight_of(a_user("lead", role="lead")))
    (row,) = effect.rows
    assert (row.moved.job, row.row.job, row.row.named) == (theirs.pk, None, "")
    assert row.row.needs == 75 * GIB
