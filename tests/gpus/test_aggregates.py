"""Periods of readings: whole, written again as they grow, and taken up where a restart left them."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpus.aggregates import PERIODS, Aggregates, Period, Summary

START = 1_800_000_000  # a full hour


class Store:
    """Rows as a database keeps them: one for each thing and period."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, Period], Summary] = {}

    def load(self, period: Period):
        return [
            (
                key,
                Summary.resumed(
                    row.samples, {"used": row.mean("used")}, {"used": row.highest("used")}
                ),
            )
            for (key, stored), row in self.rows.items()
            if stored == period
        ]

    def sampler(self) -> Aggregates[str]:
        return Aggregates(self.load)

    def write(self, rows: dict[tuple[str, Period], Summary]) -> None:
        self.rows |= copy.deepcopy(rows)

    def of(self, seconds: int, start: int, key: str = "card") -> Summary:
        return self.rows[key, Period(seconds, start)]


def feed(store: Store, sampler: Aggregates[str], times: range, used: float | None = 5.0) -> None:
    for now in times:
        store.write(sampler.add(now, {"card": {"used": used}}))


def test_a_finished_period_has_all_its_samples():
    store = Store()
    sampler = store.sampler()
    for second in range(20):
        store.write(sampler.add(START + second, {"card": {"used": float(second)}}))

    row = store.of(10, START)
    assert (row.samples, row.mean("used"), row.highest("used")) == (10, 4.5, 9.0)


def test_nothing_is_to_be_written_within_a_period():
    sampler = Store().sampler()

    assert [sampler.add(START + second, {"card": {"used": 1.0}}) for second in range(10)] == [
        {}
    ] * 10


def test_longer_periods_are_written_as_they_grow():
    store = Store()
    feed(store, store.sampler(), range(START, START + 31))

    assert [store.of(seconds, START).samples for seconds in (60, 3600)] == [31, 31]


def test_a_summary_that_has_not_changed_is_not_written_again():
    sampler = Store().sampler()
    sampler.add(START, {"ended": {"used": 1.0}})
    assert len(sampler.add(START + 10, {"card": {"used": 1.0}})) == 3

    assert {key for key, _ in sampler.add(START + 20, {"card": {"used": 1.0}})} == {"card"}


def test_after_a_restart_the_stored_periods_go_on():
    store = Store()
    first = store.sampler()
    feed(store, first, range(START, START + 25), used=2.0)
    store.write(first.rows())

    feed(store, store.sampler(), range(START + 25, START + 61), used=4.0)

    assert (store.of(10, START + 20).samples, store.of(10, START + 20).mean("used")) == (10, 3.0)
    minute = store.of(60, START)
    assert (minute.samples, minute.highest("used")) == (60, 4.0)
    assert minute.mean("used") == pytest.approx((25 * 2.0 + 35 * 4.0) / 60)


def test_killed_without_warning_it_loses_ten_seconds_at_most():
    store = Store()
    feed(store, store.sampler(), range(START, START + 25))

    feed(store, store.sampler(), range(START + 25, START + 61))

    assert store.of(60, START).samples >= 60 - PERIODS[0]


def test_writing_the_same_rows_twice_changes_nothing():
    store = Store()
    sampler = store.sampler()
    feed(store, sampler, range(START, START + 15))
    rows = dict(store.rows)
    store.write(rows)

    assert store.rows == rows


def test_a_clock_that_is_set_back_does_not_overwrite_what_is_stored():
    store = Store()
    sampler = store.sampler()
    feed(store, sampler, range(START, START + 30))

    feed(store, sampler, range(START, START + 11))

    assert store.of(10, START).samples == 20


def test_a_value_that_is_never_told_has_no_mean():
    store = Store()
    feed(store, store.sampler(), range(START, START + 11), used=None)

    row = store.of(10, START)
    assert (row.samples, row.mean("used"), row.highest("used")) == (10, None, None)


@given(st.lists(st.none() | st.integers(0, 1000), min_size=1, max_size=40))
def test_a_mean_lies_between_the_values_that_were_told(values):
    summary = Summary()
    for value in values:
        summary.add({"used": value})

    told = [value for value in values if value is not None]
    assert summary.samples == len(values)
    if told:
        assert min(told) <= summary.mean("used") <= max(told) == summary.highest("used")
