"""A mirror beside a scheduler that reads everything anew, and a clock that the whole service sees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils import timezone

from gpus.models import Device
from jobs import lifecycle, snapshots
from jobs.core.plan import Plan, Start
from jobs.core.scheduling.planner import Planner
from jobs.mirror import Mirror
from jobs.models import Attempt, Job
from jobs.usage import PastUsage


class Clock:
    """Time as the whole service sees it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        Device.objects.update(read_at=self.now)


def fresh(mirror: Mirror) -> Planner:
    """A scheduler that has read everything anew; what is learned of kinds is the mirror's."""
    rows = snapshots.read(timezone.now())
    return Planner.of(rows.snapshot(PastUsage(), mirror.history))


def decided(mirror: Mirror) -> Plan:
    """What the mirror decides, after it was seen that reading all of it anew decides the same."""
    anew, kept = fresh(mirror), mirror.refresh()
    now = timezone.now().timestamp()
    expected, plan = anew.decide(now), mirror.decide(now)
    assert plan == expected
    assert kept.waits() == anew.waits()
    return plan


def carry_out(plan: Plan) -> None:
    for start in plan.starts:
        assert begin(start) is not None


def begin(start: Start) -> Attempt | None:
    job = Job.objects.get(pk=start.job)
    devices = {each.uuid: each for each in Device.objects.select_related("node")}
    placements = [(devices[each.uuid], each.memory) for each in start.placements]
    return lifecycle.start(job, placements[0][0].node, placements)


def queued_ids(mirror: Mirror) -> set[str]:
    return set(mirror.scheduler.order())
