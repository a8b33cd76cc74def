from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import heartbeats, lifecycle, queue, why
from jobs.core.states import Priority
from jobs.models import Job, Project, Quota
from jobs.projects import default_project, join
from jobs.queuestate import QueueState
from jobs.sight import sight_of
from tests.jobs.queueworlds import behind_one_another
from tests.rows import GIB, a_device, a_job, a_running_job, a_user, an_admin

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh_queue():
    heartbeats.beat(heartbeats.DISPATCHER)


def test_positions_follow_priority_and_then_the_time_of_submit():
    first, second = a_job("first"), a_job("second")
    urgent = a_job("urgent", priority=Priority.HIGH)
    assert [queue.position(job) for job in (urgent, first, second)] == [1, 2, 3]


def test_a_waiting_job_says_why_with_the_numbers_of_now():
    device = a_device(total=20 * GIB)
    a_running_job("holder", device=device, memory=14 * GIB)
    reason = queue.why_waiting(a_job("waiting", memory=14 * GIB), with_verdicts=True)
    assert reason is not None
    assert (reason.code, reason.numbers["need"]) == ("WAIT_MEMORY", 14 * GIB)
    assert [verdict.fits for verdict in reason.verdicts] == [False]


def test_a_job_that_could_start_says_that_it_will():
    a_device()
    reason = queue.why_waiting(a_job())
    assert reason is not None
    assert reason.sentence == "It starts with the next cycle."


def test_a_running_job_has_no_reason_to_wait():
    job, _attempt = a_running_job(device=a_device())
    assert queue.why_waiting(job) is None


def test_a_dispatcher_that_gives_no_sign_of_life_is_the_reason():
    a_device()
    heartbeats.Heartbeat.objects.all().delete()
    reason = queue.why_waiting(a_job())
    assert reason is not None
    assert reason.code == "SCHEDULER_STALLED"


def test_held_jobs_come_last_and_without_a_position():
    held = a_job("held", priority=Priority.HIGH)
    lifecycle.hold(held, a_user())
    queued = a_job("queued")
    assert [(row.job, row.position) for row in queue.rows(sight_of(an_admin())).rows] == [
        (queued, 1),
        (held, None),
    ]


def test_jobs_of_other_projects_are_anonymous_where_there_are_several():
    other = Project.objects.create(slug="vision", name="Vision")
    join(a_user("eve", role=None), other)
    a_job("secret", memory=23 * GIB, owner=a_user("owner"))
    (row,) = queue.rows(sight_of(a_user("eve", role=None))).rows
    assert (row.job, row.named, row.owner, row.why) == (None, "", "", None)
    assert (row.position, row.needs) == (1, 23 * GIB)


def test_the_words_of_a_shared_reason_are_made_when_they_are_read(monkeypatch):
    a_device()
    reason = queue.why_waiting(a_job())
    assert reason is not None
    monkeypatch.setitem(why._SENTENCES, why.STARTS_NOW, "Words of another language.")
    assert reason.sentence == "Words of another language."


def test_where_nothing_stands_in_a_jobs_way_but_its_turn_it_says_how_many_are_ahead(monkeypatch):
    behind_one_another("first", "second")
    third = a_job("third", memory=70 * GIB)
    monkeypatch.setattr(QueueState, "wait", lambda *_arguments: None)
    reason = queue.why_waiting(third)
    assert reason is not None
    assert (reason.code, reason.sentence) == ("WAIT_TURN", "2 jobs are ahead of it in the queue.")


def test_a_job_handed_in_a_moment_ago_starts_with_the_next_cycle_as_far_as_is_known():
    behind_one_another("first")
    queue.position(a_job("second", memory=70 * GIB))
    newest = a_job("newest", memory=70 * GIB)
    reason = queue.why_waiting(newest)
    assert reason is not None
    assert (queue.position(newest), reason.code) == (None, "STARTS_NOW")


def test_the_quota_that_a_job_would_use_may_be_kept_for_another():
    heartbeats.beat(heartbeats.DISPATCHER)
    Quota.objects.create(project=default_project(), limit_cards=2)
    a_running_job("holder", device=a_device(), memory=10 * GIB)
    a_device(1)
    big = a_job("big", memory=10 * GIB, resources={"min_memory": 10 * GIB, "gpus": 2, "nodes": 1})
    long_ago = timezone.now() - timedelta(hours=3)
    Job.objects.filter(pk=big.pk).update(submitted_at=long_ago, state_since=long_ago)
    reason = queue.why_waiting(a_job("small", memory=10 * GIB))
    assert reason is not None
    assert reason.sentence == "The quota that it would use is kept for big."
    assert reason.numbers["kept_for_id"] == big.pk
