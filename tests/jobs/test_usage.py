from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from gpus.models import Device
from jobs import cardviews
from jobs.models import Allocation, Project
from jobs.usage import LATE, PastUsage, Used, beginning_of_month
from tests.rows import GIB, a_device, a_past_run, a_started_job, a_user

pytestmark = pytest.mark.django_db

DAY = 86400.0
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def hours_ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def past_usage(now: datetime = NOW, half_life: float = DAY) -> PastUsage:
    books = PastUsage()
    refresh(books, now, half_life)
    return books


def refresh(books: PastUsage, now: datetime = NOW, half_life: float = DAY) -> None:
    cards = cardviews.read(now)
    books.refresh(now, half_life, {row.pk: row.view for row in cards})


def the_only(books: PastUsage) -> Used:
    ((used,),) = (people.values() for people in books.by_project().values())
    return used


def by_name(books: PastUsage) -> dict[tuple[int, int], Any]:
    return {
        (project, owner): used
        for project, people in books.by_project().items()
        for owner, used in people.items()
    }


def test_an_hour_on_a_whole_card_that_has_just_ended_counts_almost_whole() -> None:
    a_past_run(device=a_device(total=80 * GIB), memory=80 * GIB, begun=hours_ago(1), ended=NOW)
    assert the_only(past_usage()).usage == pytest.approx(3600, rel=0.02)


def test_what_ended_a_half_life_ago_counts_half() -> None:
    run = {"memory": 80 * GIB, "begun": hours_ago(25), "ended": hours_ago(24)}
    a_past_run(device=a_device(total=80 * GIB), **run)
    assert the_only(past_usage()).usage == pytest.approx(1800, rel=0.02)


def test_the_share_of_the_card_and_its_weight_are_what_counts() -> None:
    quarter = a_device(0, total=80 * GIB, weight=2.0)
    a_past_run(device=quarter, memory=20 * GIB, begun=hours_ago(1), ended=NOW)
    assert the_only(past_usage()).usage == pytest.approx(2.0 * 0.25 * 3600, rel=0.02)


@pytest.mark.parametrize(("sm_share", "share"), [(0.8, 0.8), (0.1, 0.25)])
def test_the_larger_of_the_shares_of_memory_and_computing_counts(
    sm_share: float, share: float
) -> None:
    card = a_device(total=80 * GIB)
    a_past_run(device=card, memory=20 * GIB, begun=hours_ago(1), ended=NOW, sm_share=sm_share)
    assert the_only(past_usage()).usage == pytest.approx(share * 3600, rel=0.02)


def test_a_measured_peak_above_the_booking_counts_with_its_margin() -> None:
    card = a_device(total=80 * GIB)
    a_past_run(device=card, memory=20 * GIB, begun=hours_ago(1), ended=NOW, peak=40 * GIB)
    assert the_only(past_usage()).usage == pytest.approx(0.515 * 3600, rel=0.02)


def test_what_still_runs_is_not_counted_here() -> None:
    a_started_job(device=a_device())
    assert past_usage().by_project() == {}


def test_gpu_hours_are_those_of_this_calendar_month() -> None:
    month = beginning_of_month(NOW)
    card = a_device()
    a_past_run(
        "over", device=card, begun=month - timedelta(hours=5), ended=month + timedelta(hours=3)
    )
    a_past_run("before", device=card, begun=month - timedelta(hours=9), ended=month)
    assert the_only(past_usage()).gpu_hours == pytest.approx(3)


def test_the_month_begins_at_midnight_of_the_site(settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    first_of_december_there = datetime(2026, 11, 30, 16, tzinfo=UTC)
    assert beginning_of_month(first_of_december_there).timestamp() == (
        datetime(2026, 11, 30, 15, tzinfo=UTC).timestamp()
    )


def test_a_new_month_begins_at_zero() -> None:
    a_past_run(device=a_device(), begun=hours_ago(2), ended=hours_ago(1))
    books = past_usage()
    before = the_only(books).gpu_hours
    refresh(books, NOW + timedelta(days=10))
    assert (before, the_only(books).gpu_hours) == (pytest.approx(1), 0)


def test_another_weight_of_a_card_counts_for_the_past_too() -> None:
    card = a_device(weight=1.0)
    a_past_run(device=card, begun=hours_ago(2), ended=hours_ago(1))
    books = past_usage()
    before = the_only(books).usage
    Device.objects.filter(pk=card.pk).update(weight=3.0)
    refresh(books)
    assert the_only(books).usage == pytest.approx(3 * before)


def test_another_half_life_is_counted_anew() -> None:
    a_past_run(device=a_device(), begun=hours_ago(25), ended=hours_ago(24))
    books = past_usage()
    refresh(books, half_life=2 * DAY)
    assert by_name(books) == by_name(past_usage(half_life=2 * DAY))


def test_a_release_that_shows_late_is_counted_once() -> None:
    card = a_device()
    books = past_usage()
    late = NOW - LATE / 2
    a_past_run(device=card, begun=hours_ago(1), ended=late)
    refresh(books, NOW + timedelta(seconds=1))
    refresh(books, NOW + timedelta(seconds=2))
    assert the_only(books).gpu_hours == pytest.approx((late - hours_ago(1)).total_seconds() / 3600)


def test_without_anything_new_a_refresh_is_one_query(django_assert_num_queries: Any) -> None:
    a_past_run(device=a_device(), begun=hours_ago(25), ended=hours_ago(24))
    books = past_usage()
    views = {row.pk: row.view for row in cardviews.read(NOW)}
    with django_assert_num_queries(1):
        books.refresh(NOW + timedelta(seconds=1), DAY, views)


@pytest.mark.parametrize("seed", range(6))
def test_kept_up_books_are_those_that_are_made_anew_and_those_of_the_formula(seed: int) -> None:
    random = Random(seed)
    history = _History(random)
    books, now = PastUsage(), NOW
    for _step in range(12):
        now += timedelta(seconds=random.uniform(1, 40_000))
        history.grow(now)
        refresh(books, now)
        anew = past_usage(now)
        assert set(by_name(books)) == set(by_name(anew))
        for owner, used in by_name(books).items():
            assert used.usage == pytest.approx(by_name(anew)[owner].usage, rel=1e-5)
            assert used.usage == pytest.approx(history.usage(owner, now), rel=1e-5)
            assert used.gpu_hours == pytest.approx(by_name(anew)[owner].gpu_hours)


class _History:
    """Runs of two projects and three people on two cards, ended in any order."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._cards = [a_device(0, weight=1.0), a_device(1, total=24 * GIB, weight=0.35)]
        self._people = [a_user(name) for name in ("ada", "bob", "cleo")]
        self._projects = [Project.objects.create(slug=slug, name=slug) for slug in ("a", "b")]

    def grow(self, now: datetime) -> None:
        for _ in range(self._random.randrange(4)):
            ended = now - timedelta(seconds=self._random.uniform(0, 100))
            a_past_run(
                device=self._random.choice(self._cards),
                memory=self._random.randrange(1, 24) * GIB,
                begun=ended - timedelta(seconds=self._random.uniform(1, 3 * DAY)),
                ended=ended,
                owner=self._random.choice(self._people),
                project=self._random.choice(self._projects),
                sm_share=self._random.choice([0, 0.5, 1]),
            )

    def usage(self, owner: tuple[int, int], now: datetime) -> float:
        mine = Allocation.objects.filter(
            attempt__job__project=owner[0], attempt__job__owner=owner[1]
        )
        return sum(_decayed(each, now) for each in mine.select_related("device"))


def _decayed(each: Allocation, now: datetime) -> float:
    """The charge, added up minute by minute."""
    rate = each.device.weight * max(each.booked / each.device.memory_total, each.sm_share)
    assert each.released_at is not None
    length = (each.released_at - each.created_at).total_seconds()
    steps = 1 + int(length / 60)
    ages = [
        (now - each.created_at).total_seconds() - (step + 0.5) * length / steps
        for step in range(steps)
    ]
    return sum(rate * length / steps * 2 ** (-age / DAY) for age in ages)


def test_the_oldest_usage_is_left_out_and_would_not_show() -> None:
    card = a_device()
    long_ago: Mapping[str, Any] = {"begun": hours_ago(24 * 60), "ended": hours_ago(24 * 59)}
    a_past_run(device=card, **long_ago)
    assert past_usage().by_project() == {}
