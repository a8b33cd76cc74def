"""Reports from rows: exact against the event log, cut to the period, and of the wanted projects only."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from jobs import lifecycle, reports
from jobs.core.ending import Ending
from jobs.core.states import Outcome, Reason
from jobs.models import JobEvent, Project
from jobs.projects import default_project
from tests.rows import GIB, a_device, a_past_run, a_started_job

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)
HOURS = timedelta(hours=1)


def wanted(**fields):
    given = {"since": NOON, "until": NOON + 24 * HOURS, "projects": (default_project(),)} | fields
    return reports.Wanted(**given)


def test_a_run_counts_from_booking_to_release_and_only_inside_the_period():
    a_past_run(device=a_device(), begun=NOON - HOURS, ended=NOON + 2 * HOURS, memory=10 * GIB)
    found = reports.report(wanted(), NOON + 48 * HOURS)
    assert (found.total.gpu_hours, found.total.memory_hours) == (2.0, 20.0)
    assert list(found.tables["card"]) == ["NVIDIA A100-SXM4-80GB"]


def test_what_belongs_to_other_projects_is_not_in_it():
    other = Project.objects.create(slug="other", name="Other")
    a_past_run(device=a_device(), begun=NOON, ended=NOON + HOURS, project=other)
    assert reports.report(wanted(), NOON + 48 * HOURS).total.gpu_hours == 0


def test_the_fair_share_is_told_of_the_whole_site_only():
    a_past_run(device=a_device(), begun=NOON, ended=NOON + HOURS)
    assert reports.report(wanted(), NOON + 48 * HOURS).fairness is None
    (share,) = reports.report(wanted(whole_site=True), NOON + 48 * HOURS).fairness
    assert (share.entitled, share.received) == (1.0, 1.0)


def test_gpu_hours_agree_with_the_event_log_to_the_microsecond_on_a_random_history(monkeypatch):
    chance = random.Random(11)
    clock = [NOON]
    monkeypatch.setattr(timezone, "now", lambda: clock[0])
    devices = [a_device(index) for index in range(3)]
    for number in range(40):
        clock[0] += timedelta(microseconds=chance.randrange(1, 10**9))
        _job, attempt = a_started_job(f"job-{number}", device=chance.choice(devices))
        lifecycle.mark_running(attempt, started_at=clock[0], containment="tag")
        clock[0] += timedelta(microseconds=chance.randrange(1, 10**10))
        good = Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED)
        bad = Ending(outcome=Outcome.FAILED, reason=Reason.EXIT_CODE)
        assert lifecycle.finish(attempt, chance.choice([good, bad]))
    since, until = NOON + 3 * HOURS, NOON + 20 * HOURS
    began: dict[int, datetime] = {}
    logged = timedelta(0)
    for event in JobEvent.objects.order_by("pk"):
        if event.kind == "start":
            began[event.job_id] = event.at
        elif event.kind in {"end", "retry"}:
            logged += max(timedelta(0), min(until, event.at) - max(since, began[event.job_id]))
    found = reports.report(wanted(since=since, until=until), clock[0])
    assert logged > timedelta(0)
    assert found.total.time == logged // timedelta(microseconds=1)
    assert sum(day.time for day in found.tables["day"].values()) == found.total.time


def test_waits_outcomes_and_waste_are_those_of_the_period():
    a_past_run("done", device=a_device(), begun=NOON, ended=NOON + HOURS, peak=4 * GIB)
    late = NOON + 30 * HOURS
    a_past_run("later", device=a_device(1), begun=late, ended=late + HOURS)
    found = reports.report(wanted(), late + 2 * HOURS)
    assert [(wait.priority, wait.jobs, wait.median) for wait in found.waits] == [("medium", 1, 0.0)]
    assert found.outcomes == {"succeeded": 1}
    assert found.waste[0].whole.memory_hours == 10.0
