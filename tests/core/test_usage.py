"""What projects and people have used: older usage counts less, and what starts is charged before it is used."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.core.scheduling.usage import UsageBooks, charge_rate
from tests.builders import NOW, a100, run

HOUR = 3600.0
HALF_LIFE = 4 * HOUR
ENTRY = HOUR / 2
SCALE = HALF_LIFE / math.log(2)  # seconds of full use that an account shows in the long run


def books(*, entry: float = ENTRY) -> UsageBooks:
    return UsageBooks(HALF_LIFE, entry)


def decayed(rate: float, begin: float, end: float, now: float) -> float:
    """What ran from `begin` to `end`, by its definition: the integral of rate x 2^(-age / half-life)."""
    return rate * SCALE * (2 ** ((end - now) / HALF_LIFE) - 2 ** ((begin - now) / HALF_LIFE))


def started(usage: UsageBooks, name: str = "job", *, rate: float = 1.0, since: float = 0.0) -> None:
    """A job of ana in the project "default" that runs since so many seconds from now."""
    usage.start(run(name, since=since), rate, NOW)


# --- decay -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("half_lives", "left"), [(0, 1), (1, 0.5), (2, 0.25), (10, 2**-10)])
def test_what_ended_counts_half_after_each_half_life(half_lives, left):
    usage = books()
    usage.set_ended("default", 1000.0, {"ana": 600.0}, NOW)
    later = NOW + half_lives * HALF_LIFE
    assert usage.of_project("default", later) == pytest.approx(1000 * left)
    assert usage.of_user("default", "ana", later) == pytest.approx(600 * left)


def test_a_project_of_which_nothing_is_known_has_used_nothing():
    assert (books().of_project("new", NOW), books().of_user("new", "ana", NOW)) == (0, 0)


def test_one_who_uses_a_whole_card_for_ever_comes_to_full_use():
    usage = books(entry=0.0)
    started(usage, since=-100 * HALF_LIFE)
    assert usage.of_project("default", NOW) == pytest.approx(usage.full_use(1.0))


def test_a_running_job_counts_for_its_project_and_its_owner():
    usage = books(entry=0.0)
    started(usage, rate=2.0, since=-HOUR)
    expected = decayed(2.0, NOW - HOUR, NOW + HOUR, NOW + HOUR)
    assert usage.of_project("default", NOW + HOUR) == pytest.approx(expected)
    assert usage.of_user("default", "ana", NOW + HOUR) == pytest.approx(expected)
    assert usage.of_user("default", "bo", NOW + HOUR) == 0


def test_two_projects_never_change_their_order_with_time_alone():
    usage = books()
    usage.set_ended("early", 100.0, {}, NOW)
    usage.set_ended("late", 60.0, {}, NOW + HALF_LIFE)
    for half_lives in (1, 5, 50, 390):
        now = NOW + half_lives * HALF_LIFE
        assert usage.of_project("early", now) < usage.of_project("late", now)


# --- the entry penalty -------------------------------------------------------------------------------


def test_a_start_is_charged_at_once_for_all_that_it_may_not_be_preempted():
    usage = books()
    started(usage, rate=3.0)
    assert usage.of_project("default", NOW) == pytest.approx(
        decayed(3.0, NOW, NOW + ENTRY, NOW), rel=1e-6
    )


def test_the_penalty_becomes_what_was_really_used_without_a_jump():
    usage = books()
    started(usage)
    before = usage.of_project("default", NOW + ENTRY)
    usage.advance(NOW + ENTRY)
    assert usage.of_project("default", NOW + ENTRY) == pytest.approx(before)
    later = NOW + 3 * ENTRY
    usage.advance(later)
    assert usage.of_project("default", later) == pytest.approx(decayed(1.0, NOW, later, later))


def test_a_job_that_is_seen_late_is_charged_for_what_it_has_run_already():
    usage = books()
    started(usage, since=-2 * HOUR)
    assert usage.of_project("default", NOW) == pytest.approx(decayed(1.0, NOW - 2 * HOUR, NOW, NOW))


def test_a_job_that_ends_early_gives_the_rest_of_its_penalty_back():
    usage = books()
    started(usage)
    usage.stop("job", at=NOW + 60)
    assert usage.of_project("default", NOW + 60) == pytest.approx(
        decayed(1.0, NOW, NOW + 60, NOW + 60)
    )


def test_a_job_that_was_stopped_and_started_again_in_its_first_minutes_is_charged_for_the_new_start():
    usage = books()
    started(usage)
    usage.stop("job")
    started(usage, since=120.0)
    usage.advance(NOW + ENTRY)  # when the first start would have been used up
    now = NOW + ENTRY
    assert usage.of_project("default", now) == pytest.approx(
        decayed(1.0, NOW + 120, NOW + 120 + ENTRY, now)
    )


# --- the end -----------------------------------------------------------------------------------------


def test_a_job_that_is_stopped_without_an_instant_leaves_nothing_to_count_twice():
    """Who measures counts it himself, and tells the sum by `set_ended`."""
    usage = books()
    started(usage, since=-2 * HOUR)
    usage.stop("job")
    assert usage.of_project("default", NOW) == 0


def test_a_job_that_is_stopped_with_an_instant_is_counted_until_then_and_no_further():
    usage = books()
    started(usage, rate=2.0, since=-2 * HOUR)
    usage.stop("job", at=NOW)
    for now in (NOW, NOW + HALF_LIFE):
        assert usage.of_project("default", now) == pytest.approx(
            decayed(2.0, NOW - 2 * HOUR, NOW, now)
        )


def test_a_job_that_never_ran_can_be_stopped():
    usage = books()
    usage.stop("nobody", at=NOW)
    assert usage.of_project("default", NOW) == 0


def test_a_job_told_twice_is_charged_once():
    usage = books(entry=0.0)
    started(usage, rate=1.0, since=-HOUR)
    started(usage, rate=5.0, since=-HOUR)
    assert usage.of_project("default", NOW) == pytest.approx(decayed(5.0, NOW - HOUR, NOW, NOW))


def test_a_person_who_is_named_no_more_has_used_nothing():
    usage = books()
    usage.set_ended("default", 100.0, {"ana": 60.0, "bo": 40.0}, NOW)
    usage.set_ended("default", 60.0, {"ana": 60.0}, NOW)
    assert usage.of_user("default", "bo", NOW) == 0
    assert usage.of_user("default", "ana", NOW) == pytest.approx(60.0)


# --- large numbers -----------------------------------------------------------------------------------


def test_after_four_hundred_half_lives_the_numbers_start_small_again_and_mean_the_same():
    usage = books()
    started(usage, "old", rate=1.0)
    usage.advance(NOW + ENTRY)
    now = NOW + 401 * HALF_LIFE
    usage.start(run("new", since=now - NOW), 2.0, now)
    usage.set_ended("other", 50.0, {}, now)
    expected = usage.full_use(1.0) + decayed(2.0, now, now + ENTRY, now)
    assert usage.of_project("default", now) == pytest.approx(expected)
    assert usage.of_project("other", now) == pytest.approx(50.0)


def test_a_question_after_a_long_silence_gets_a_sober_answer():
    usage = books()
    usage.set_ended("default", 1000.0, {"ana": 1000.0}, NOW)
    started(usage)
    now = NOW + 500 * HALF_LIFE
    assert usage.of_project("default", now) == pytest.approx(0.0, abs=1e-6)
    assert usage.of_user("default", "ana", now) == pytest.approx(0.0, abs=1e-6)


def test_a_start_at_the_end_of_a_long_silence_is_charged_once():
    usage = books()
    usage.set_ended("default", 0.0, {}, NOW)
    late = 400 * HALF_LIFE - ENTRY / 2  # its minimum run ends beyond the four hundred
    usage.start(run("late", since=late), 1.0, NOW + late)
    assert usage.of_project("default", NOW + late) == pytest.approx(
        decayed(1.0, NOW, NOW + ENTRY, NOW), rel=1e-6
    )


def test_a_question_about_the_time_before_all_usage_is_answered_with_nothing():
    usage = books()
    usage.set_ended("default", 1000.0, {}, NOW)
    assert usage.of_project("default", 0.0) == 0


def test_a_hundred_thousand_events_leave_what_the_running_jobs_have_used():
    """Nothing drifts: the books are sums, changed one by one, and must come out as one sum over all jobs."""
    dice, usage = Random(7), books()
    now, running, ended = NOW, {}, []
    for number in range(100_000):
        now += dice.expovariate(1 / 60.0)
        usage.advance(now)
        if running and dice.random() < 0.5:
            name = dice.choice(list(running)) if number % 100 == 0 else next(iter(running))
            rate, begun = running.pop(name)
            usage.stop(name, at=now)
            ended.append((rate, begun, now))
        else:
            name = f"job-{number}"
            running[name] = rate, begun = dice.uniform(0.1, 8.0), now
            usage.start(run(name, since=begun - NOW), rate, now)
    now += ENTRY
    usage.advance(now)
    parts = [*ended, *((rate, begun, now) for rate, begun in running.values())]
    whole = math.fsum(decayed(rate, begun, end, now) for rate, begun, end in parts)
    assert usage.of_project("default", now) == pytest.approx(whole, rel=1e-6)


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_usage_is_what_its_definition_says_whatever_starts_and_ends(seed):
    dice, usage = Random(seed), books()
    now = NOW
    jobs: dict[str, tuple[float, float, float | None]] = {}  # rate, begin, end
    for number in range(dice.randint(1, 30)):
        now += dice.choice([0.0, 10.0, 900.0, 5000.0, 90_000.0])
        usage.advance(now)
        running = [name for name, (_rate, _begun, end) in jobs.items() if end is None]
        if running and dice.random() < 0.4:
            name = dice.choice(running)
            usage.stop(name, at=now)
            jobs[name] = (*jobs[name][:2], now)
        else:
            jobs[f"job-{number}"] = (dice.choice([0.25, 1.0, 8.0]), now, None)
            usage.start(run(f"job-{number}", since=now - NOW), jobs[f"job-{number}"][0], now)
    expected = math.fsum(
        decayed(rate, begun, end or max(now, begun + ENTRY), now)
        for rate, begun, end in jobs.values()
    )
    assert usage.of_project("default", now) == pytest.approx(expected, rel=1e-6)
    assert usage.of_user("default", "ana", now) == pytest.approx(expected, rel=1e-6)


# --- what a second costs -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory", "sm_share", "weight", "rate"),
    [
        ("20G", 0.0, 1.0, 0.25),  # a quarter of the card
        ("20G", 0.5, 1.0, 0.5),  # it computes half of the time: the larger share counts
        ("40G", 0.1, 2.0, 1.0),  # of a card that costs twice as much
        ("0", 0.0, 1.0, 0.0),
    ],
)
def test_a_second_costs_the_larger_of_the_shares_of_memory_and_of_time(
    memory, sm_share, weight, rate
):
    held = run("job", memory).placements[0].memory if memory != "0" else 0
    assert charge_rate(held, a100(weight=weight), sm_share) == pytest.approx(rate)


def test_a_card_without_memory_costs_only_its_time():
    assert charge_rate(0, a100(total="0", measured="0"), 0.5) == 0.5
