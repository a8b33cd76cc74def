"""Making room: what the rows say when a job is told to give way, when it has, and when it had ended meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from gpus.models import Device
from jobs import actions, lifecycle, preempting
from jobs.core.ending import Ending
from jobs.core.plan import Preempt, PreemptionRule
from jobs.core.states import JobState, Outcome, Reason
from jobs.models import Allocation, Attempt, Job, JobEvent
from tests.rows import GIB, a_device, a_job, a_running_job, a_started_job, a_user

pytestmark = pytest.mark.django_db

DONE = Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED, exit_code=0)
GAVE_WAY = Ending(outcome=Outcome.PREEMPTED, reason=Reason.PREEMPTED, signal=15)
CRASHED = Ending(outcome=Outcome.FAILED, reason=Reason.EXIT_CODE, exit_code=1)
LOST = Ending(outcome=Outcome.LOST, reason=Reason.SUPERVISOR_DIED)


@pytest.fixture
def device() -> Device:
    return a_device()


@pytest.fixture
def victim(device: Device) -> Job:
    return a_victim(device)


@pytest.fixture
def urgent() -> Job:
    return a_job("urgent")


def a_victim(device: Device, task_id: str = "victim", **fields: object) -> Job:
    """A running job that may be told to make room."""
    job, _ = a_running_job(task_id, device=device, **fields)
    Job.objects.filter(pk=job.pk).update(preemptible=True)
    return Job.objects.get(pk=job.pk)


def attempt_of(job: Job) -> Attempt:
    return job.attempts.select_related("job").latest("number")


def preempt(job: Job, beneficiary: Job, lost: float = 600.0) -> bool:
    return lifecycle.preempt(
        job,
        attempt_of(job),
        beneficiary=beneficiary.pk,
        rule=PreemptionRule.PRIORITY,
        lost=lost,
    )


def decided(*pairs: tuple[Job, Job]) -> list[Preempt]:
    """The scheduler's decisions: who makes room for whom."""
    rule = PreemptionRule.PRIORITY
    return [Preempt(job=job.pk, beneficiary=other.pk, rule=rule, lost=1.0) for job, other in pairs]


def applied(*pairs: tuple[Job, Job]) -> int:
    return preempting.apply(decided(*pairs))


def state(job: Job) -> str:
    return Job.objects.get(pk=job.pk).state


def kinds(job: Job) -> list[str]:
    return list(job.events.values_list("kind", flat=True))


def began(job: Job, seconds_ago: float, saved: float | None = None) -> datetime:
    """Move the start of the job's attempt into the past, and its last checkpoint; the time of now."""
    now = timezone.now()
    Attempt.objects.filter(pk=attempt_of(job).pk).update(
        started_at=now - timedelta(seconds=seconds_ago),
        saved_at=None if saved is None else now - timedelta(seconds=saved),
    )
    return now


# --- told ---------------------------------------------------------------------------------------------


def test_a_job_that_is_told_to_make_room_keeps_its_card_until_it_has_gone(device, victim, urgent):
    assert preempt(victim, urgent)
    attempt = attempt_of(victim)
    assert state(victim) == JobState.SUSPENDING
    assert (attempt.stop_for, attempt.preempted_for, attempt.ended_at) == (
        "preempted",
        urgent.pk,
        None,
    )
    device.refresh_from_db()
    assert device.booked == victim.min_memory


def test_the_event_names_the_other_job_the_rule_and_the_cost(victim, urgent):
    preempt(victim, urgent, lost=90.0)
    event = victim.events.get(kind="preempt")
    assert event.data == {"beneficiary": urgent.pk, "rule": "priority", "lost": 90.0}
    assert (event.actor, event.attempt, event.old_state) == (None, attempt_of(victim), "RUNNING")


def test_who_makes_room_already_is_not_told_again(victim, urgent):
    assert preempt(victim, urgent)
    assert not preempt(Job.objects.get(pk=victim.pk), a_job("another"))
    assert attempt_of(victim).preempted_for == urgent.pk
    assert kinds(victim).count("preempt") == 1


def test_only_what_runs_can_make_room(device, urgent):
    queued, (starting, _) = a_job("queued"), a_started_job("starting", device=device)
    frozen = a_victim(device, "frozen")
    lifecycle.freeze(frozen, None)
    for job in (starting, frozen):
        assert not preempt(job, urgent), job
    assert applied((queued, urgent), (starting, urgent), (frozen, urgent)) == 0
    assert attempt_of(frozen).stop_for == ""


def test_a_decision_about_an_earlier_attempt_is_dropped(device, victim, urgent):
    old = attempt_of(victim)
    lifecycle.finish(old, LOST)
    again = Job.objects.get(pk=victim.pk)
    attempt = lifecycle.start(again, device.node, [(device, GIB)])
    lifecycle.mark_running(attempt, started_at=timezone.now(), containment="tag")
    fresh = Job.objects.get(pk=victim.pk)
    rule = PreemptionRule.RECLAIM
    assert not lifecycle.preempt(fresh, old, beneficiary=urgent.pk, rule=rule, lost=0)
    assert state(victim) == JobState.RUNNING


def test_each_decision_of_a_plan_is_guarded_by_itself(victim, urgent):
    other = a_victim(a_device(1), "other")
    lifecycle.finish(attempt_of(other), DONE)
    assert applied((other, urgent), (victim, urgent)) == 1
    assert (state(other), state(victim)) == (JobState.SUCCEEDED, JobState.SUSPENDING)


def test_nobody_makes_room_for_a_job_that_has_left_the_queue(victim, urgent):
    lifecycle.cancel(urgent, a_user())
    assert applied((victim, urgent)) == 0
    assert state(victim) == JobState.RUNNING


def test_a_job_that_must_not_be_interrupted_is_left_alone(device, urgent):
    job, _ = a_running_job("precious", device=device)
    assert applied((job, urgent)) == 0
    assert state(job) == JobState.RUNNING


def test_a_plan_that_names_a_job_twice_tells_it_once(victim, urgent):
    assert applied((victim, urgent), (victim, a_job("another"))) == 1
    assert attempt_of(victim).preempted_for == urgent.pk


def test_the_dispatcher_is_woken_to_stop_the_processes(
    victim, urgent, monkeypatch, django_capture_on_commit_callbacks
):
    woken = []
    monkeypatch.setattr("jobs.events.wake_dispatcher", woken.append)
    with django_capture_on_commit_callbacks(execute=True):
        applied((victim, urgent))
    assert woken == [victim.pk]


# --- gone ---------------------------------------------------------------------------------------------


def test_a_job_that_made_room_waits_at_its_old_place_and_may_start_at_once(device, victim, urgent):
    preempt(victim, urgent)
    assert lifecycle.finish(attempt_of(victim), GAVE_WAY)
    again = Job.objects.get(pk=victim.pk)
    assert (again.state, again.submitted_at, again.not_before) == (
        JobState.QUEUED,
        victim.submitted_at,
        None,
    )
    device.refresh_from_db()
    assert device.booked == 0
    assert kinds(victim) == ["submit", "start", "run", "preempt", "requeue"]


def test_making_room_is_no_attempt_in_vain(device, urgent):
    job = a_victim(device, max_attempts=2)
    for _ in range(4):
        preempt(Job.objects.get(pk=job.pk), urgent)
        lifecycle.finish(attempt_of(job), GAVE_WAY)
        again = Job.objects.get(pk=job.pk)
        attempt = lifecycle.start(again, device.node, [(device, GIB)])
        lifecycle.mark_running(attempt, started_at=timezone.now(), containment="tag")
    lifecycle.finish(attempt_of(job), LOST)
    after = Job.objects.get(pk=job.pk)
    assert (after.state, after.not_before) == (JobState.QUEUED, None), "its first attempt in vain"


def test_a_job_that_succeeded_before_the_stop_is_never_run_again(victim, urgent):
    preempt(victim, urgent)
    lifecycle.finish(attempt_of(victim), DONE)
    assert state(victim) == JobState.SUCCEEDED
    attempt = attempt_of(victim)
    assert (attempt.outcome, attempt.preempted_for, attempt.lost_seconds) == (
        "succeeded",
        urgent.pk,
        None,
    )


def test_a_job_that_crashed_before_the_stop_has_failed(victim, urgent):
    preempt(victim, urgent)
    lifecycle.finish(attempt_of(victim), CRASHED)
    assert state(victim) == JobState.FAILED


def test_a_job_that_is_cancelled_while_it_makes_room_does_not_come_back(victim, urgent):
    preempt(victim, urgent)
    actions.cancel(victim, a_user())
    attempt = attempt_of(victim)
    assert (state(victim), attempt.stop_for) == (JobState.STOPPING, "cancelled")
    lifecycle.finish(attempt, GAVE_WAY)  # as it was judged before the person asked
    job, attempt = Job.objects.get(pk=victim.pk), attempt_of(victim)
    assert (job.state, job.outcome, job.reason) == (JobState.CANCELLED, "cancelled", "user")
    assert (attempt.outcome, attempt.lost_seconds) == ("cancelled", None)


def test_pausing_a_job_that_makes_room_says_what_to_do_and_resuming_it_changes_nothing(
    victim, urgent
):
    preempt(victim, urgent)
    with pytest.raises(actions.ActionRefused) as refused:
        actions.pause(victim, a_user())
    assert "giving its cards to another job" in refused.value.detail
    assert "back in the queue" in refused.value.hint
    actions.resume(victim, a_user())
    assert state(victim) == JobState.SUSPENDING


# --- what it cost -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("began_ago", "saved_ago", "expected"),
    [(600, None, 600), (600, 120, 120), (600, 900, 600), (600, -5, 0)],
    ids=[
        "no checkpoint",
        "since the checkpoint",
        "a checkpoint of before",
        "a clock that is ahead",
    ],
)
def test_lost_is_the_work_since_the_last_checkpoint(victim, urgent, began_ago, saved_ago, expected):
    preempt(victim, urgent)
    began(victim, began_ago, saved_ago)
    lifecycle.finish(attempt_of(victim), GAVE_WAY)
    assert attempt_of(victim).lost_seconds == pytest.approx(expected, abs=5)


def test_lost_work_counts_on_every_card(urgent):
    cards = [a_device(0), a_device(1)]
    job = a_job("gang")
    attempt = lifecycle.start(job, cards[0].node, [(card, GIB) for card in cards])
    lifecycle.mark_running(attempt, started_at=timezone.now(), containment="tag")
    preempt(Job.objects.get(pk=job.pk), urgent)
    began(job, 100)
    lifecycle.finish(attempt_of(job), GAVE_WAY)
    assert attempt_of(job).lost_seconds == pytest.approx(200, abs=10)


def test_time_in_which_a_job_was_frozen_is_no_lost_work(victim, urgent):
    started_ago = 600
    lifecycle.freeze(victim, None)
    lifecycle.thaw(victim, None)
    now = began(victim, started_ago)
    for kind, ago in (("freeze", 500), ("thaw", 100)):
        victim.events.filter(kind=kind).update(at=now - timedelta(seconds=ago))
    preempt(victim, urgent)
    lifecycle.finish(attempt_of(victim), GAVE_WAY)
    assert attempt_of(victim).lost_seconds == pytest.approx(200, abs=5)


def test_service_is_what_its_attempts_have_had_of_the_cards(device, victim, urgent):
    Device.objects.filter(pk=device.pk).update(weight=2.0, memory_total=4 * victim.min_memory)
    preempt(victim, urgent)
    began(victim, 1000)
    lifecycle.finish(attempt_of(victim), GAVE_WAY)
    first = Job.objects.get(pk=victim.pk).service
    assert first == pytest.approx(1000 * 2.0 / 4, rel=0.02)
    again = Job.objects.get(pk=victim.pk)
    attempt = lifecycle.start(again, device.node, [(device, victim.min_memory)])
    lifecycle.finish(attempt, Ending(outcome=Outcome.LOST, reason=Reason.NOT_CLAIMED))
    assert Job.objects.get(pk=victim.pk).service == first, "nothing of it ran"


def test_service_counts_the_measured_peak_and_the_learned_demand(device, victim):
    whole = victim.min_memory * 10
    Device.objects.filter(pk=device.pk).update(memory_total=whole)
    began(victim, 1000)
    attempt_of(victim).allocations.update(peak=whole // 2, sm_share=0.9)
    lifecycle.finish(attempt_of(victim), DONE)
    assert Job.objects.get(pk=victim.pk).service == pytest.approx(900, rel=0.02)


# --- two at once --------------------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ending", [GAVE_WAY, DONE], ids=["gave way", "had ended"])
def test_a_person_and_the_dispatcher_do_not_wait_for_each_other(ending):
    """One locks the job before the attempt, so must the other; and whoever is first, no cancel is forgotten."""
    device = a_device(total=1000 * GIB)
    person, urgent = a_user(), a_job("urgent")
    for number in range(40):
        victim = a_victim(device, f"victim-{number}")
        preempt(victim, urgent)
        together(
            lambda job=victim: lifecycle.finish(attempt_of(job), ending),
            lambda job=victim: actions.cancel(job, person),
        )
        attempt = attempt_of(victim)
        lifecycle.finish(attempt, ending)  # the reconciler comes again where it was too early
        ends = {JobState.CANCELLED} if ending is GAVE_WAY else {JobState.SUCCEEDED}
        assert state(victim) in ends


def together(*deeds: Callable[[], object]) -> None:
    """Do these at the same moment, each on a connection of its own; what one of them raises is raised."""
    gate = threading.Barrier(len(deeds))

    def do(deed: Callable[[], object]) -> None:
        try:
            gate.wait(10)
            deed()
        except actions.ActionRefused:
            """The job had ended before the person came."""
        finally:
            connection.close()

    with ThreadPoolExecutor(len(deeds)) as pool:
        for future in [pool.submit(do, deed) for deed in deeds]:
            future.result(30)


# --- whatever happens -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_the_books_agree(seed):
    """Random lives of six jobs on two cards: rows, counters and events must tell the same."""
    dice = random.Random(seed)
    cards = [a_device(index, total=40 * GIB) for index in range(2)]
    jobs = [
        a_job(f"job-{number}", max_attempts=9, retry_on=["lost", "failed"]) for number in range(6)
    ]
    Job.objects.update(preemptible=True)
    for _ in range(120):
        step(dice, cards, Job.objects.get(pk=dice.choice(jobs).pk))
        the_books_agree()
    assert JobEvent.objects.filter(kind="preempt").exists()


def step(dice: random.Random, cards: list[Device], job: Job) -> None:
    attempt = job.attempts.filter(ended_at=None).first()
    if attempt is None:
        lifecycle.start(job, cards[0].node, [(dice.choice(cards), 14 * GIB)])
        return
    past = timezone.now() - timedelta(seconds=dice.randrange(1, 5000))
    if job.state == JobState.STARTING:
        lifecycle.mark_running(attempt, started_at=past, containment="tag")
        return
    others = list(Job.objects.queued().exclude(pk=job.pk)) or [job]
    what: list[Callable[[], object]] = [
        lambda: applied((job, dice.choice(others))),
        lambda: applied((job, dice.choice(others))),
        lambda: lifecycle.freeze(job, None),
        lambda: lifecycle.thaw(job, None),
        lambda: dice.random() < 0.1 and lifecycle.cancel(job, a_user()),
        lambda: Attempt.objects.filter(pk=attempt.pk).update(saved_at=past),
        lambda: lifecycle.finish(attempt, dice.choice([CRASHED, LOST])),
        lambda: attempt.stop_for == "preempted" and lifecycle.finish(attempt, GAVE_WAY),
        lambda: attempt.stop_for == "preempted" and lifecycle.finish(attempt, GAVE_WAY),
    ]
    dice.choice(what)()


def the_books_agree() -> None:
    for attempt in Attempt.objects.select_related("job"):
        told = [event.data["beneficiary"] for event in attempt.events.filter(kind="preempt")]
        assert told == ([attempt.preempted_for] if attempt.preempted_for else []), "one each"
        gone = [event.data["lost"] for event in attempt.events.filter(kind="requeue")]
        assert gone == ([attempt.lost_seconds] if attempt.outcome == "preempted" else [])
        assert (attempt.lost_seconds is None) == (attempt.outcome != "preempted")
        if attempt.outcome == "preempted":
            assert attempt.job.state not in {JobState.SUSPENDING, JobState.STOPPING} or (
                attempt.number < attempt.job.epoch
            )
    for device in Device.objects.all():
        held = Allocation.objects.open().filter(device=device).aggregate(sum=Sum("booked"))["sum"]
        assert device.booked == (held or 0)
        assert device.booked <= device.memory_total
    open_ones = set(Attempt.objects.open().values_list("job", flat=True))
    assert (
        set(Job.objects.filter(state=JobState.SUSPENDING).values_list("pk", flat=True)) <= open_ones
    )
