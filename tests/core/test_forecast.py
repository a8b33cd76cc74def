"""Expected starts: the plan run forward on what is known of how long jobs run."""

from __future__ import annotations

import itertools
import math

import pytest

from jobs.core.scheduling.forecast import EARLY, LATE, forecast
from jobs.core.scheduling.rules import Rules
from jobs.core.states import Priority
from tests.builders import NOW, a100, evolve, job, queue_of, run, world

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


# --- who gives way -----------------------------------------------------------------------------------


def displaced(**fields):
    """A job of low priority on the only card, and one of high priority that takes its place."""
    low = run("low", "60G", priority=Priority.LOW, preemptible=True, suspend_seconds=60.0, **fields)
    high = job("high", "60G", Priority.HIGH, est_time=1000.0)
    return world([FULL], [high, job("next", "60G", Priority.LOW)], running=[low])


def test_a_job_for_which_another_gives_way_starts_when_that_has_been_suspended():
    assert expected(displaced())["high"] == (60, 60, 60)


def test_who_gave_way_runs_what_it_has_left_before_who_comes_after_it():
    """It was handed in first. 600 s are left of it, whatever its owner once said."""
    found = expected(displaced(ends=600.0, est_time=90_000.0))
    assert found["next"][0] == pytest.approx(60 + 1000 + 600)


def test_who_gave_way_has_as_much_left_in_a_slow_course_as_in_a_quick_one():
    found = expected(displaced(ends=600.0))
    early, late = (60 + 1600 * factor for factor in (EARLY, LATE))
    assert found["next"] == (1660, pytest.approx(early), pytest.approx(late))


def test_who_is_on_its_way_out_for_another_comes_back():
    low = run("low", "60G", ends=600.0, leaving_for="high", suspend_seconds=30.0)
    high = job("high", "60G", est_time=100.0)
    last = job("last", "60G", Priority.LOW)
    found = expected(world([FULL], [high, last], running=[low]))
    assert (found["high"][0], found["last"][0]) == (30, 30 + 100 + 600)


def test_who_has_been_stopped_does_not_come_back():
    stopped = evolve(run("stopped", "60G", ends=600.0, suspend_seconds=30.0), leaving=True)
    found = expected(
        world([FULL], queue_of(job("a", "60G", est_time=100.0), job("b", "60G")), running=[stopped])
    )
    assert (found["a"][0], found["b"][0]) == (30, 130)


def test_nobody_gives_way_in_a_forecast_more_often_than_it_may():
    """What it has had, and how often it has given way, counts on: two equal jobs do not take turns for ever."""
    equal = [job(f"j{at}", "60G", preemptible=True, est_time=20_000.0) for at in range(2)]
    levels = tuple(600.0 * at for at in range(1, 200))
    rules = Rules(min_run=60.0, service_levels=levels, level_delay=0.0)
    steps = itertools.count()
    queued = queue_of(*equal, job("last", "70G", Priority.LOW))
    found = expected(world([a100()], queued, rules=rules), go_on=lambda: next(steps) < 999)
    assert found["last"][0] == pytest.approx(40_000 + 60 * rules.most_preemptions * 2, rel=0.02)


def test_jobs_that_wait_out_a_back_off_are_expected_when_it_is_over():
    assert expected(world([a100()], [job("later", not_before=NOW + 90)]))["later"][0] == 90


def test_a_job_that_may_never_start_gets_no_time():
    assert expected(world([a100()], [job("giant", "600G")])) == {}


def test_what_lies_further_than_a_month_ahead_gets_no_time():
    assert expected(occupied(job("waits", "70G"), ends=31 * 24 * 3600.0)) == {}


def test_a_forecast_changes_nothing_that_it_was_given():
    snapshot = displaced(ends=600.0)
    assert forecast(snapshot, ["high"]) == forecast(snapshot, ["high"])
