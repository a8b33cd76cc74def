"""Invitations: made by a lead, good once and for a time, for somebody who has an account and for somebody new."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import audit, invitations
from jobs.models import Invitation, Membership, User
from jobs.projects import default_project, join
from jobs.refusals import Refused
from tests.rows import a_user, an_admin

pytestmark = pytest.mark.django_db
WEEK = timedelta(days=7)


def invited(role="member", by=None):
    """A new invitation of the lead; its row, and what stands at the end of its link."""
    by = by or a_user("lead", role="lead")
    row, path = invitations.invite(default_project(), by, role=role, lifetime=WEEK)
    return row, path.rpartition("/")[2]


def role_of(user):
    return Membership.objects.filter(user=user).values_list("role", flat=True).first()


def test_somebody_with_an_account_joins_once_and_the_log_says_by_whom():
    row, token = invited("lead")
    ana, other = a_user("ana", role=None), a_user("other", role=None)
    assert invitations.accept(token, ana).role == "lead"
    assert invitations.accept(token, other) is None
    assert (role_of(ana), role_of(other)) == ("lead", None)
    row.refresh_from_db()
    assert row.used_by == ana
    joined = next(audit.entries(audit.Wanted(person="ana")))
    assert (joined.verb, joined.values["invited_by"]) == ("joined", "lead")


def test_somebody_new_gets_an_account_without_any_other_right():
    _row, token = invited()
    user = invitations.accept_as_new(token, "ana", "a long password of hers")
    assert user.check_password("a long password of hers")
    assert (user.is_staff, user.is_superuser, role_of(user)) == (False, False, "member")


def test_a_used_link_makes_no_account():
    _row, token = invited()
    invitations.accept(token, a_user("first", role=None))
    assert invitations.accept_as_new(token, "second", "a long password") is None
    assert not User.objects.filter(username="second").exists()


def test_who_has_a_higher_role_keeps_it():
    _row, token = invited("viewer")
    member = a_user("member")
    assert invitations.accept(token, member).role == "member"
    assert role_of(member) == "member"


def test_a_link_that_has_ended_or_was_revoked_lets_nobody_in():
    ended, first = invited()
    Invitation.objects.filter(pk=ended.pk).update(expires_at=timezone.now())
    revoked, second = invited()
    invitations.revoke(revoked, a_user("lead", role="lead"))
    assert [invitations.found(each) for each in (first, second, "guessed")] == [None] * 3
    assert list(invitations.open_ones(default_project())) == []


def test_the_link_of_somebody_who_leads_no_more_lets_nobody_in():
    lead = a_user("lead", role="lead")
    _row, token = invited(by=lead)
    join(lead, default_project(), "member")
    assert invitations.found(token) is None


@pytest.mark.parametrize("role", ["viewer", "member", None])
def test_only_a_lead_invites(role):
    with pytest.raises(Refused) as caught:
        invited(by=a_user("somebody", role=role))
    assert caught.value.status == 403


@pytest.mark.parametrize("days", [0, -1, 31])
def test_an_invitation_lives_a_while_and_no_longer(days):
    with pytest.raises(Refused, match="cannot live"):
        invitations.invite(
            default_project(), an_admin(), role="member", lifetime=timedelta(days=days)
        )


def test_the_text_of_a_link_is_not_stored():
    row, token = invited()
    assert token not in "".join(str(value) for value in vars(row).values())


def test_old_ones_are_forgotten():
    row, _token = invited()
    assert invitations.forget_old() == 0
    Invitation.objects.filter(pk=row.pk).update(expires_at=timezone.now() - invitations.KEPT - WEEK)
    assert invitations.forget_old() == 1
