"""Expected starts: the plan run forward on what is known of how long jobs run."""

from __future__ import annotations

import itertools
import math

import pytest

from jobs.core.scheduling.forecast import EARLY, LATE, forecast
from tests.builders import NOW, a100, job, queue_of, run, world

FULL = a100(booked="60G")


def expected(snapshot, *wanted, **more):
    """Seconds from now: likely, earliest, latest; by job."""
    found = forecast(snapshot, wanted or [each.id for each in snapshot.queued], **more)
    return {
        name: tuple(round(at - NOW, 3) for at in (each.at, each.earliest, each.latest))
        for name, each in found.items()
    }


def occupied(*queued, ends=600.0):
    return world([FULL], queue_of(*queued), running=[run("holder", "60G", ends=ends)])


def test_a_job_starts_when_the_one_in_its_way_ends_and_the_range_is_that_of_its_remaining_time():
    assert expected(occupied(job("waits", "70G"))) == {"waits": (600, 600 * EARLY, 600 * LATE)}


def test_a_job_that_starts_at_once_is_expected_now():
    assert expected(world([a100()], [job("first")])) == {"first": (0, 0, 0)}


def test_jobs_behind_one_another_add_their_run_times():
    found = expected(occupied(job("a", "70G", est_time=1000.0), job("b", "70G", est_time=50.0)))
    assert found["b"] == (1600, 1600 * EARLY, 1600 * LATE)


def test_nothing_is_told_of_a_job_behind_one_of_unknown_length():
    found = expected(occupied(job("a", "70G"), job("b", "70G")))
    assert set(found) == {"a"}


def test_nothing_is_told_where_nobody_knows_how_long_the_running_job_takes():
    assert expected(occupied(job("waits", "70G"), ends=math.inf)) == {}


def test_a_job_that_should_have_ended_already_is_expected_to_end_now():
    assert expected(occupied(job("waits", "70G"), ends=-60.0)) == {"waits": (0, 0, 0)}


def test_only_what_is_wanted_is_told():
    assert set(expected(occupied(job("a", "70G", est_time=9.0), job("b", "70G")), "b")) == {"b"}


def test_the_policys_order_is_the_one_that_is_played():
    snapshot = occupied(job("a", "70G", est_time=100.0), job("b", "70G", est_time=100.0))
    found = expected(snapshot, ranks={"b": 0, "a": 1})
    assert (found["b"][0], found["a"][0]) == (600, 700)


def test_a_forecast_that_is_stopped_tells_what_it_has_seen_by_then():
    queued = [job(f"j{n}", "70G", est_time=100.0) for n in range(20)]
    steps = itertools.count()
    found = expected(occupied(*queued), go_on=lambda: next(steps) < 5)
    assert 0 < len(found) < 20
    assert found["j0"] == (600, 600 * EARLY, 600 * LATE)


@pytest.mark.parametrize("jobs", [50, 400])
def test_many_ends_close_together_are_taken_in_few_steps_and_cost_little_precision(jobs):
    cards = [a100(n, booked="60G") for n in range(jobs)]
    running = [run(f"r{n}", "60G", [f"node-a-gpu{n}"], ends=3600.0 + n) for n in range(jobs)]
    steps = itertools.count()
    queued = [job("last", "70G", gpus=1, exclusive=True, gpu_type="A100")]
    snapshot = world(cards, queued, running=running)
    found = expected(snapshot, go_on=lambda: next(steps) < 1000)
    assert found["last"][0] == pytest.approx(3600, rel=0.02)
    assert next(steps) < 20
