"""Whether a packing pays: step rates alone and together, over whole windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.packing import Paces, Rate, is_lossy, total
from jobs.core.simulation.slowdown import demand_of, speed

WINDOW = 600.0


def watched(paces: Paces, job: str, beside: list[str], *, since: float, rate: float) -> float:
    """See a job make steps at this rate for a window; when that ends."""
    for second in range(0, int(WINDOW) + 1, 30):
        paces.see(job, beside, since + second, int((since + second) * rate))
    return since + WINDOW


def test_a_rate_is_told_after_a_whole_window_with_the_same_neighbours():
    paces = Paces(WINDOW)
    for second in range(0, 600, 60):
        paces.see("a", [], float(second), second)
        assert paces.rate("a") is None
    paces.see("a", [], 600.0, 600)
    assert paces.rate("a") == pytest.approx(1.0)
    paces.see("a", ["b"], 660.0, 630)
    assert paces.rate("a") is None, "beside somebody else a new window begins"


def test_only_the_last_window_counts():
    paces = Paces(WINDOW)
    for number in range(61):
        at = number * 60.0
        paces.see("a", [], at, int(min(at, 1800) + max(0.0, at - 1800) / 2))
    assert paces.rate("a") == pytest.approx(0.5)


def test_too_few_steps_tell_nothing():
    paces = Paces(WINDOW)
    for at in (0.0, 400.0, 800.0):
        paces.see("a", [], at, int(at))
    assert paces.rate("a") is None


def test_a_training_that_goes_on_from_a_checkpoint_begins_a_new_window():
    paces = Paces(WINDOW)
    end = watched(paces, "a", [], since=0.0, rate=1.0)
    paces.see("a", [], end + 30, 10)
    assert paces.rate("a") is None


def test_who_does_not_compute_is_forgotten():
    paces = Paces(WINDOW)
    watched(paces, "a", [], since=0.0, rate=1.0)
    paces.keep_only({"b"})
    assert paces.rate("a") is None


@pytest.mark.parametrize(
    ("rates", "lossy"),
    [
        ([(1.0, 0.7), (2.0, 1.2)], False),  # 1.3 jobs' worth
        ([(1.0, 0.5), (2.0, 1.0)], False),  # they take turns, and lose nothing
        ([(1.0, 0.48), (2.0, 0.96)], False),  # 0.96: noise
        ([(1.0, 0.4), (2.0, 1.0)], True),  # 0.9
        ([(1.0, 0.9)], False),  # nobody is packed
        ([(1.0, 0.3), (1.0, 0.3), (1.0, 0.3)], True),
    ],
)
def test_a_packing_is_lossy_where_less_is_done_than_by_one_alone(rates, lossy):
    assert is_lossy([Rate(*each) for each in rates]) is lossy


def test_rates_add_up_in_jobs_alone():
    assert total([Rate(2.0, 1.0), Rate(4.0, 3.0)]) == pytest.approx(1.25)


@given(st.integers(2, 6), st.floats(0.3, 1.0))
def test_the_demand_that_explains_a_slowdown_is_the_one_that_causes_it(jobs, demand):
    slowed = speed([demand] * jobs)
    found = demand_of([slowed] * jobs)
    undisturbed = demand * jobs <= 1.0
    assert found == 0.0 if undisturbed else found == pytest.approx(demand)


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6))
def test_what_does_not_pay_is_not_packed_again_under_the_cap(speeds):
    if sum(speeds) < 0.95:
        assert 2 * demand_of(speeds) > 1.6
