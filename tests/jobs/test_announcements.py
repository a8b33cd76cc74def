"""Announcements: shown from now on, until their end or until somebody takes them down."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import announcements, audit
from jobs.models import Announcement
from jobs.refusals import Refused
from tests.rows import an_admin

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def announce(text="All cards go down on Friday.", *, level="info", lasts=HOUR):
    ends_at = timezone.now() + lasts if lasts else None
    return announcements.announce(text, an_admin(), level=level, ends_at=ends_at)


def standing():
    return [each.text for each in announcements.standing()]


def test_it_stands_until_its_end():
    made = announce("  All   cards\ngo down.  ")
    assert standing() == ["All cards go down."]
    Announcement.objects.filter(pk=made.pk).update(ends_at=timezone.now())
    assert standing() == []


def test_it_stands_until_it_is_taken_down_and_the_log_has_both():
    made = announce(lasts=None)
    announcements.take_down(made, an_admin())
    assert standing() == []
    entries = audit.entries(audit.Wanted(kind="announcements"))
    assert [each.verb for each in entries] == ["taken down", "announced"]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"text": "   "}, "one sentence"),
        ({"text": "x" * 301}, "at most 300"),
        ({"lasts": -HOUR}, "later one"),
    ],
)
def test_what_cannot_be_announced_says_what_to_do(wrong, hint):
    with pytest.raises(Refused) as caught:
        announce(**wrong)
    assert hint in caught.value.hint
    assert standing() == []


def test_there_are_never_so_many_that_nobody_reads_them():
    for number in range(announcements.MOST_STANDING):
        announce(f"Number {number}.")
    with pytest.raises(Refused, match="stand already"):
        announce("One more.")
