"""A site's past and its replay, in worlds whose waits can be worked out by hand. Times are seconds from zero."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from jobs.core.policies import ShortestFirst
from jobs.core.replay.alone import seconds_alone
from jobs.core.replay.figures import of_past
from jobs.core.replay.past import PastAttempt, PastJob, Period, Span, spans
from jobs.core.replay.playing import Setting, play
from jobs.core.replay.workload import workload
from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import Limits, ProjectView
from jobs.core.units import GIB
from tests.builders import a100

NOW = 1000.0
SINCE_ZERO = Period(since=0, until=NOW)


def ran(began, ended, *, card="node-a-gpu0", booked=None, **fields) -> PastAttempt:
    booked_at = began if booked is None else booked
    return PastAttempt(booked_at=booked_at, began=began, ended=ended, cards=(card,), **fields)


def job(name, at, *attempts, ended="last", **fields) -> PastJob:
    """A job of 60 GiB, of which an 80 GiB card takes one; ended with its last attempt unless said otherwise."""
    if ended == "last":
        ended = attempts[-1].ended if attempts else at
    known = {"project": "alpha", "user": "ana", "memory": 60 * GIB} | fields
    return PastJob(id=name, submitted_at=at, attempts=attempts, ended_at=ended, **known)


def replay(*past, cards=1, projects=(), period=SINCE_ZERO, **setting):
    replayed = workload(past, period)
    views = {each.slug: each for each in projects}
    on = tuple(a100(index) for index in range(cards))
    return play(replayed, Setting(cards=on, projects=views, **setting))


THREE = (
    job("a", 0, ran(0, 100)),
    job("b", 10, ran(100, 150)),
    job("c", 20, ran(150, 160), project="beta", user="bo"),
)


# --- the same, and other cards ------------------------------------------------------------------------


def test_what_happened_is_counted():
    side = of_past(workload(THREE, SINCE_ZERO))
    assert side.whole.mean_wait_s == pytest.approx((0 + 90 + 130) / 3)
    assert (side.whole.p90_wait_s, side.whole.max_wait_s) == (130, 130)
    assert side.whole.mean_jct_s == pytest.approx((100 + 140 + 140) / 3)
    assert (side.whole.jobs, side.whole.started, side.whole.finished) == (3, 3, 3)
    assert side.makespan_s == 160
    assert side.projects["alpha"].mean_wait_s == 45
    assert side.projects["beta"].mean_wait_s == 130


def test_the_same_cards_and_rules_give_the_same_waits():
    of_one = [replace(each, project="alpha") for each in THREE]
    assert replay(*of_one) == of_past(workload(of_one, SINCE_ZERO))


def test_what_was_really_done_otherwise_shows():
    side = replay(*THREE)
    # By fair share beta, which has had nothing yet, is served before alpha: 100 to 110.
    assert side.projects["beta"].mean_wait_s == 80
    assert side.projects["alpha"].mean_wait_s == (0 + 100) / 2
    assert side.whole.mean_wait_s == 60


def test_what_projects_had_used_before_counts():
    used = ProjectView(slug="beta", usage=1e6)
    assert replay(*THREE, projects=[used]).projects["beta"].mean_wait_s == 130


def test_a_second_card_shortens_the_waits():
    side = replay(*THREE, cards=2)
    # b finds the second card free at 10 and is done at 60; c takes its place.
    assert side.whole.mean_wait_s == pytest.approx((0 + 0 + 40) / 3)
    assert side.projects["beta"].mean_wait_s == 40
    assert side.makespan_s == 100


def test_a_limit_makes_wait_and_what_is_above_it_never_starts():
    pair = [job("a", 0, ran(0, 100)), job("b", 0, ran(0, 50, card="node-a-gpu1"))]
    alpha = ProjectView(slug="alpha", limit=Limits(cards=1))
    assert replay(*pair, cards=2, projects=[alpha]).whole.max_wait_s == 100
    wide = job("wide", 0, ran(0, 100), gpus=2)
    side = replay(wide, *pair, cards=2, projects=[alpha])
    assert (side.whole.jobs, side.whole.started, side.whole.finished) == (3, 2, 2)
    assert side.makespan_s is None


def test_another_policy_may_be_tried_with_what_owners_said():
    jobs = [
        job("first", 0, ran(0, 100)),
        job("long", 1, ran(100, 200), est_time=100),
        job("short", 2, ran(200, 210), est_time=10),
    ]
    assert replay(*jobs).whole.mean_wait_s == pytest.approx((0 + 99 + 198) / 3)
    side = replay(*jobs, policy=ShortestFirst())
    assert side.whole.mean_wait_s == pytest.approx((0 + 98 + 109) / 3)


def test_a_site_limit_on_running_jobs_is_kept():
    pair = [job("a", 0, ran(0, 100)), job("b", 0, ran(0, 50, card="node-a-gpu1"))]
    assert replay(*pair, cards=2, max_workers=1).whole.max_wait_s == 100


def test_preemption_may_be_tried():
    jobs = [
        job("low", 0, ran(0, 400), preemptible=True, project="beta"),
        job("mine", 100, ran(400, 450)),
    ]
    alpha = ProjectView(slug="alpha", guarantee=Limits(cards=1))
    rules = Rules(min_run=0)
    side = replay(*jobs, projects=[alpha], rules=rules, suspend_seconds=20)
    # Ten seconds until the card is free; ten more before the other job works again.
    assert side.projects["alpha"].mean_wait_s == 10
    assert (side.whole.preemptions, side.lost_gpu_s) == (1, 20)
    assert side.makespan_s == 110 + 50 + 10 + 300
    kept = replay(*jobs, projects=[alpha], rules=Rules(preemption=False))
    assert (kept.whole.preemptions, kept.projects["alpha"].mean_wait_s) == (0, 300)


# --- jobs that were there before -----------------------------------------------------------------------


def test_the_replay_begins_with_the_cards_and_the_queue_as_they_were():
    before = [job("runs", -500, ran(-400, 100)), job("waits", -50, ran(100, 120))]
    jobs = [*before, job("new", 10, ran(120, 130))]
    replayed = workload(jobs, SINCE_ZERO)
    assert replayed.counted == {"new"}
    assert [(each.id, each.comes) for each in replayed.jobs] == [
        ("runs", -1),
        ("waits", 0),
        ("new", 10),
    ]
    assert replay(*jobs).whole.mean_wait_s == 110 == of_past(replayed).whole.mean_wait_s


# --- what a job did -----------------------------------------------------------------------------------


def work_of(*past, period=SINCE_ZERO) -> dict[str, float]:
    return {each.id: each.duration for each in workload(past, period).jobs}


def test_frozen_time_is_no_work():
    told = job("a", 0, ran(0, 100), frozen=((20, 50), (90, math.inf)))
    assert [(span.began, span.ended) for span in spans(told, SINCE_ZERO)] == [(0, 20), (50, 90)]
    assert work_of(told) == {"a": 60}


def test_work_that_was_done_again_is_done_once():
    told = job("a", 0, ran(0, 60, lost=20, preempted=True), ran(80, 120))
    assert work_of(told) == {"a": 80}
    side = of_past(workload([told], SINCE_ZERO))
    assert (side.whole.preemptions, side.lost_gpu_s) == (1, 20)


def test_who_still_runs_is_taken_for_done_unless_its_end_is_expected():
    told = [
        job("known", 0, ran(900, None), ended=None, left=300),
        job("unknown", 0, ran(900, None, card="node-a-gpu1"), ended=None),
    ]
    assert work_of(*told) == {"known": 400, "unknown": 100}
    assert workload(told, SINCE_ZERO).unfinished == 1


def test_who_still_waits_has_waited_until_now():
    told = job("waits", 400, ended=None, left=50)
    side = of_past(workload([told], SINCE_ZERO))
    assert (side.whole.mean_wait_s, side.whole.started, side.makespan_s) == (600, 0, None)
    assert work_of(told) == {"waits": 50}


def test_what_cannot_be_replayed_is_counted():
    replayed = workload(
        [
            job("cancelled", 0, ended=50),
            job("launch failed", 0, PastAttempt(booked_at=5, began=None, ended=9, cards=("c",))),
            job("held", 0, ended=None, held=((0, math.inf),)),
            job("who knows", 0, ended=None),
        ],
        SINCE_ZERO,
    )
    assert (replayed.never_ran, replayed.held, replayed.unknown) == (2, 1, 1)
    assert replayed.jobs == ()
    assert of_past(replayed).whole.mean_wait_s is None


def test_who_was_held_comes_when_it_was_released():
    told = job("a", 0, ran(70, 80), held=((0, 60), (75, 78)))
    assert workload([told], SINCE_ZERO).jobs[0].submit == 60
    assert of_past(workload([told], SINCE_ZERO)).whole.mean_wait_s == 10


# --- sharing ------------------------------------------------------------------------------------------


def span(began, ended, demand=0.0, cards=("c",)) -> Span:
    return Span(began=began, ended=ended, cards=cards, demand=demand)


def test_alone_a_job_works_as_long_as_it_ran():
    assert seconds_alone([span(0, 10, 1.0), span(10, 30, 1.0)]) == [10, 20]


def test_two_that_fill_a_card_have_half_of_it_each():
    assert seconds_alone([span(0, 100, 1.0), span(0, 50, 1.0)]) == [
        pytest.approx(50 * 0.49 + 50),
        pytest.approx(50 * 0.49),
    ]


def test_whose_load_nobody_knows_pays_for_switching_only():
    assert seconds_alone([span(0, 100), span(0, 100, 1.0)]) == [pytest.approx(98)] * 2


def test_a_gang_works_at_the_speed_of_its_slowest_card():
    found = seconds_alone([span(0, 100, 0.5, ("c", "d")), span(0, 100, 1.5, ("d",))])
    assert found[0] == pytest.approx(100 * 0.98 / 2)


def test_a_span_of_no_length_is_no_work():
    assert seconds_alone([span(5, 5), span(0, 10)]) == [0, 10]


def test_jobs_that_shared_a_card_take_as_long_again():
    shared = [
        job("a", 0, ran(0, 300, demand=0.8), memory=8 * GIB),
        job("b", 10, ran(10, 200, demand=0.6), memory=8 * GIB),
        job("c", 20, ran(20, 90, demand=0.4), memory=8 * GIB),
    ]
    assert replay(*shared).whole.mean_jct_s == pytest.approx((300 + 190 + 70) / 3)


# --- what the scheduler may know ----------------------------------------------------------------------


def test_a_kind_is_known_as_soon_as_one_of_it_has_succeeded():
    told = [
        job("a", 0, ran(0, 30), succeeded=True, template="k"),
        job("early", 20, ran(30, 40), template="k"),
        job("late", 50, ran(50, 60), template="k"),
        job("said", 50, ran(60, 70), template="k", est_time=7),
        job("other", 50, ran(70, 80), template="other"),
    ]
    known = {each.id: each.est_time for each in workload(told, SINCE_ZERO).jobs}
    inf = math.inf
    assert known == {"a": inf, "early": inf, "late": 30, "said": 7, "other": inf}


def test_of_an_estimate_what_had_run_before_the_period_is_over():
    told = job("a", -100, ran(-60, 40), est_time=90)
    found = workload([told], SINCE_ZERO).jobs[0]
    assert (found.est_time, found.duration) == (30, 41)
