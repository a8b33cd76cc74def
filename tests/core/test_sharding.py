"""Bookings that follow measured use: when they shrink, how they grow, and what is short. Worlds are data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.sharding import (
    Change,
    ShardingRules,
    Share,
    Steady,
    follow,
    is_stable,
    steadied,
    target,
)
from jobs.core.units import GIB, MIB

RULES = ShardingRules(margin=1.1, stable_seconds=600, stable_steps=50)
NOW = 10_000.0


def share(
    booked: float = 40, peak: float | None = 10, *, key: str = "a", charge: float = 0, **fields: Any
) -> Share:
    """A training whose peak has been steady for an hour and 100 steps; sizes in GiB."""
    most = None if peak is None else round(peak * GIB)
    known = {
        "steady": None if most is None else Steady(peak=most, since=NOW - 3600, step=100),
        "step": 200,
        "runs_since": NOW - 7200,
    }
    charged = max(booked, charge, (peak or 0) * 1.03)
    return Share(
        key=key,
        booked=round(booked * GIB),
        charge=round(charged * GIB),
        peak=most,
        **(known | fields),
    )


def only(space: float, *shares: Share) -> Any:
    return follow(round(space * GIB), shares, RULES, NOW)[0]


def test_a_steady_booking_shrinks_to_the_peak_and_the_margin():
    verdict = only(78, share(booked=40, peak=10))
    assert (verdict.change, verdict.memory) == (Change.SHRINK, 11 * GIB)


UNSTEADY = {
    "no peak": {"peak": None},
    "too short by time": {"steady": Steady(peak=10 * GIB, since=NOW - 599, step=100)},
    "too short by steps": {"step": 149},
    "a training that has told no step yet": {"step": None, "tells_steps": True},
    "steps are known only just now": {"steady": Steady(peak=10 * GIB, since=NOW - 3600)},
    "thawed just now": {"runs_since": NOW - 10},
    "it does not run": {"runs_since": None},
    "it has grown since": {"steady": Steady(peak=9 * GIB, since=NOW - 3600, step=100)},
}


@pytest.mark.parametrize("why", UNSTEADY)
def test_what_is_not_steady_keeps_its_booking(why):
    verdict = only(78, share(**UNSTEADY[why]))
    assert (verdict.change, verdict.memory, verdict.short) == (Change.KEEP, 40 * GIB, 0)


def test_a_command_without_steps_must_be_steady_for_three_times_as_long():
    steady = [Steady(peak=10 * GIB, since=NOW - age) for age in (1799, 1800)]
    stable = [is_stable(share(step=None, steady=each), RULES, NOW) for each in steady]
    assert stable == [False, True]


def test_a_gain_that_is_not_worth_it_changes_nothing():
    assert only(78, share(booked=40, peak=35)).change is Change.KEEP
    assert only(78, share(booked=0.4, peak=0.2)).change is Change.KEEP


def test_a_job_that_uses_more_than_it_booked_grows_to_peak_and_margin():
    verdict = only(78, share(booked=10, peak=20))
    assert (verdict.change, verdict.memory, verdict.short) == (Change.GROW, 22 * GIB, 0)


def test_growth_takes_what_there_is_and_no_more():
    verdict = only(21, share(booked=10, peak=20))
    assert (verdict.change, verdict.memory, verdict.short) == (Change.GROW, 21 * GIB, 0)


def test_growth_that_is_too_little_waits_for_more():
    verdict = only(10.1, share(booked=10, peak=20))
    assert (verdict.change, verdict.memory) == (Change.KEEP, 10 * GIB)
    assert verdict.short > 10 * GIB


def test_what_a_job_uses_beyond_the_space_is_short():
    grower, other = share(booked=10, peak=20), share(booked=60, peak=58, key="b")
    verdict = only(75, grower, other)
    assert (verdict.change, verdict.memory) == (Change.GROW, 15 * GIB)
    assert verdict.short == grower.charge - 15 * GIB > 5 * GIB


def test_what_others_give_back_serves_who_grows_in_the_same_look():
    verdicts = follow(50 * GIB, [share(booked=10, peak=20), share(booked=40, key="b")], RULES, NOW)
    assert [each.change for each in verdicts] == [Change.GROW, Change.SHRINK]
    assert [each.memory for each in verdicts] == [22 * GIB, 11 * GIB]


def test_a_frozen_or_leaving_job_is_short_of_nothing():
    verdict = only(5, share(booked=10, peak=20, runs_since=None))
    assert (verdict.change, verdict.short) == (Change.KEEP, 0)


def test_a_peak_that_creeps_is_the_same_until_it_has_crept_far():
    first = steadied(None, 10 * GIB, 100.0, 5)
    assert steadied(first, round(10.1 * GIB), 200.0, 9) == first
    assert steadied(first, round(10.3 * GIB), 200.0, 9) == Steady(
        peak=round(10.3 * GIB), since=200.0, step=9
    )


def test_steps_count_from_the_first_that_is_seen_and_again_after_a_restart():
    first = steadied(None, GIB, 100.0, None)
    seen = steadied(first, GIB, 150.0, 7)
    assert (seen.since, seen.step) == (100.0, 7)
    assert steadied(seen, GIB, 160.0, 3).step == 3


SIZES = st.integers(0, 80 * 1024).map(lambda mib: mib * MIB)


@st.composite
def shares(draw: st.DrawFn) -> list[Share]:
    found = []
    for number in range(draw(st.integers(1, 8))):
        booked, peak = draw(SIZES), draw(st.none() | SIZES)
        steady = None if peak is None else Steady(peak=peak, since=draw(st.floats(0, NOW)), step=1)
        found.append(
            Share(
                key=str(number),
                booked=booked,
                charge=max(booked, round((peak or 0) * 1.03)),
                peak=peak,
                steady=steady,
                step=draw(st.none() | st.integers(0, 200)),
                runs_since=draw(st.none() | st.just(0.0)),
            )
        )
    return found


@given(SIZES, shares())
def test_no_booking_falls_below_what_was_used_and_none_grows_beyond_the_space(space, given_shares):
    verdicts = follow(space, given_shares, RULES, NOW)
    by_key = {each.key: each for each in given_shares}
    after = {each.key: each.memory for each in verdicts}
    assert [each.key for each in verdicts] == [each.key for each in given_shares]
    for verdict in verdicts:
        before = by_key[verdict.key]
        if verdict.change is Change.SHRINK:
            assert (before.peak or 0) < verdict.memory < before.booked
            assert verdict.memory >= target(before.peak or 0, 1.03)
        if verdict.change is Change.GROW:
            assert verdict.memory > before.booked
            assert sum(after.values()) <= space
        if verdict.change is Change.KEEP:
            assert verdict.memory == before.booked


@given(SIZES, shares())
def test_a_second_look_at_the_same_measurements_changes_nothing(space, given_shares):
    verdicts = {each.key: each for each in follow(space, given_shares, RULES, NOW)}
    after = [
        replace(
            each,
            booked=verdicts[each.key].memory,
            charge=max(verdicts[each.key].memory, round((each.peak or 0) * 1.03)),
        )
        for each in given_shares
    ]
    again = follow(space, after, RULES, NOW)
    assert all(each.change is Change.KEEP for each in again)
