"""Worlds that are given in part: cards known one by one, jobs that wait already, estimates, a limit of our own."""

from __future__ import annotations

import math

import pytest

from jobs.core.policies import ShortestFirst
from jobs.core.scheduling.rules import Rules
from jobs.core.simulation import views
from jobs.core.simulation.conditions import Conditions
from jobs.core.simulation.contestants import contestant
from jobs.core.simulation.fleet_spec import GivenCards
from jobs.core.simulation.running import Live
from jobs.core.simulation.shapes import Shape
from jobs.core.simulation.simulator import simulate
from jobs.core.simulation.workload import WorkloadJob
from jobs.core.units import GIB
from tests.builders import a100, rtx4090


def job(name: str, at: float, seconds: float, memory: int = 60, **fields) -> WorkloadJob:
    """A job that leaves room for no second one like it on an A100-80G."""
    return WorkloadJob(id=name, submit=at, duration=seconds, memory=memory * GIB, **fields)


def played(*jobs, policy="default", cards=None, heed=None, **limits):
    decider = contestant(policy, Rules(), **limits)
    return simulate(jobs, GivenCards(views=tuple(cards or [a100()])), decider, heed=heed)


def starts(found) -> dict[str, float | None]:
    return {row.job_id: row.start for row in found.rows}


def test_given_cards_keep_their_own_rules():
    cards = [a100(0, max_holders=1), rtx4090(1, threshold=0.5)]
    found = played(*(job(f"j{at}", at, 100, memory=11) for at in range(4)), cards=cards)
    # Two GiB of each card are for the driver; half of the small one is 12 GiB, so only one more fits there.
    assert starts(found) == {"j0": 0, "j1": 1, "j2": 100, "j3": 101}


def test_a_job_that_was_handed_in_before_the_world_began_comes_when_it_is_said_to():
    found = played(
        job("early", 0, 50, comes=1000),
        job("runs", 500, 100, comes=999),
        job("new", 1001, 10),
    )
    assert starts(found) == {"runs": 999, "early": 1099, "new": 1149}
    assert {row.job_id: row.wait for row in found.rows}["early"] == 1099


def test_a_job_that_wants_its_card_alone_shares_it_with_nobody():
    found = played(
        job("alone", 0, 10, memory=1, exclusive=True), job("b", 1, 10, 1), job("c", 2, 10, 1)
    )
    assert starts(found) == {"alone": 0, "b": 10, "c": 10}


def test_what_owners_expect_orders_a_policy_that_asks_for_it():
    jobs = [
        job("first", 0, 10),
        job("long", 1, 5, est_time=500),
        job("unknown", 2, 5),
        job("short", 3, 5, est_time=60),
    ]
    assert starts(played(*jobs, policy=ShortestFirst())) == {
        "first": 0,
        "short": 10,
        "long": 15,
        "unknown": 20,
    }


@pytest.mark.parametrize(("worked", "left"), [(0, 40), (30, 10), (40, math.inf), (60, math.inf)])
def test_an_estimate_that_was_exceeded_says_nothing_more(worked, left):
    live = Live(job("a", 0, 100, est_time=40), Shape(1, 1, GIB, exclusive=False))
    live.start((), 0)
    live.advance(worked)
    assert views.job(live, Conditions(), worked).expected_run == left
    assert views.run(live, Conditions(), worked).expected_end == worked + left


@pytest.mark.parametrize("policy", ["default", ShortestFirst()])
def test_no_more_jobs_run_than_the_site_lets(policy):
    cards = [a100(0), a100(1)]
    jobs = [job("a", 0, 10), job("b", 0, 10), job("c", 0, 10)]
    assert starts(played(*jobs, policy=policy, cards=cards, max_workers=1))["c"] == 20
    assert starts(played(*jobs, policy=policy, cards=cards))["c"] == 10


def test_whoever_watches_may_end_it():
    seen = []

    class Enough(Exception):
        pass

    def heed(now):
        seen.append(now)
        if now > 5:
            raise Enough

    with pytest.raises(Enough):
        played(job("a", 0, 3), job("b", 4, 10), heed=heed)
    assert seen == [0, 3, 4, 14]
