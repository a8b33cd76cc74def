"""Dynamic sharding with real processes on a simulated card that follows what they say they use."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.utils import timezone

from gpus.models import Device
from jobs import reports, rundir, sitesettings
from jobs.agent import Agent
from jobs.core.states import JobState, Priority
from jobs.cycle import Cycle
from jobs.engines.local import LocalEngine
from jobs.models import Allocation, Attempt, Job, Project
from jobs.refs import ref_of
from jobs.serialize import job_json
from tests.rows import GIB, a_job
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db

SAYS = "while :; do cp want said && mv said $LLAMA_COOP_SIM_USAGE; sleep 0.05; done"


class HeardBus:
    def send(self, _role: str, _message: dict) -> int:
        return 1


class Site:
    """A dispatcher and an agent, turn by turn; jobs whose use of memory a test decides."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.engine = LocalEngine(home)
        self.agent = Agent(engine=self.engine, messages=HeardBus(), node="node-a", home=home)
        self.cycle = Cycle(self.engine)
        wait_until(self._has_a_card, what="the first reading")

    def _has_a_card(self) -> bool:
        self.agent.tick()
        return Device.objects.filter(used__isnull=False).exists()

    def job(self, task_id: str, memory: int, uses: int, **fields: object) -> Job:
        preemptible = fields.pop("preemptible", False)
        job = a_job(task_id, memory=memory * GIB, command=SAYS, **fields)
        Job.objects.filter(pk=job.pk).update(preemptible=preemptible)
        self.wants(job, uses)
        return job

    def wants(self, job: Job, uses: int) -> None:
        """From now on the job uses so many GiB."""
        folder = self.home / "jobs" / job.pk / "work"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "new").write_text(json.dumps({"memory_bytes": uses * GIB, "busy": 0.2}))
        (folder / "new").rename(folder / "want")

    def turn(self) -> None:
        """One cycle and one look; nobody is looked at before it has said what it uses."""
        self.cycle.run()
        wait_until(lambda: all(map(self._has_said, Attempt.objects.open())), what="what jobs use")
        self.agent.tick()

    def _has_said(self, attempt: Attempt) -> bool:
        place = rundir.attempt_directory(self.home, attempt.job_id, attempt.number)
        is_over = self.engine.observe(ref_of(attempt)).kind not in {"alive", "nothing"}
        return is_over or (place / rundir.SIM_USAGE).exists()

    def until(self, condition, what: str) -> None:
        def reached() -> bool:
            self.turn()
            return condition()

        wait_until(reached, 30, what)

    def close(self) -> None:
        for attempt in Attempt.objects.open():
            self.engine.control(ref_of(attempt), "stop", 0.0)
            wait_until(partial(self._is_over, attempt), what="its end")
        self.engine.close()
        self.agent._probe.close()

    def _is_over(self, attempt: Attempt) -> bool:
        return self.engine.observe(ref_of(attempt)).kind != "alive"


@pytest.fixture
def site(tmp_path: Path, settings) -> Iterator[Site]:
    settings.COOP_HOME = tmp_path
    settings.COOP_GPUS = "simulated:1xA100-80G"
    values = {"mode": "dynamic-sharding", "sharding_stable_minutes": 0, "sharding_stable_steps": 0}
    sitesettings.change(values, None)
    made = Site(tmp_path)
    yield made
    made.close()


def state(job: Job) -> str:
    return Job.objects.get(pk=job.pk).state


def booked(job: Job) -> float:
    """What the job's open booking counts for, in GiB."""
    return Allocation.objects.open().get(attempt__job=job).booked / GIB


def books_balance() -> bool:
    total = sum(Allocation.objects.open().values_list("booked", flat=True))
    device = Device.objects.get()
    return device.booked == total <= device.memory_total


def test_five_that_ask_for_too_much_shrink_and_a_sixth_starts(site, caplog):
    caplog.set_level(logging.INFO, logger="jobs")
    five = [site.job(f"job-{number}", memory=14, uses=8) for number in range(5)]
    site.cycle.run()
    sixth = site.job("sixth", memory=14, uses=8)
    assert [state(job) for job in five] == [JobState.STARTING] * 5
    site.cycle.run()
    assert state(sixth) == JobState.QUEUED
    site.until(lambda: state(sixth) == JobState.RUNNING, "the sixth to run")
    site.until(lambda: booked(sixth) < 9, "its booking to shrink")
    assert [booked(job) for job in five] == pytest.approx([8.8] * 5, abs=0.01)
    assert books_balance()
    told = [event for event in five[0].events.all() if event.kind == "shrink"]
    assert [(e.data["old"], e.data["asked"], e.data["peak"]) for e in told] == [
        (14 * GIB, 14 * GIB, 8 * GIB)
    ]
    assert "bytes instead of 15032385536" in caplog.text
    (shown,) = job_json(Job.objects.get(pk=five[0].pk))["allocations"]
    assert (shown["asked_bytes"], shown["peak_bytes"]) == (14 * GIB, 8 * GIB)
    assert shown["booked_source"] == "measured"
    assert state(sixth) == JobState.RUNNING


def test_who_grows_where_nothing_is_left_displaces_the_least_valuable(site, caplog):
    caplog.set_level(logging.INFO, logger="jobs")
    grower = site.job("grower", memory=30, uses=8)
    mate = site.job("mate", memory=20, uses=18, preemptible=True)
    low = site.job("low", memory=20, uses=18, preemptible=True, priority=Priority.LOW)
    site.until(lambda: {state(each) for each in (grower, mate, low)} == {"RUNNING"}, "all to run")
    site.until(lambda: booked(grower) < 9, "the booking to shrink")
    begun = timezone.now()
    site.wants(grower, 20)
    site.until(lambda: booked(grower) > 21, "the booking to grow while there is room")
    site.wants(grower, 45)
    site.until(lambda: state(low) == JobState.QUEUED, "the least valuable to make room")
    site.until(lambda: booked(grower) > 46, "the booking to grow into it")
    assert books_balance()
    assert (state(grower), state(mate)) == (JobState.RUNNING, JobState.RUNNING)
    given_way = low.events.get(kind="preempt")
    assert given_way.data["rule"] == "pressure"
    assert given_way.data["beneficiary"] == grower.pk
    attempt = low.attempts.get()
    assert (attempt.outcome, attempt.preempted_for) == ("preempted", grower.pk)
    assert grower.events.filter(kind="grow").count() >= 2
    assert f"The job {low.pk} makes room for {grower.pk} (pressure)." in caplog.text
    preempted = next(each for each in the_ledger(begun).waste if each.kind == "preempted")
    assert preempted.whole.gpu_hours * 3600 == pytest.approx(attempt.lost_seconds)


def test_what_was_booked_when_is_in_the_ledger(site):
    job = site.job("job", memory=40, uses=8)
    site.until(lambda: state(job) == JobState.RUNNING and booked(job) < 9, "the booking to shrink")
    shrunk = job.events.get(kind="shrink")
    allocation = Allocation.objects.get()
    before = (shrunk.at - allocation.created_at).total_seconds()
    now = timezone.now() + timedelta(hours=1)
    after = (now - shrunk.at).total_seconds()
    hours = the_ledger(allocation.created_at, now).total.memory_hours
    assert hours * 3600 == pytest.approx(40 * before + booked(job) * after, rel=1e-4)


def the_ledger(since, now=None) -> reports.Report:
    wanted = reports.Wanted(
        first=since.date(),
        last=since.date() + timedelta(days=1),
        projects=tuple(Project.objects.all()),
        whole_site=True,
    )
    return reports.report(wanted, now or timezone.now())
