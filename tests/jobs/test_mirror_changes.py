"""Whatever happens, the mirror decides as if all were read anew."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from gpus.models import Device
from jobs import lifecycle, sitesettings
from jobs.core.ending import Ending
from jobs.core.plan import Start
from jobs.core.states import JobState, Outcome, Priority, Reason
from jobs.mirror import Mirror
from jobs.models import Allocation, Attempt, Job, Project, Quota, ids
from jobs.projects import default_project
from tests.jobs.mirroring import Clock, begin, decided, queued_ids
from tests.rows import GIB, a_device, a_job, a_user

pytestmark = pytest.mark.django_db

NOT_AT_ALL = timedelta(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timezone, "now", clock)
    return clock


@pytest.mark.parametrize("seed", range(12))
def test_after_any_changes_the_mirror_decides_as_if_all_were_read_anew(
    seed: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "secrets", random.Random(seed))  # public ids break ties
    world = _World(random.Random(seed), clock)
    mirror = Mirror(look_again=NOT_AT_ALL)
    for _step in range(25):
        for _ in range(world.random.randrange(4)):
            world.change()
        for start in decided(mirror).starts:
            world.may_begin(start)
        if world.random.random() < 0.1:
            mirror.reload()
    mirror.refresh()
    assert queued_ids(mirror) == set(Job.objects.queued().values_list("pk", flat=True))


class _World:
    """A small site on which anything may happen that the one writer allows."""

    def __init__(self, chance: random.Random, clock: Clock) -> None:
        self.random, self.clock = chance, clock
        self._number = 0
        self._people = [a_user(name) for name in ("ada", "bob")]
        self._projects = [default_project(), Project.objects.create(slug="b", name="b", weight=3)]
        for index in range(3):
            a_device(index, total=(24, 40, 80)[index] * GIB, weight=1 + index)
        sitesettings.change({"preemption": False}, None)
        clock.advance(1)

    def change(self) -> None:
        changes: list[Callable[[], object]] = [
            *[self._submit] * 4,
            *[self._run] * 3,
            *[self._end] * 3,
            *[self._pass_time] * 2,
            self._hold,
            self._release,
            self._cancel,
            self._reprioritise,
            self._freeze_or_thaw,
            self._peak,
            self._progress,
            self._change_card,
            self._change_quota,
            self._change_setting,
        ]
        self.random.choice(changes)()

    def may_begin(self, start: Start) -> None:
        """Most decisions come true."""
        if self.random.random() < 0.8:
            begin(start)

    def _submit(self) -> None:
        self._number += 1
        spec = {"est_time": self.random.choice([None, 600, 7200])}
        job = a_job(
            f"job-{self._number}",
            owner=self.random.choice(self._people),
            project=self.random.choice(self._projects),
            memory=self.random.choice([2, 10, 20, 38, 70]) * GIB,
            priority=self.random.choice(list(Priority)),
            resources={"gpus": self.random.choice([1, 1, 1, 2]), "nodes": 1},
            **spec,
        )
        Job.objects.filter(pk=job.pk).update(
            template=self.random.choice(["", "k", "l"]), preemptible=self.random.random() < 0.5
        )

    def _run(self) -> None:
        for attempt in Attempt.objects.open().filter(job__state=JobState.STARTING):
            lifecycle.mark_running(attempt, started_at=self.clock.now, containment="tag")

    def _end(self) -> None:
        attempts = list(Attempt.objects.open())
        if attempts:
            ending = self.random.choice(
                [
                    Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED),
                    Ending(outcome=Outcome.FAILED, reason=Reason.EXIT_CODE, exit_code=1),
                    Ending(outcome=Outcome.LOST, reason=Reason.SUPERVISOR_DIED),
                    Ending(outcome=Outcome.PREEMPTED, reason=Reason.PREEMPTED),
                ]
            )
            lifecycle.finish(self.random.choice(attempts), ending)

    def _pass_time(self) -> None:
        self.clock.advance(self.random.choice([1, 60, 1800, 40_000]))

    def _hold(self) -> None:
        self._with(Job.objects.queued(), lambda job: lifecycle.hold(job, self._people[0]))

    def _release(self) -> None:
        held = Job.objects.filter(state=JobState.HELD)
        self._with(held, lambda job: lifecycle.release(job, self._people[0]))

    def _cancel(self) -> None:
        self._with(Job.objects.active(), lambda job: lifecycle.cancel(job, self._people[0]))

    def _reprioritise(self) -> None:
        priority = self.random.choice(list(Priority))
        self._with(
            Job.objects.active(),
            lambda job: lifecycle.reprioritise(job, priority, self._people[0]),
        )

    def _freeze_or_thaw(self) -> None:
        running = Job.objects.filter(state__in=(JobState.RUNNING, JobState.SUSPENDED))
        change = self.random.choice([lifecycle.freeze, lifecycle.thaw])
        self._with(running, lambda job: change(job, self._people[0]))

    def _peak(self) -> None:
        for booking in Allocation.objects.open()[:1]:
            peak = int(booking.booked * self.random.choice([0.5, 1.1]))
            Allocation.objects.filter(pk=booking.pk).update(peak=peak, sm_share=0.4)

    def _progress(self) -> None:
        seen = {"at": self.clock.now.timestamp(), "eta_s": self.random.choice([10, 5000])}
        self._with(
            Job.objects.filter(state=JobState.RUNNING),
            lambda job: Job.objects.filter(pk=job.pk).update(progress=seen),
        )
        Attempt.objects.open().update(saved_at=self.clock.now)

    def _change_card(self) -> None:
        change = self.random.choice(
            [
                {"drained": True},
                {"drained": False},
                {"used": 5 * GIB},
                {"used": 0, "foreign": 0},
                {"foreign": 4 * GIB},
                {"weight": 2.5},
                {"mode": "exclusive"},
                {"mode": ""},
                {"fault": "lost"},
                {"fault": ""},
            ]
        )
        Device.objects.filter(index=self.random.randrange(3)).update(**change)

    def _change_quota(self) -> None:
        Quota.objects.update_or_create(
            project=self.random.choice(self._projects),
            user=self.random.choice([None, self._people[0]]),
            defaults={
                "limit_cards": self.random.choice([None, 1, 3]),
                "limit_gpu_hours": self.random.choice([None, 5.0]),
                "guarantee_running": self.random.choice([None, 0, 1]),
            },
        )
        Project.objects.filter(slug="b").update(weight=self.random.choice([1, 3]))

    def _change_setting(self) -> None:
        change = self.random.choice(
            [
                {"mode": "dynamic-sharding"},
                {"mode": "smart-queue"},
                {"max_workers": 3},
                {"max_workers": None},
                {"half_life_hours": 6},
            ]
        )
        sitesettings.change(change, None)

    def _with(self, jobs: Any, deed: Callable[[Job], object]) -> None:
        rows = list(jobs.order_by("task_id"))
        if rows:
            deed(self.random.choice(rows))
