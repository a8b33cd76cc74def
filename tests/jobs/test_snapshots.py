from __future__ import annotations

import pytest

from jobs import lifecycle, sitesettings, snapshots
from jobs.core.snapshot import DeviceView
from jobs.models import Allocation, Quota
from jobs.projects import default_project
from tests.rows import GIB, a_device, a_job, a_running_job, a_started_job, a_user

pytestmark = pytest.mark.django_db


def the_card() -> DeviceView:
    return snapshots.take().snapshot.devices[0]


def test_a_booking_counts_from_the_moment_it_is_made() -> None:
    a_started_job(device=a_device(), memory=14 * GIB)
    assert (the_card().booked, the_card().holders) == (14 * GIB, 1)


def test_a_measured_peak_above_the_booking_counts_with_a_margin() -> None:
    _job, attempt = a_running_job(device=a_device(), memory=10 * GIB)
    Allocation.objects.filter(attempt=attempt).update(peak=20 * GIB)
    assert the_card().booked == pytest.approx(20.6 * GIB, rel=1e-6)


def test_a_stale_reading_leaves_nothing_to_measure() -> None:
    a_device(age=60)
    snapshot = snapshots.take().snapshot
    assert snapshot.devices[0].measured_free is None
    assert not snapshot.agents_fresh


def test_a_card_with_a_fault_leaves_nothing_to_measure() -> None:
    a_device(fault="the card is lost")
    assert the_card().measured_free is None


def test_five_jobs_of_14_gib_fit_the_threshold_of_an_80_gib_card_and_a_sixth_does_not() -> None:
    a_device(total=80 * GIB)
    card = the_card()
    room = card.threshold * card.total - card.safety
    assert 5 * 14 * GIB <= room < 6 * 14 * GIB


def test_only_queued_jobs_are_eligible() -> None:
    device = a_device()
    queued = a_job("queued")
    lifecycle.hold(a_job("held"), a_user())
    a_running_job("running", device=device)
    snapshot = snapshots.take().snapshot
    assert [view.id for view in snapshot.queued] == [queued.pk]
    assert snapshot.holding == 1


def test_a_frozen_job_still_counts_as_holding_a_card() -> None:
    job, _attempt = a_running_job(device=a_device())
    lifecycle.freeze(job, a_user())
    assert snapshots.take().snapshot.holding == 1


def test_a_project_shows_its_quota_and_what_it_holds() -> None:
    Quota.objects.create(project=default_project(), limit_cards=4, guarantee_cards=2)
    a_running_job(device=a_device(), memory=14 * GIB)
    project = snapshots.take().snapshot.projects["default"]
    assert (project.limit.cards, project.guarantee.cards) == (4, 2)
    assert (project.cards, project.memory, project.running) == (1, 14 * GIB, 1)


def test_the_number_of_queries_does_not_grow_with_the_queue(
    django_assert_num_queries: object,
) -> None:
    device = a_device()
    for number in range(12):
        a_job(f"job-{number}")
    a_running_job("running", device=device)
    with django_assert_num_queries(8):  # type: ignore[operator] # pytest-django's fixture
        snapshots.take()


def test_the_mode_of_a_card_wins_over_the_mode_of_the_site() -> None:
    a_device(0, mode="exclusive")
    a_device(1)
    sitesettings.change({"mode": "dynamic-sharding"}, None)
    alone, shared = snapshots.take().snapshot.devices
    assert (alone.max_holders, alone.threshold) == (1, 0.9)
    assert (shared.max_holders, shared.threshold) == (8, 0.95)
