"""How long a suspension takes is learned from those of the same kind of job, and used where it is decided and told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from gpus.models import Device
from jobs import actions, lifecycle, snapshots
from jobs.core.ending import Ending
from jobs.core.plan import PreemptionRule
from jobs.core.snapshot import SUSPEND_SECONDS
from jobs.core.states import Outcome, Reason
from jobs.history import LOOK_AGAIN, REMEMBERED, History
from jobs.models import Attempt, Job
from jobs.suspension import cost_of_pause
from tests.rows import a_device, a_job, a_running_job, a_user

pytestmark = pytest.mark.django_db

PAUSED = Ending(outcome=Outcome.SUSPENDED, reason=Reason.USER)
MADE_ROOM = Ending(outcome=Outcome.PREEMPTED, reason=Reason.PREEMPTED)
CONFIG = {"model_name_or_path": "m", "do_train": True, "dataset": "d"}


@pytest.fixture
def card(settings, tmp_path) -> Device:
    settings.COOP_HOME = tmp_path
    return a_device(total=2**45)


def running(card: Device, kind: str = "k") -> tuple[Job, Attempt]:
    """A training that saves when it is told to, of a kind."""
    name = f"job-{Job.objects.count()}"
    job, attempt = a_running_job(name, device=card, command=None, llamafactory=CONFIG)
    Job.objects.filter(pk=job.pk).update(template=kind)
    Attempt.objects.filter(pk=attempt.pk).update(saves_itself=True)
    return Job.objects.get(pk=job.pk), Attempt.objects.select_related("job").get(pk=attempt.pk)


def took(seconds: float, card: Device, kind: str = "k", *, preempted: bool = False) -> None:
    """One suspension of the kind that took so long from the order to the free memory."""
    job, attempt = running(card, kind)
    if preempted:
        lifecycle.preempt(job, attempt, beneficiary="x", rule=PreemptionRule.PRIORITY, lost=0.0)
    else:
        actions.pause(job, a_user())
    told = job.events.get(new_state="SUSPENDING").at
    attempt.refresh_from_db()
    lifecycle.finish(attempt, MADE_ROOM if preempted else PAUSED)
    job.events.filter(kind__in=("suspend", "requeue")).update(at=told + timedelta(seconds=seconds))


def known(kind: str = "k") -> float | None:
    history = History()
    history.refresh(timezone.now(), {kind})
    return history.of(kind).suspend


def test_nothing_is_known_of_a_kind_that_was_never_suspended(card):
    took(7, card, "another")
    assert known() is None


def test_pauses_and_preemptions_of_the_kind_teach_alike(card):
    took(5, card)
    took(40, card, preempted=True)
    took(9, card)
    took(500, card, "another")
    assert known() == 9


def test_what_lies_long_ago_teaches_nothing(card):
    took(5, card)
    history = History()
    history.refresh(timezone.now() + REMEMBERED + timedelta(days=1), {"k"})
    assert history.of("k").suspend is None


def test_the_scheduler_counts_with_it(card):
    took(12, card)
    queued = a_job("waits")
    Job.objects.filter(pk=queued.pk).update(template="k")
    stranger, _ = running(card, "never seen")
    runs = snapshots.take().snapshot
    assert [view.suspend_seconds for view in runs.queued] == [12]
    assert {run.job.id: run.job.suspend_seconds for run in runs.running} == {
        stranger.pk: SUSPEND_SECONDS
    }


def test_a_new_suspension_is_learned_some_minutes_later_and_a_small_change_is_none(card):
    took(10, card)
    history, now = History(), timezone.now()
    history.refresh(now, {"k"})
    took(10.5, card)
    assert history.refresh(now + LOOK_AGAIN, {"k"}) == frozenset()
    took(90, card)
    took(90, card)
    assert history.refresh(now + 2 * LOOK_AGAIN, {"k"}) == {"k"}
    assert history.of("k").suspend == pytest.approx(50.25)


def test_what_is_announced_is_what_its_kind_took_else_what_others_took(card):
    job, _ = running(card)
    assert cost_of_pause(job).typical_seconds is None
    took(30, card, "another")
    assert cost_of_pause(job).typical_seconds == 30
    took(4, card)
    assert cost_of_pause(job).typical_seconds == 4
    assert "usually takes 4s" in cost_of_pause(job).sentence


def test_a_second_pause_of_the_same_job_counts_from_its_own_order(card):
    job, attempt = running(card)
    actions.pause(job, a_user())
    attempt.refresh_from_db()
    lifecycle.finish(attempt, PAUSED)
    actions.resume(Job.objects.get(pk=job.pk), a_user())
    fresh = Job.objects.get(pk=job.pk)
    again = lifecycle.start(fresh, card.node, [(card, fresh.min_memory)])
    lifecycle.mark_running(again, started_at=timezone.now(), containment="tag")
    job.events.filter(attempt=attempt).update(at=timezone.now() - timedelta(days=1))
    actions.pause(Job.objects.get(pk=job.pk), a_user())
    again = Attempt.objects.select_related("job").get(pk=again.pk)
    lifecycle.finish(again, PAUSED)
    assert known() < 5, "neither of them took a day"
