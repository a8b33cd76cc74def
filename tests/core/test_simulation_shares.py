"""Whether shares come out as weights say: the meter by hand, the production scheduler over half-lives."""

from __future__ import annotations

import pytest

from jobs.core.scheduling.rules import Rules
from jobs.core.simulation.conditions import Conditions
from jobs.core.simulation.contestants import contestant
from jobs.core.simulation.fleet_spec import parse_fleet
from jobs.core.simulation.shares import ShareMeter
from jobs.core.simulation.simulator import simulate
from jobs.core.simulation.workload import WorkloadJob
from jobs.core.snapshot import Limits, ProjectView

HOUR = 3600.0
WEIGHTS = {"a": 3.0, "b": 1.0}


def test_only_time_in_which_both_wait_counts():
    meter = ShareMeter(WEIGHTS.__getitem__)
    meter.wait("a", 1)
    meter.hold("b", 8)
    meter.pass_time(1000)  # `b` does not wait: it is not short of anything
    meter.wait("b", 2)
    meter.hold("a", 5)
    meter.hold("b", -5)
    meter.pass_time(10)
    meter.wait("a", -1)
    meter.pass_time(1000)
    assert meter.shares() == {"a": (5 / 8, 0.75), "b": (3 / 8, 0.25)}
    assert meter.error() == pytest.approx(0.5)  # `b` got half as much again as its due


def test_projects_that_never_compete_have_no_error():
    meter = ShareMeter(WEIGHTS.__getitem__)
    meter.pass_time(10)
    meter.wait("a", 1)
    meter.hold("a", 1)
    meter.pass_time(10)
    assert (meter.error(), meter.shares()) == (None, {})


def test_a_third_project_that_waits_only_sometimes_does_not_spoil_the_measure():
    meter = ShareMeter(lambda _project: 1.0)
    meter.wait("a", 1)
    meter.wait("b", 1)
    meter.hold("a", 2)
    meter.hold("b", 2)
    meter.pass_time(100)
    meter.wait("c", 1)
    meter.pass_time(10)
    assert meter.error() == 0


def saturated(seconds: dict[str, float], gpus: dict[str, int]) -> list[WorkloadJob]:
    """Two projects that keep eight cards busy for a little more than five half-lives of four hours."""
    work = {"a": 0.75 * 1.1 * 8 * 5 * 4 * HOUR, "b": 0.25 * 1.6 * 8 * 5 * 4 * HOUR}  # GPU-seconds
    return [
        WorkloadJob(
            id=f"{name}{number}",
            submit=0,
            duration=seconds[name],
            gpus=gpus[name],
            project=name,
            preemptible=True,
        )
        for name in ("a", "b")
        for number in range(int(work[name] / (seconds[name] * gpus[name])))
    ]


@pytest.mark.parametrize(
    ("seconds", "gpus"),
    [
        ({"a": 900, "b": 900}, {"a": 1, "b": 1}),
        ({"a": 900, "b": 2700}, {"a": 1, "b": 1}),
        ({"a": 1800, "b": 600}, {"a": 1, "b": 1}),
        ({"a": 900, "b": 900}, {"a": 1, "b": 4}),
        ({"a": 900, "b": 1800}, {"a": 4, "b": 1}),
    ],
)
def test_two_saturated_projects_get_three_to_one(seconds, gpus):
    rules = Rules(half_life=4 * HOUR, min_run=600)
    found = simulate(
        saturated(seconds, gpus),
        parse_fleet("1x8xV100-32G"),
        contestant("default", rules),
        Conditions(weights=WEIGHTS),
    )
    assert found.figures.makespan_s > 5 * 4 * HOUR
    assert found.figures.share_error < 0.05


def test_a_project_that_comes_back_has_its_guarantee_within_the_minimum_run_and_a_suspend():
    borrowed = [
        WorkloadJob(id=f"b{number}", submit=0, duration=10 * HOUR, project="b", preemptible=True)
        for number in range(16)
    ]
    back = [
        WorkloadJob(id=f"a{number}", submit=100, duration=HOUR, project="a") for number in range(4)
    ]
    guaranteed = {name: ProjectView(slug=name, guarantee=Limits(cards=4)) for name in ("a", "b")}
    found = simulate(
        borrowed + back,
        parse_fleet("1x8xV100-32G"),
        contestant("default", Rules(min_run=1800, service_levels=())),
        Conditions(projects=guaranteed, suspend_seconds=120),
    )
    waits = [row.wait for row in found.rows if row.project == "a"]
    assert max(waits) <= 1800 + 120
    assert sum(row.preemptions for row in found.rows) == 4
