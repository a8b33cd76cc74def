"""The log of changes: all doors write it, and it is read by person, kind and day."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone

from jobs import actions, audit, cardsettings, projects, sitesettings, tokens
from jobs.audit import Wanted
from jobs.models import ApiToken, Membership
from jobs.projects import default_project
from tests.rows import a_device, a_job, a_user, an_admin

pytestmark = pytest.mark.django_db


def told(**wanted):
    return [(each.person, each.kind, each.verb) for each in audit.entries(Wanted(**wanted))]


@pytest.fixture
def history():
    """One change of each of five kinds, by two people."""
    admin, lead = an_admin(), a_user("lead", role="lead")
    sitesettings.change({"max_workers": 5}, admin)
    cardsettings.drain([a_device()], "new fan", admin)
    projects.change_members(default_project(), {a_user("ana", role=None): "viewer"}, lead)
    tokens.create_token(lead, name="CI", scopes=["read"])
    tokens.revoke(ApiToken.objects.get(), admin)
    actions.cancel(a_job("theirs", owner=lead), lead)


def test_the_newest_is_first_and_jobs_are_among_the_rest(history):
    assert told() == [
        ("lead", "jobs", "cancel"),
        ("lead", "jobs", "submit"),
        ("admin", "tokens", "revoked"),
        ("lead", "projects", "members changed"),
        ("admin", "cards", "drained"),
        ("admin", "settings", "set"),
    ]


def test_it_is_filtered_by_person_kind_and_day(history):
    assert {person for person, _kind, _verb in told(person="LEA")} == {"lead"}
    assert told(kind="cards") == [("admin", "cards", "drained")]
    assert told(kind="jobs", person="admin") == []
    tomorrow = timezone.now() + timedelta(days=1)
    assert told(since=tomorrow) == []
    assert len(told(until=tomorrow)) == 6
    assert told(until=timezone.now() - timedelta(days=1)) == []


def test_a_change_carries_what_held_before(history):
    (entry,) = audit.entries(Wanted(kind="settings"))
    assert (entry.values, entry.told) == ({"value": 5, "before": None}, "value: 5; before: null")
    (entry,) = audit.entries(Wanted(kind="projects"))
    assert entry.values == {"members": {"ana": "viewer"}, "before": {}}


def test_what_the_scheduler_does_by_itself_is_left_out():
    job = a_job()
    job.events.update(actor=None)
    assert told() == []


def test_what_the_django_admin_wrote_is_told_in_its_own_words():
    project = default_project()
    LogEntry.objects.create(
        user=an_admin(),
        content_type=ContentType.objects.get_for_model(project),
        object_id=str(project.pk),
        object_repr="default",
        action_flag=CHANGE,
        change_message='[{"changed": {"fields": ["Name"]}}]',
    )
    (entry,) = audit.entries(Wanted())
    assert (entry.kind, entry.verb) == ("projects", "changed")
    assert "Name" in entry.told


def test_a_page_of_it_says_whether_there_is_more(history):
    entries, has_more = audit.page(Wanted(), 2)
    assert ([each.verb for each in entries], has_more) == (["cancel", "submit"], True)
    assert audit.page(Wanted(), 6)[1] is False


def test_a_back_to_the_default_is_noted_with_what_holds_then():
    sitesettings.change({"max_jobs_per_card": 3}, an_admin())
    sitesettings.reset("max_jobs_per_card", an_admin())
    entry = next(audit.entries(Wanted()))
    assert (entry.verb, entry.values) == ("back to the default", {"value": 8, "before": 3})
    assert sitesettings.current().max_jobs_per_card == 8


def test_a_lead_is_not_taken_out_by_a_member():
    lead, member = a_user("lead", role="lead"), a_user("member")
    with pytest.raises(projects.Refused):
        projects.change_members(default_project(), {lead: None}, member)
    assert Membership.objects.filter(user=lead).exists()
