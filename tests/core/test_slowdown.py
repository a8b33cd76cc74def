"""How fast jobs work that share a card: every value here is worked out by hand.

Of k jobs with demands that add up to U: min(1, (1 + overlap (1 - 1/k)) / U) x (1 - 0.02 (k - 1)).
"""

from __future__ import annotations

import pytest

from jobs.core.scheduling.rules import Rules
from jobs.core.simulation.conditions import Conditions
from jobs.core.simulation.contestants import contestant
from jobs.core.simulation.fleet_spec import parse_fleet
from jobs.core.simulation.simulator import simulate
from jobs.core.simulation.slowdown import busy, speed
from jobs.core.simulation.workload import WorkloadJob
from jobs.core.units import GIB


@pytest.mark.parametrize("overlap", [0.0, 0.28])
@pytest.mark.parametrize("demands", [[], [0.3], [1.0]])
def test_who_is_alone_works_at_full_speed(demands, overlap):
    assert speed(demands, overlap) == 1.0


@pytest.mark.parametrize(
    ("demands", "expected"),
    [
        ([0.5, 0.5], 0.98),
        ([0.2, 0.2, 0.2], 0.96),
        ([0.0, 0.0], 0.98),
        ([0.25, 0.25, 0.25, 0.25], 0.94),
    ],
)
def test_jobs_that_leave_each_other_room_only_pay_for_switching(demands, expected):
    assert speed(demands) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("demands", "expected"),
    [
        ([1.0, 1.0], 0.49),  # 1/2 x 0.98
        ([0.2, 0.6, 0.7], 0.64),  # 1/1.5 x 0.96
        ([0.4, 0.4, 0.4, 0.4], 0.5875),  # 1/1.6 x 0.94
    ],
)
def test_without_overlap_jobs_share_what_one_card_computes(demands, expected):
    assert speed(demands, 0.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("demands", "overlap", "expected"),
    [
        ([1.0, 1.0], 0.28, 0.5586),  # 1.14/2 x 0.98
        ([0.2, 0.6, 0.7], 0.3, 0.768),  # 1.2/1.5 x 0.96
        ([0.4, 0.4, 0.4, 0.4], 0.28, 0.710875),  # 1.21/1.6 x 0.94
        ([0.3] * 6, 0.28, 37 / 60),  # (37/30)/1.8 x 0.9
    ],
)
def test_overlap_adds_to_what_the_card_computes(demands, overlap, expected):
    assert speed(demands, overlap) == pytest.approx(expected)


def test_overlap_makes_nobody_faster_than_alone():
    assert speed([0.5, 0.6], 0.28) == pytest.approx(0.98)  # 1.14/1.1 is more than one


def test_all_on_a_card_are_equally_slow_whatever_each_demands():
    # 1.2 of demand: the small job is slowed down as much as the large one
    assert speed([0.2, 1.0]) == speed([0.6, 0.6]) == pytest.approx(0.98 / 1.2)


def test_switching_never_turns_work_back():
    assert speed([0.01] * 51) == speed([0.01] * 60) == 0.0


def test_a_card_is_busy_with_what_is_demanded_and_no_more_than_wholly():
    assert busy([]) == 0.0
    assert busy([0.2, 0.3]) == pytest.approx(0.5)
    assert busy([0.8, 0.9]) == 1.0


def ends(*jobs: WorkloadJob, overlap: float) -> dict[str, float | None]:
    world = Conditions(mode="dynamic-sharding", overlap=overlap)
    found = simulate(jobs, parse_fleet("1x1xA100-80G"), contestant("default", Rules()), world)
    return {row.job_id: row.end for row in found.rows}


def job(name: str, at: float, seconds: float, demand: float | None) -> WorkloadJob:
    return WorkloadJob(id=name, submit=at, duration=seconds, memory=8 * GIB, sm_share=demand)


def test_a_simulated_job_slows_down_while_another_shares_its_card():
    # from 51 on both work at 0.49; 24.5 s of work take 50 s, and leave the first 24.5 s to do alone
    found = ends(job("first", 0, 100, None), job("second", 51, 24.5, None), overlap=0.0)
    assert found == {"first": pytest.approx(125.5), "second": pytest.approx(101)}


def test_a_simulated_pair_gains_by_overlap():
    # 1.14/1.5 x 0.98 = 0.7448 each
    found = ends(job("a", 0, 74.48, 0.75), job("b", 0, 74.48, 0.75), overlap=0.28)
    assert found == {"a": pytest.approx(100), "b": pytest.approx(100)}
