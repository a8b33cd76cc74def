from __future__ import annotations

import math

import pytest

from jobs.core.expectation import Expectation, Past, last_step_at, quantile

HOUR = 3600.0
TEN_RUNS = Past.of([HOUR * n for n in range(1, 11)])


def test_of_ten_runs_the_fifth_is_usual_and_the_ninth_is_long() -> None:
    assert (TEN_RUNS.count, TEN_RUNS.usual, TEN_RUNS.long) == (10, 5 * HOUR, 9 * HOUR)


def test_without_runs_nobody_can_tell() -> None:
    assert (Past.of([]).count, Expectation(past=Past.of([])).left_after(0)) == (0, math.inf)


@pytest.mark.parametrize(
    ("ran", "left"), [(0, 2 * HOUR), (HOUR, HOUR), (3 * HOUR, 2 * HOUR), (6 * HOUR, 3 * HOUR)]
)
def test_an_owners_estimate_counts_first_then_the_kinds_usual_and_long_times(
    ran: float, left: float
) -> None:
    assert Expectation(est_time=2 * HOUR, past=TEN_RUNS).left_after(ran) == left


def test_without_an_estimate_the_kinds_usual_time_counts() -> None:
    unsaid = Expectation(past=TEN_RUNS)
    assert unsaid.left_after(HOUR) == 4 * HOUR
    assert unsaid.end(0, HOUR, by_progress=None) == 5 * HOUR


def test_what_runs_longer_than_all_that_was_expected_may_take_for_ever() -> None:
    assert Expectation(est_time=HOUR, past=TEN_RUNS).left_after(20 * HOUR) == math.inf


def test_a_time_limit_ends_what_nothing_else_is_known_of() -> None:
    limited = Expectation(time_limit=4 * HOUR)
    assert limited.left_after(0) == 4 * HOUR
    assert limited.end(1000, 2000, by_progress=None) == 1000 + 4 * HOUR


def test_progress_counts_before_the_estimate() -> None:
    known = Expectation(est_time=2 * HOUR)
    assert known.end(0, HOUR, by_progress=5 * HOUR) == 5 * HOUR
    assert known.end(0, HOUR, by_progress=None) == 2 * HOUR


def test_a_last_step_that_is_overdue_says_nothing() -> None:
    assert Expectation(est_time=2 * HOUR).end(0, HOUR, by_progress=0.5 * HOUR) == 2 * HOUR


def test_saved_work_of_earlier_attempts_shortens_the_rest() -> None:
    known = Expectation(est_time=3 * HOUR)
    assert known.end(0, 1, ran_before=HOUR, by_progress=None) == 2 * HOUR


@pytest.mark.parametrize(
    ("progress", "at"),
    [
        ({"eta_s": 60.0, "at": 1000.0}, 1060.0),
        ({"eta_s": 60.0}, None),
        ({"at": 1000.0}, None),
        ({}, None),
        ({"eta_s": None, "at": 1000.0}, None),
    ],
)
def test_the_last_step_is_due_when_progress_says_so(
    progress: dict[str, object], at: float | None
) -> None:
    assert last_step_at(progress) == at


def test_a_quantile_is_one_of_the_values() -> None:
    assert [quantile([3.0, 1.0, 2.0], share) for share in (0.01, 0.5, 0.9, 1.0)] == [1, 2, 3, 3]
