from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobs.core.states import JobState
from jobs.journal import PATIENCE, Journal
from jobs.models import JobEvent
from tests.rows import a_job

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_an_event_that_shows_after_a_later_one_is_not_missed() -> None:
    job, other = a_job("job"), a_job("other")
    journal = Journal(NOW)
    last = JobEvent.objects.latest("pk").pk
    fields = {"at": NOW, "kind": "hold", "new_state": JobState.HELD}
    JobEvent.objects.create(pk=last + 2, job=job, **fields)
    assert journal.changed(NOW) == {job.pk}
    JobEvent.objects.create(pk=last + 1, job=other, **fields)
    assert journal.changed(NOW) == {other.pk}
    assert journal.changed(NOW) == set()


def test_an_event_that_is_missing_at_the_beginning_is_waited_for() -> None:
    job = a_job()
    last = JobEvent.objects.latest("pk").pk
    fields = {"at": NOW, "kind": "hold", "new_state": JobState.HELD}
    JobEvent.objects.create(pk=last + 2, job=job, **fields)
    journal = Journal(NOW)
    JobEvent.objects.create(pk=last + 1, job=job, **fields)
    assert journal.changed(NOW + PATIENCE / 2) == {job.pk}


def test_what_was_undone_is_given_up() -> None:
    job = a_job()
    journal = Journal(NOW)
    last = JobEvent.objects.latest("pk").pk
    fields = {"at": NOW, "kind": "hold", "new_state": JobState.HELD}
    JobEvent.objects.create(pk=last + 3, job=job, **fields)
    journal.changed(NOW)
    journal.changed(NOW + 2 * PATIENCE)
    JobEvent.objects.create(pk=last + 1, job=job, **fields)
    assert journal.changed(NOW + 2 * PATIENCE) == set()
