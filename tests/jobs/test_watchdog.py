"""Who is measured above its booking is warned, suspended or ended, as the site wants; never a neighbour."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from gpus.models import Device
from gpus.readings import ProcessReading
from jobs import endings, lifecycle, sitesettings, watchdog
from jobs.agent import Agent
from jobs.core.ending import Ending
from jobs.core.states import JobState, Outcome, Reason
from jobs.models import Allocation, Attempt, Job
from tests.gpus.fleets import ShownProbe, a_reading
from tests.rows import GIB, a_device, a_running_job

pytestmark = pytest.mark.django_db

CONFIG = {"model_name_or_path": "m", "do_train": True, "dataset": "d"}


@pytest.fixture
def card(settings, tmp_path) -> Device:
    settings.COOP_HOME = tmp_path
    return a_device()


def running(card: Device, name: str = "job-1", **spec: object) -> Job:
    return a_running_job(name, device=card, memory=10 * GIB, **spec)[0]


def exceeds(job: Job, *, seconds: float = 60) -> None:
    since = timezone.now() - timedelta(seconds=seconds)
    Allocation.objects.filter(attempt__job=job).update(over_since=since, peak=20 * GIB)


def state(job: Job) -> str:
    return Job.objects.get(pk=job.pk).state


def act() -> int:
    return watchdog.act(timezone.now())


@pytest.mark.parametrize(
    ("used", "over"),
    [(None, False), (0, False), (10 * GIB, False), (11 * GIB, False), (12 * GIB, True)],
)
def test_a_tenth_above_the_booking_is_forgiven_and_what_is_not_measured_is_no_excess(used, over):
    assert watchdog.is_over(used, 10 * GIB) is over


def test_a_warning_is_given_once_and_changes_nothing(card):
    job = running(card)
    exceeds(job)
    assert (act(), act(), state(job)) == (1, 0, JobState.RUNNING)
    event = job.events.get(kind="over_memory")
    assert event.reason == Reason.OVER_MEMORY
    assert "booked 10 GiB on gpu0 and was measured at 20 GiB" in event.detail


def test_a_short_excess_is_none(card):
    job = running(card)
    exceeds(job, seconds=watchdog.PATIENCE.total_seconds() / 2)
    assert act() == 0


def test_a_job_that_can_be_suspended_gives_its_card_back_if_the_site_wants_that(card):
    sitesettings.change({"over_memory": "suspend"}, None)
    job, neighbour = running(card, command=None, llamafactory=CONFIG), running(card, "neighbour")
    exceeds(job)
    assert act() == 1
    assert (state(job), state(neighbour)) == (JobState.SUSPENDING, JobState.RUNNING)
    attempt = Attempt.objects.select_related("job").get(job=job)
    lifecycle.finish(attempt, endings.lost(attempt, Reason.SUPERVISOR_DIED))
    assert state(job) == JobState.SUSPENDED
    assert job.events.get(kind="pause").reason == Reason.OVER_MEMORY


def test_one_that_cannot_be_suspended_is_warned_and_not_stopped(card):
    sitesettings.change({"over_memory": "suspend"}, None)
    job = running(card)
    exceeds(job)
    assert (act(), state(job)) == (1, JobState.RUNNING)


def test_it_is_ended_if_the_site_wants_that_and_not_tried_again(card):
    sitesettings.change({"over_memory": "stop"}, None)
    job = running(card, retry_on=["failed", "oom", "lost"])
    exceeds(job)
    assert (act(), state(job)) == (1, JobState.STOPPING)
    attempt = Attempt.objects.select_related("job").get(job=job)
    record = {"stopped_by": "control", "code": None, "signal": 15}
    lifecycle.finish(attempt, endings.exited(attempt, record, None))
    done = Job.objects.get(pk=job.pk)
    assert (done.state, done.outcome, done.reason) == ("FAILED", "failed", "over_memory")
    assert "Raise min_memory" in done.detail
    assert Device.objects.get().booked == 0


def test_a_job_that_ended_meanwhile_is_left_alone(card):
    sitesettings.change({"over_memory": "stop"}, None)
    job = running(card)
    exceeds(job)
    attempt = Attempt.objects.select_related("job").get(job=job)
    lifecycle.finish(attempt, Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED))
    assert (act(), state(job)) == (0, JobState.SUCCEEDED)


class TwoTrees:
    """Each attempt is one process: 1001, 1002, ... in the order of their job's name."""

    def pids(self, ref) -> frozenset[int]:
        return frozenset({1000 + int(Job.objects.get(pk=ref.job_id).task_id[-1])})


def test_the_agent_notes_who_exceeds_by_its_own_processes_and_forgets_it_again(card, tmp_path):
    Device.objects.update(uuid="GPU-0")
    first, second = running(card, "job-1"), running(card, "job-2")
    probe = ShownProbe()

    class Silent:
        def send(self, *_: object) -> int:
            return 0

    agent = Agent(
        engine=TwoTrees(),
        messages=Silent(),
        make_probe=lambda *_: probe,
        node="node-a",
        home=tmp_path,
    )

    def look(mine: int | None, stranger: int = 0) -> list[bool]:
        used = {1001: mine, 1002: 9 * GIB, 7: stranger}
        probe.show(
            a_reading(
                used=40 * GIB,
                processes=tuple(ProcessReading(pid=p, memory=m) for p, m in used.items()),
            )
        )
        agent.tick()
        order = Allocation.objects.order_by("attempt__job__task_id")
        return [since is not None for since in order.values_list("over_since", flat=True)]

    assert look(10 * GIB, stranger=20 * GIB) == [False, False]
    assert look(15 * GIB) == [True, False]
    since = Allocation.objects.get(attempt__job=first).over_since
    assert look(15 * GIB) == [True, False]
    assert Allocation.objects.get(attempt__job=first).over_since == since
    assert look(None) == [False, False]
    assert state(second) == JobState.RUNNING
