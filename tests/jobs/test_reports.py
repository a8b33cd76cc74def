"""Reports from rows: exact against the event log, the same with and without the ledger, of the wanted projects only."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from gpus.models import Device, HolderReading, Reading
from jobs import lifecycle, rebooking, reports
from jobs.core.ending import Ending
from jobs.core.states import Outcome, Priority, Reason
from jobs.ledger import outages, rollup
from jobs.models import BookingDay, CardDay, JobEvent, LedgerState, OutOfService, Project
from jobs.projects import default_project
from tests.rows import GIB, a_device, a_job, a_past_run, a_started_job, an_admin

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)
DAY = date(2026, 2, 3)
HOURS = timedelta(hours=1)
LATER = NOON + 48 * HOURS


def wanted(first=DAY, last=DAY, **fields):
    return reports.Wanted(
        **{"first": first, "last": last, "projects": (default_project(),)} | fields
    )


def entry(found, kind):
    return next(each for each in found.waste if each.kind == kind)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves: `clock[0]`."""
    at = [NOON]
    monkeypatch.setattr(timezone, "now", lambda: at[0])
    return at


def an_invented_history(clock, chance, jobs=40):
    """Jobs that start, are booked anew, are frozen and thawed, change priority, and end in every way; two still run."""
    devices = [a_device(index) for index in range(3)]
    for number in range(jobs):
        clock[0] += timedelta(microseconds=chance.randrange(1, 10**9))
        job = a_job(f"job-{number}")
        clock[0] += timedelta(microseconds=chance.randrange(1, 10**9))
        attempt = lifecycle.start(job, devices[0].node, [(chance.choice(devices), GIB)])
        lifecycle.mark_running(attempt, started_at=clock[0], containment="tag")
        for size in chance.sample([GIB // 3, 2 * GIB], chance.randrange(3)):
            clock[0] += timedelta(microseconds=chance.randrange(1, 10**10))
            booking = attempt.allocations.select_related("device", "attempt").get()
            assert rebooking.rebook(booking, size, margin=1.25)
        if chance.random() < 0.3:
            clock[0] += timedelta(microseconds=chance.randrange(1, 10**9))
            lifecycle.reprioritise(job, Priority.HIGH, an_admin())
        if chance.random() < 0.4:
            clock[0] += timedelta(microseconds=chance.randrange(1, 10**10))
            lifecycle.freeze(job, None)
            clock[0] += timedelta(microseconds=chance.randrange(1, 10**10))
            if chance.random() < 0.7:
                lifecycle.thaw(job, None)
        clock[0] += timedelta(microseconds=chance.randrange(1, 10**10))
        if number < jobs - 2:
            good = Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED)
            bad = Ending(outcome=Outcome.FAILED, reason=Reason.EXIT_CODE)
            assert lifecycle.finish(attempt, chance.choice([good, bad]))
    return devices


def from_the_event_log(first, last):
    """Card time used and held frozen in the period, in microseconds, read from the events alone."""
    used = frozen = timedelta(0)
    state: dict[str, tuple[str, datetime]] = {}
    for event in [*JobEvent.objects.order_by("pk"), *still_there(last)]:
        before = state.get(event.job_id)
        if before:
            time = max(timedelta(0), min(last, event.at) - max(first, before[1]))
            used += time if before[0] in {"STARTING", "RUNNING", "STOPPING"} else timedelta(0)
            frozen += time if before[0] == "SUSPENDED" else timedelta(0)
        state[event.job_id] = (event.new_state, event.at)
    return used // timedelta(microseconds=1), frozen // timedelta(microseconds=1)


def still_there(last):
    for pk in set(JobEvent.objects.values_list("job", flat=True)):
        yield JobEvent(job_id=pk, at=last, new_state="")


def figures(found):
    """All that a report says, so that two can be compared."""
    return (
        found.total,
        found.tables,
        found.day_projects,
        found.waits,
        found.waits_by_day,
        found.outcomes,
        found.waste,
        found.unmeasured,
        found.fairness,
        found.cards,
    )


def test_a_run_counts_from_booking_to_release_and_only_inside_the_period():
    before = NOON - 13 * HOURS
    a_past_run(device=a_device(), begun=before, ended=NOON - 10 * HOURS, memory=10 * GIB)
    found = reports.report(wanted(), LATER)
    assert (found.total.gpu_hours, found.total.memory_hours) == (2.0, 20.0)
    assert list(found.tables["card"]) == ["NVIDIA A100-SXM4-80GB"]


def test_a_booking_counts_with_each_of_its_sizes_for_its_time(clock):
    _job, attempt = a_started_job(device=a_device(), memory=40 * GIB)
    clock[0] += 2 * HOURS
    booking = attempt.allocations.select_related("device", "attempt").get()
    assert rebooking.rebook(booking, 8 * GIB, margin=1.25)
    found = reports.report(wanted(), clock[0] + HOURS)
    assert (found.total.gpu_hours, found.total.memory_hours) == (3.0, 88.0)


def test_what_belongs_to_other_projects_is_not_in_it():
    other = Project.objects.create(slug="other", name="Other")
    a_past_run(device=a_device(), begun=NOON, ended=NOON + HOURS, project=other)
    assert reports.report(wanted(), LATER).total.gpu_hours == 0


def test_the_fair_share_is_told_of_the_whole_site_only():
    a_past_run(device=a_device(), begun=NOON, ended=NOON + HOURS)
    assert reports.report(wanted(), LATER).fairness is None
    (share,) = reports.report(wanted(whole_site=True), LATER).fairness
    assert (share.entitled, share.received) == (1.0, 1.0)


@pytest.mark.parametrize("seed", range(4))
def test_the_figures_agree_with_the_event_log_and_with_the_ledger(clock, seed):
    an_invented_history(clock, random.Random(seed))
    now = clock[0]
    asked = wanted(DAY, now.date(), whole_site=True)
    direct = reports.report(asked, now)
    used, frozen = from_the_event_log(datetime(2026, 2, 3, tzinfo=UTC), now)
    assert frozen > 0
    assert (direct.total.used, direct.total.frozen) == (used, frozen)
    assert rollup.roll_up(now) > 0
    assert BookingDay.objects.exists()
    assert figures(reports.report(asked, now)) == figures(direct)
    part = wanted(DAY, now.date(), card="NVIDIA A100-SXM4-80GB", user="member")
    with_ledger = figures(reports.report(part, now))
    rollup.start_over()
    assert figures(reports.report(part, now)) == with_ledger


def test_the_ledger_grows_day_by_day_and_is_made_again_the_same(clock):
    an_invented_history(clock, random.Random(9))
    day = NOON
    while day < clock[0]:
        rollup.roll_up(day)
        rollup.roll_up(day)
        day += 24 * HOURS
    rollup.roll_up(clock[0])
    columns = ("allocation", "day", "held", "frozen", "waste", "outcome", "wait", "priority")
    grown = list(BookingDay.objects.order_by("allocation", "day").values_list(*columns))
    assert grown
    call_command("rebuildreports", verbosity=0)
    assert list(BookingDay.objects.order_by("allocation", "day").values_list(*columns)) == grown


def test_a_ledger_of_other_rules_is_made_again(clock):
    a_past_run(device=a_device(), begun=NOON, ended=NOON + HOURS)
    rollup.roll_up(LATER)
    LedgerState.objects.update(rules=0)
    assert rollup.through() is None
    assert rollup.roll_up(LATER) == 2
    assert BookingDay.objects.count() == 1


def test_a_day_is_not_finished_before_what_ended_in_it_is_committed():
    a_past_run(device=a_device(), begun=NOON, ended=NOON + HOURS)
    assert rollup.roll_up(datetime(2026, 2, 4, 0, 5, tzinfo=UTC)) == 0
    assert rollup.roll_up(datetime(2026, 2, 4, 0, 15, tzinfo=UTC)) == 1


def test_waits_outcomes_and_waste_are_those_of_the_period():
    a_past_run("done", device=a_device(), begun=NOON, ended=NOON + HOURS, peak=4 * GIB)
    late = NOON + 30 * HOURS
    a_past_run("later", device=a_device(1), begun=late, ended=late + HOURS)
    found = reports.report(wanted(), late + 2 * HOURS)
    assert [(wait.priority, wait.jobs, wait.median) for wait in found.waits] == [("medium", 1, 0)]
    assert found.outcomes == {"succeeded": 1}
    assert entry(found, "unused").whole.memory_hours == 10.0


def test_a_wait_counts_for_the_priority_that_the_job_started_with(clock):
    job, _attempt = a_started_job(device=a_device())
    clock[0] += HOURS
    lifecycle.reprioritise(job, Priority.HIGH, an_admin())
    assert [each.priority for each in reports.report(wanted(), clock[0]).waits] == ["medium"]


def test_an_hour_in_which_a_job_kept_its_card_idle_is_waste():
    card = a_device()
    attempt = a_past_run(device=card, begun=NOON, ended=NOON + 2 * HOURS)
    for number, busy in enumerate((0.01, 0.9)):
        HolderReading.objects.create(
            holder=attempt.token,
            device=card,
            seconds=3600,
            start=int(NOON.timestamp()) + 3600 * number,
            samples=3600,
            busy_mean=busy,
        )
    assert entry(reports.report(wanted(), LATER), "idle").whole.gpu_hours == 1.0


def readings(card, first, count, **fields):
    for number in range(count):
        start = int(first.timestamp()) + 3600 * number
        Reading.objects.create(device=card, seconds=3600, start=start, samples=3600, **fields)


def test_a_free_card_while_a_job_waits_that_could_use_it_is_waste(clock):
    card = a_device()
    readings(card, NOON, 6, busy_mean=0.5, used_mean=20 * GIB)
    a_job("waits")
    a_job("needs-another", resources={"gpus": 2, "nodes": 1, "exclusive": False})
    a_past_run(device=card, begun=NOON + HOURS, ended=NOON + 3 * HOURS)
    found = reports.report(wanted(whole_site=True), NOON + 4 * HOURS)
    waited = entry(found, "waited")
    assert waited.whole.gpu_hours == 2.0
    assert list(reports.job_names(waited.behind).values()) == ["waits#1"]
    cards = found.cards[DAY.toordinal()]
    assert (cards.occupied_share, cards.busy_share, cards.memory_share) == (0.5, 0.5, 0.25)


def test_a_card_out_of_service_or_full_of_strangers_is_not_free(clock):
    card = a_device()
    readings(card, NOON, 2, foreign_max=0)
    readings(card, NOON + 2 * HOURS, 2, foreign_max=40 * GIB)
    a_job("waits")
    Device.objects.update(drained=True)
    outages.note(NOON)
    Device.objects.update(drained=False)
    outages.note(NOON + HOURS)
    outages.note(NOON + HOURS)
    assert OutOfService.objects.count() == 1
    found = reports.report(wanted(whole_site=True), NOON + 4 * HOURS)
    assert entry(found, "waited").whole.gpu_hours == 1.0
    assert entry(found, "ghost").whole.memory_hours == 80.0
    assert list(entry(found, "ghost").behind) == [str(card)]


def test_what_cards_were_is_the_same_from_the_ledger(clock):
    card = a_device()
    readings(card, NOON, 30, busy_mean=0.5, used_mean=20 * GIB, foreign_max=GIB)
    job = a_job("waits")
    clock[0] += 20 * HOURS
    lifecycle.cancel(job, an_admin())
    asked = wanted(DAY, DAY + timedelta(days=1), whole_site=True)
    direct = reports.report(asked, LATER)
    assert entry(direct, "waited").whole.gpu_hours == 20.0
    rollup.roll_up(LATER)
    assert CardDay.objects.count() == 2
    assert figures(reports.report(asked, LATER)) == figures(direct)
