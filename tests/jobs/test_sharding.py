"""Dynamic sharding in the rows: what changes, what is left alone, and what is told."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from gpus.models import Device
from jobs import attained, lifecycle, preempting, rebooking, sitesettings
from jobs.core.ending import Ending
from jobs.core.plan import WaitCode
from jobs.core.states import JobState, Outcome, Reason
from jobs.history import PACKING_REMEMBERED, History
from jobs.mirror import Mirror
from jobs.models import Allocation, Attempt, Job
from jobs.sharding import Sharding
from jobs.trials import Trials
from jobs.views import story
from tests.rows import GIB, a_device, a_job, a_running_job

pytestmark = pytest.mark.django_db

NOW = timezone.now()
DONE = Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED, exit_code=0)


@pytest.fixture
def card() -> Device:
    return a_device(mode="dynamic-sharding")


def measured(device: Device, task_id: str = "job", *, peak: float = 10, **fields) -> Allocation:
    """A job that has run for hours, 40 GiB booked, with a peak (GiB) that has been steady for as long."""
    preemptible = fields.pop("preemptible", False)
    job, attempt = a_running_job(task_id, device=device, **({"memory": 40 * GIB} | fields))
    long_ago = NOW - timedelta(hours=3)
    Job.objects.filter(pk=job.pk).update(state_since=long_ago, preemptible=preemptible)
    Attempt.objects.filter(pk=attempt.pk).update(started_at=long_ago)
    Allocation.objects.filter(attempt=attempt).update(
        peak=round(peak * GIB),
        steady_peak=round(peak * GIB),
        steady_since=long_ago,
        created_at=long_ago,
    )
    return booking_of(job)


def booking_of(job: Job) -> Allocation:
    rows = Allocation.objects.select_related("attempt__job", "device__node")
    return rows.get(attempt__job=job)


def look(sharding: Sharding | None = None, after: float = 0.0) -> Sharding:
    """What a full cycle does, so many seconds from now; its cards have just been read."""
    now = NOW + timedelta(seconds=after)
    Device.objects.filter(read_at__gte=NOW - timedelta(seconds=30)).update(read_at=now)
    sharding = sharding or Sharding()
    sharding.keep_books(now)
    return sharding


def books(booking: Allocation) -> tuple[float, float]:
    """What the booking and its card count for, in GiB."""
    booked = Allocation.objects.get(pk=booking.pk).booked
    return booked / GIB, Device.objects.get(pk=booking.device_id).booked / GIB


# --- what changes --------------------------------------------------------------------------------


def test_a_steady_booking_shrinks_and_the_event_says_why(card):
    booking = measured(card)
    look()
    assert books(booking) == (11, 11)
    event = booking.attempt.events.get(kind="shrink")
    assert event.data == {
        "key": booking.key,
        "card": "node-a gpu0",
        "old": 40 * GIB,
        "new": 11 * GIB,
        "asked": 40 * GIB,
        "peak": 10 * GIB,
        "margin": 1.1,
    }
    steps = story.steps([event], {})
    assert "from 40 GiB to 11 GiB: the most that it used was 10 GiB, plus 10 %" in steps[0].notes[0]
    attempts = Attempt.objects.prefetch_related("allocations__device")
    assert story.runs(attempts)[0].booked == "gpu0: 11 GiB booked, as measured; 40 GiB asked."


def test_a_second_look_changes_nothing(card):
    booking = measured(card)
    look()
    look()
    assert booking.attempt.events.filter(kind="shrink").count() == 1


LEFT_ALONE = {
    "a card in another mode": {"mode": "smart-queue"},
    "a card that was not read lately": {"read_at": NOW - timedelta(minutes=5)},
    "a card with a fault": {"fault": "broken"},
    "a card that does not tell what is used": {"used": None},
}


@pytest.mark.parametrize("what", LEFT_ALONE)
def test_bookings_on_this_are_left_alone(card, what):
    booking = measured(card)
    Device.objects.update(**LEFT_ALONE[what])
    look()
    assert books(booking) == (40, 40)


def test_the_mode_of_the_site_counts_where_the_card_has_none(card):
    Device.objects.update(mode="")
    booking = measured(card)
    look()
    assert books(booking) == (40, 40)
    sitesettings.change({"mode": "dynamic-sharding"}, None)
    look()
    assert books(booking) == (11, 11)


@pytest.mark.parametrize("state", [JobState.SUSPENDED, JobState.SUSPENDING, JobState.STARTING])
def test_a_job_that_does_not_run_keeps_its_booking(card, state):
    booking = measured(card)
    Job.objects.update(state=state)
    look()
    assert books(booking) == (40, 40)


def test_a_job_that_has_the_card_to_itself_keeps_it(card):
    booking = measured(card)
    Allocation.objects.update(exclusive=True)
    look()
    assert books(booking) == (40, 40)


def test_a_training_shrinks_only_after_so_many_steps(card):
    booking = measured(card, llamafactory={"model_name_or_path": "m"}, command=None)
    progress = {"at": NOW.timestamp()}
    look()
    Job.objects.update(progress=progress | {"step": 100})
    look()
    Job.objects.update(progress=progress | {"step": 149})
    look()
    assert books(booking) == (40, 40)
    Job.objects.update(progress=progress | {"step": 150})
    look()
    assert books(booking) == (11, 11)


def test_a_peak_that_rises_begins_a_new_time_of_steadiness(card):
    booking = measured(card)
    Allocation.objects.update(peak=12 * GIB)
    sharding = look()
    assert Allocation.objects.get().steady_peak == 12 * GIB
    look(sharding, after=1700)
    assert books(booking) == (40, 40)
    look(sharding, after=1801)
    assert books(booking)[0] == pytest.approx(13.2, abs=0.01)


def test_a_booking_grows_with_what_is_used_while_there_is_room(card):
    booking = measured(card)
    look()
    Allocation.objects.update(peak=50 * GIB)
    look()
    assert books(booking) == (55, 55)
    assert booking.attempt.events.get(kind="grow").data["old"] == 11 * GIB


def test_the_margin_is_the_sites(card):
    booking = measured(card)
    sitesettings.change({"sharding_margin": 1.5}, None)
    look()
    assert books(booking) == (15, 15)


WRONG = {"sharding_margin": 1.0, "sharding_stable_minutes": -1, "sharding_stable_steps": 1.5}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_that_is_no_use_is_refused(name):
    with pytest.raises(sitesettings.SettingRefused, match=f"{name} cannot be"):
        sitesettings.change({name: WRONG[name]}, None)


def test_the_scheduler_learns_of_the_room_at_once(card):
    measured(card)
    measured(card, "other", memory=35 * GIB, peak=34)
    waiting = a_job("waiting", memory=20 * GIB)
    mirror, sharding = Mirror(), Sharding()
    mirror.refresh(NOW)
    assert mirror.decide(NOW.timestamp()).starts == ()
    look(sharding)
    mirror.refresh(NOW + timedelta(seconds=1))
    assert [start.job for start in mirror.decide(NOW.timestamp() + 1).starts] == [waiting.pk]


def test_the_api_tells_what_is_booked_and_why(card, client):
    booking = measured(card)
    look()
    job = booking.attempt.job
    client.force_login(job.owner)
    (allocation,) = client.get(f"/api/v1/jobs/{job.pk}").json()["allocations"]
    told = {name: allocation[name] for name in ("booked_bytes", "asked_bytes", "booked_source")}
    assert told == {
        "booked_bytes": 11 * GIB,
        "asked_bytes": 40 * GIB,
        "booked_source": "measured",
    }
    events = client.get(f"/api/v1/jobs/{job.pk}/events").json()["items"]
    (shrunk,) = [event for event in events if event["kind"] == "shrink"]
    assert shrunk["detail"].startswith("booking on node-a gpu0 from 40 GiB to 11 GiB")


# --- guards --------------------------------------------------------------------------------------


def test_an_attempt_that_ended_meanwhile_gives_back_once(card):
    booking = measured(card)
    lifecycle.finish(booking.attempt, DONE)
    assert not rebooking.rebook(booking, 11 * GIB, margin=1.1)
    assert books(booking) == (40, 0)


def test_what_changed_meanwhile_is_decided_again(card):
    booking, stale = measured(card), booking_of(Job.objects.get())
    assert rebooking.rebook(booking, 11 * GIB, margin=1.1)
    assert not rebooking.rebook(stale, 12 * GIB, margin=1.1)
    assert books(booking) == (11, 11)


def test_a_peak_that_was_seen_meanwhile_is_heeded(card):
    booking = measured(card)
    Allocation.objects.update(peak=39 * GIB)
    assert not rebooking.rebook(booking, 11 * GIB, margin=1.1)
    assert books(booking) == (40, 40)


def test_no_booking_grows_beyond_the_card(card):
    booking = measured(card)
    assert not rebooking.rebook(booking, 81 * GIB, margin=1.1)
    assert books(booking) == (40, 40)
    assert not booking.attempt.events.filter(kind="grow").exists()


@pytest.mark.django_db(transaction=True)
def test_an_end_and_a_change_at_the_same_time_leave_nothing_booked():
    card = a_device(mode="dynamic-sharding")
    for number in range(10):
        booking = measured(card, f"job-{number}")
        at_once = threading.Barrier(2)

        def change(booking: Allocation = booking, at_once: threading.Barrier = at_once) -> None:
            at_once.wait()
            rebooking.rebook(booking, 11 * GIB, margin=1.1)
            connection.close()

        def end(booking: Allocation = booking, at_once: threading.Barrier = at_once) -> None:
            attempt = Attempt.objects.get(pk=booking.attempt_id)
            at_once.wait()
            lifecycle.finish(attempt, DONE)
            connection.close()

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(change), pool.submit(end)]:
                done.result()
        assert Device.objects.get().booked == 0


def test_service_counts_each_booking_for_its_time(card):
    booking = measured(card)
    look()
    attempt = Attempt.objects.get()
    shrunk_at = attempt.events.get(kind="shrink").at
    before = (shrunk_at - attempt.started_at).total_seconds()
    had = attained.service(attempt, [booking_of(attempt.job)], shrunk_at + timedelta(hours=1))
    assert had == pytest.approx(before * 40 / 80 + 3600 * 11 / 80)
    assert books(booking) == (11, 11)


# --- giving way ----------------------------------------------------------------------------------


def relieved(sharding: Sharding) -> list[str]:
    mirror = Mirror()
    mirror.refresh(NOW)
    told = sharding.relieve(mirror, NOW)
    preempting.apply(told, also=sharding.demands)
    return [each.job for each in told]


def test_who_gives_way_to_a_running_job_is_told_once(card):
    measured(card, "grower", peak=45)
    victim = measured(card, "victim", memory=35 * GIB, peak=34, preemptible=True)
    job = victim.attempt.job
    assert relieved(look()) == [job.pk]
    assert Job.objects.get(pk=job.pk).state == JobState.SUSPENDING
    assert relieved(look()) == []
    assert job.events.filter(kind="preempt").count() == 1


def test_where_nobody_may_give_way_the_log_says_so_once(card, caplog):
    caplog.set_level(logging.WARNING, logger="jobs.sharding")
    measured(card, "grower", peak=45)
    measured(card, "firm", memory=35 * GIB, peak=33)
    sharding = Sharding()
    for _ in range(3):
        assert relieved(look(sharding)) == []
    assert caplog.text.count("nobody there may give way") == 1


def test_a_beneficiary_that_ended_meanwhile_displaces_nobody(card):
    grower = measured(card, "grower", peak=45)
    victim = measured(card, "victim", memory=35 * GIB, peak=34, preemptible=True)
    sharding, mirror = look(), Mirror()
    mirror.refresh(NOW)
    told = sharding.relieve(mirror, NOW)
    assert len(told) == 1
    lifecycle.finish(grower.attempt, DONE)
    assert preempting.apply(told) == 0
    assert Job.objects.get(pk=victim.attempt.job_id).state == JobState.RUNNING


# --- trial and unpack ----------------------------------------------------------------------------


def trained(booking: Allocation, template: str, alone: float | None) -> Job:
    Job.objects.filter(pk=booking.attempt.job_id).update(template=template)
    Attempt.objects.filter(pk=booking.attempt_id).update(alone_rate=alone)
    return booking.attempt.job


def watch(sharding: Sharding, rates: dict[str, float], *, since: float = 0.0) -> Sharding:
    """A window in which these jobs make so many steps a second."""
    for second in range(0, 661, 60):
        at = NOW.timestamp() + since + second
        for job, rate in rates.items():
            progress = {"step": int((since + second) * rate) + 1, "at": at}
            Job.objects.filter(pk=job).update(progress=progress)
        look(sharding, after=since + second)
    return sharding


def a_pair(card: Device, alone: float | None = 1.0) -> tuple[Job, Job]:
    stays = trained(measured(card, "stays", memory=30 * GIB), "kind-a", alone)
    goes = measured(card, "goes", memory=30 * GIB, preemptible=True)
    return stays, trained(goes, "kind-b", alone)


def test_a_packing_that_does_not_pay_is_undone_and_remembered(card):
    stays, goes = a_pair(card)
    sharding = watch(Sharding(), {stays.pk: 0.4, goes.pk: 0.5})
    assert relieved(sharding) == [goes.pk]
    event = goes.events.get(kind="preempt")
    assert event.data["rule"] == "packing"
    assert event.data["total"] == pytest.approx(0.9, abs=0.01)
    assert set(event.data["demands"]) == {"kind-a", "kind-b"}
    history = History()
    history.refresh(NOW, {"kind-a", "kind-b"})
    assert history.of("kind-a").sm_share == history.of("kind-b").sm_share == 1.0
    assert booking_of(stays).sm_share == 1.0


def test_the_pair_is_not_packed_again_until_it_is_forgotten(card):
    stays, goes = a_pair(card)
    sharding, mirror = watch(Sharding(), {stays.pk: 0.4, goes.pk: 0.5}), Mirror()
    mirror.refresh(NOW)
    preempting.apply(sharding.relieve(mirror, NOW), also=sharding.demands)
    gave_way = Ending(outcome=Outcome.PREEMPTED, reason=Reason.PREEMPTED, signal=15)
    lifecycle.finish(goes.attempts.select_related("job").get(), gave_way)
    mirror.refresh(NOW + timedelta(seconds=1))
    assert mirror.decide(NOW.timestamp() + 1).starts == ()
    assert mirror.scheduler.why(goes.pk).code == WaitCode.WAIT_BUSY
    later = NOW + PACKING_REMEMBERED + timedelta(minutes=10)
    history = History()
    history.refresh(later, {"kind-b"})
    assert history.of("kind-b").sm_share == 0.0


def test_a_packing_that_pays_stays(card):
    stays, goes = a_pair(card)
    assert relieved(watch(Sharding(), {stays.pk: 0.7, goes.pk: 0.6})) == []


@pytest.mark.parametrize("what", ["no rate alone", "frozen", "no steps"])
def test_what_cannot_be_judged_stays(card, what):
    stays, goes = a_pair(card, alone=None if what == "no rate alone" else 1.0)
    if what == "frozen":
        Job.objects.filter(pk=stays.pk).update(state=JobState.SUSPENDED)
    rates = {stays.pk: 0.3} if what == "no steps" else {stays.pk: 0.3, goes.pk: 0.3}
    assert relieved(watch(Sharding(), rates)) == []


def test_what_a_job_reaches_alone_is_kept_and_serves_others_of_its_kind(card):
    first = trained(measured(card, "first", memory=30 * GIB), "kind-a", None)
    watch(Sharding(), {first.pk: 2.0})
    assert first.attempts.get().alone_rate == pytest.approx(2.0, rel=0.01)
    second = trained(measured(card, "second", memory=30 * GIB, preemptible=True), "kind-a", None)
    sharding = watch(Sharding(), {first.pk: 0.8, second.pk: 0.8}, since=700)
    assert relieved(sharding) == [second.pk]


def test_a_new_dispatcher_measures_a_window_of_its_own(card):
    stays, goes = a_pair(card)
    watch(Sharding(), {stays.pk: 0.4, goes.pk: 0.5})
    assert Trials().look([(card, [booking_of(stays), booking_of(goes)])]) == []
