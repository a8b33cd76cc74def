"""Who is tried first: bands, shares, who has waited too long, people, keys; and what a policy changes of that."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.core.decide import decide
from jobs.core.scheduling.keys import guard_time, level, static_key, urgency
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.rules import HOUR, Rules
from jobs.core.snapshot import Limits, UserView
from jobs.core.states import Priority
from tests.builders import NOW, a100, evolve, job, project, run, started, world

LOW, MEDIUM, HIGH = Priority
RULES = Rules()


def waiting(name: str, hours: float = 1.0, **fields: Any):
    """A job of 60 GiB that waits for so many hours."""
    return evolve(job(name, fields.pop("memory", "60G"), **fields), submitted_at=NOW - hours * HOUR)


def order(*jobs, projects=(), ranks=None, **fields: Any) -> list[str]:
    """The order in which the jobs start where there is a card for each, one after the other."""
    cards = [a100(at) for at in range(len(jobs))]
    scheduler = Planner.of(world(cards, jobs, projects, **fields))
    scheduler.rank(ranks)
    told = scheduler.order()
    begun = [start.job for start in scheduler.decide(NOW).starts]
    assert begun == told, "the order that is shown is the one that is followed"
    return begun


def first(*jobs, **fields: Any) -> str:
    return order(*jobs, **fields)[0]


# --- the key -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("early", "late", "hours", "ahead"),
    [
        (MEDIUM, MEDIUM, 0.01, "early"),  # first come, first served
        (LOW, MEDIUM, 11.9, "late"),  # a step of priority is worth twelve hours
        (LOW, MEDIUM, 12.1, "early"),
        (LOW, HIGH, 23.9, "late"),
        (LOW, HIGH, 24.1, "early"),
        (HIGH, LOW, 0.0, "early"),
    ],
)
def test_a_step_of_priority_is_worth_twelve_hours_of_waiting(early, late, hours, ahead):
    jobs = waiting("early", 1 + hours, priority=early), waiting("late", 1, priority=late)
    assert first(*jobs) == ahead


def test_everybody_ages_alike_so_nobody_is_overtaken_by_waiting():
    jobs = [waiting(f"j{at}", at * 7.0 % 24, priority=Priority(at % 3)) for at in range(9)]
    keys = [static_key(each, RULES) for each in jobs]
    assert keys == [static_key(evolve(each, waiting_since=NOW), RULES) for each in jobs]
    assert order(*jobs) == [
        name for _key, name in sorted(zip(keys, [j.id for j in jobs], strict=True))
    ]


def test_jobs_of_one_instant_are_ordered_by_their_ids():
    assert order(*(waiting(name) for name in ("c", "a", "b"))) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("service", "passed"),
    [(0.0, 0), (0.99, 0), (1.0, 1), (7.9, 1), (8.0, 2), (64.0, 3), (512.0, 4), (9e9, 4)],
)
def test_service_levels_are_passed_at_1_8_64_and_512_weighted_gpu_hours(service, passed):
    stoppable = waiting("job", preemptible=True, service=service * HOUR)
    assert level(stoppable, stoppable.service, RULES) == passed
    assert static_key(stoppable, RULES) == static_key(waiting("job"), RULES) + passed * 24 * HOUR


def test_a_job_that_cannot_be_suspended_passes_no_level():
    assert level(waiting("job", service=99 * HOUR), 99 * HOUR, RULES) == 0


@pytest.mark.parametrize(("hours", "ahead"), [(23.9, "fresh"), (24.1, "served")])
def test_each_level_sets_a_job_back_by_a_day(hours, ahead):
    served = waiting("served", 1 + hours, preemptible=True, service=HOUR, waiting_since=NOW - 60)
    assert first(served, waiting("fresh", 1)) == ahead


def test_priority_outweighs_all_levels_where_one_displaces_another():
    worst = waiting("high", priority=HIGH, preemptible=True, service=9e9)
    best = waiting("medium", priority=MEDIUM, preemptible=True)
    assert urgency(worst, worst.service, RULES) > urgency(best, best.service, RULES)


# --- shares ------------------------------------------------------------------------------------------


def test_the_project_that_has_used_least_goes_first():
    views = [project("much", usage=2000.0), project("little", usage=1000.0)]
    jobs = waiting("early", 9, project="much"), waiting("late", 1, project="little")
    assert first(*jobs, projects=views) == "late"


def test_usage_counts_by_weight():
    views = [project("heavy", usage=2000.0, weight=3.0), project("light", usage=1000.0)]
    jobs = waiting("light", 9, project="light"), waiting("heavy", 1, project="heavy")
    assert first(*jobs, projects=views) == "heavy"


def test_each_start_is_charged_at_once_so_that_starts_follow_the_weights():
    views = [project("heavy", weight=3.0), project("light")]
    jobs = [
        waiting(f"{slug}-{at}", 9 - at / 100, project=slug, memory="70G")
        for slug in ("heavy", "light")
        for at in range(8)
    ]
    begun = order(*jobs, projects=views)
    assert [name[0] for name in begun[:8]].count("h") == 6


def test_priority_and_age_move_a_job_inside_its_project_only():
    views = [project("much", usage=2000.0), project("little", usage=1000.0)]
    jobs = (
        waiting("urgent", 23, project="much", priority=HIGH),
        waiting("low", 1, project="little", priority=LOW),
    )
    assert first(*jobs, projects=views) == "low"


# --- bands -------------------------------------------------------------------------------------------


def test_a_project_within_its_guarantee_goes_before_all_that_borrow():
    views = [project("poor", usage=9e9, guarantee=Limits(cards=1)), project("rich")]
    jobs = (
        waiting("p1", 1, project="poor"),
        waiting("p2", 1, project="poor"),
        waiting("r", 9, project="rich"),
    )
    assert order(*jobs, projects=views) == ["p1", "r", "p2"]


def test_a_job_that_is_larger_than_the_guarantee_leaves_it_borrows():
    views = [project("poor", usage=9e9, guarantee=Limits(cards=1)), project("rich")]
    pair = waiting("pair", 1, project="poor", gpus=2)
    cards = [a100(at) for at in range(3)]
    plan = decide(world(cards, [pair, waiting("r", 0.5, project="rich")], views))
    assert list(started(plan)) == ["r", "pair"]


@pytest.mark.parametrize(("hours", "ahead"), [(23, "guaranteed"), (25, "borrows")])
def test_who_borrows_and_has_waited_too_long_stands_beside_those_with_a_guarantee(hours, ahead):
    """Else a project without a guarantee would wait for as long as others use theirs up."""
    views = [project("poor", usage=9e9, guarantee=Limits(cards=1)), project("rich")]
    jobs = waiting("guaranteed", 1, project="poor"), waiting("borrows", hours, project="rich")
    assert first(*jobs, projects=views) == ahead


# --- who has waited too long -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("priority", "service", "hours"),
    [(LOW, 0, 48), (MEDIUM, 0, 24), (HIGH, 0, 12), (LOW, 1, 7 * 48), (HIGH, 1, 7 * 12)],
)
def test_a_job_has_waited_too_long_after_half_a_day_to_two_days_and_later_where_it_has_run(
    priority, service, hours
):
    late = waiting("late", 1, priority=priority, service=service)
    assert guard_time(late, RULES) == late.submitted_at + hours * HOUR


def test_a_job_that_queues_again_waits_from_then_on():
    assert guard_time(waiting("job", 99, waiting_since=NOW), RULES) == NOW + 24 * HOUR


def test_who_has_waited_too_long_goes_first_in_the_project():
    fresh = waiting("high", 1, priority=HIGH)  # 24 h ahead of a low one
    assert first(waiting("low", 20, priority=LOW), fresh) == "high"
    late = waiting("late", 24.5, priority=MEDIUM, preemptible=True, service=0.0)
    assert first(late, waiting("ahead", 13, priority=HIGH, waiting_since=NOW)) == "late"


def test_many_late_jobs_of_one_project_do_not_hide_those_of_another():
    crowd = [waiting(f"c{at:03}", 500 - at, project="crowd", memory="500G") for at in range(200)]
    views = [project("crowd", limit=Limits(cards=0)), project("other")]
    ahead = waiting("ahead", 20, project="other", priority=HIGH, waiting_since=NOW)
    late = waiting("late", 25, project="other")
    plan = decide(world([a100()], [*crowd, ahead, late], views))
    assert list(started(plan)) == ["late"]


def test_the_next_instant_at_which_somebody_has_waited_too_long_is_known_though_others_have():
    blocked = world(
        [a100(booked="70G")], [waiting("late", 30), waiting("soon", 23)], running=[run(ends=9e9)]
    )
    scheduler = Planner.of(blocked)
    scheduler.decide(NOW)
    assert scheduler.next_change() == NOW + HOUR


def test_but_not_if_it_can_be_suspended_for_then_its_place_would_be_taken_back():
    views = [project("poor", usage=9e9, guarantee=Limits(cards=1)), project("rich")]
    late = waiting("late", 25, project="rich", preemptible=True)
    assert first(waiting("guaranteed", 1, project="poor"), late, projects=views) == "guaranteed"


def test_only_two_late_jobs_of_a_project_go_first_in_one_cycle():
    late = [waiting(f"late-{at}", 30 - at, priority=MEDIUM) for at in range(4)]
    high = waiting("high", 29, priority=HIGH, waiting_since=NOW)
    assert order(*late, high) == ["late-0", "late-1", "high", "late-2", "late-3"]


# --- people ------------------------------------------------------------------------------------------


def people(**used: float) -> dict[str, UserView]:
    return {name: UserView(name=name, usage=amount) for name, amount in used.items()}


FULL = 24 * HOUR / 0.6931471805599453  # what one card has used in the long run


@pytest.mark.parametrize(
    ("used", "ahead"),
    [
        (0.9, "hers"),  # small differences do not matter: her job came first
        (1.1, "his"),  # she has used more than her half of two cards
    ],
)
def test_who_has_used_more_than_their_share_of_the_project_goes_later(used, ahead):
    views = [project(users=people(ana=used * FULL, bo=0.0))]
    jobs = waiting("hers", 9, user="ana"), waiting("his", 1, user="bo")
    assert first(*jobs, projects=views) == ahead


def test_whole_steps_count_and_the_fourth_is_like_the_third():
    used = {"none": 0.0, "once": 1.5, "twice": 2.5, "thrice": 3.5, "often": 40.0}
    share = 5 / len(used)  # five cards, five people
    views = [project(users=people(**{name: n * share * FULL for name, n in used.items()}))]
    jobs = [waiting(name, 1 + at, user=name) for at, name in enumerate(used)]
    assert order(*jobs, projects=views) == ["none", "once", "twice", "often", "thrice"]


def test_one_who_is_alone_in_the_project_steps_back_for_nobody():
    views = [project(users=people(ana=9 * FULL))]
    jobs = waiting("old", 9), waiting("new", 1, priority=LOW)
    assert order(*jobs, projects=views) == ["old", "new"]


def test_who_runs_something_counts_as_one_of_the_people():
    views = [project(users=people(ana=1.1 * FULL))]
    scheduler = Planner.of(
        world(
            [a100(0), a100(1, booked="70G")],
            [waiting("hers", 9)],
            views,
            running=[run("his", "70G", ["node-a-gpu1"], user="bo")],
        )
    )
    scheduler.decide(NOW - 1)
    assert scheduler.order() == []


# --- policies ----------------------------------------------------------------------------------------


def test_a_policys_ranks_decide_across_projects_whatever_they_have_used():
    views = [project("much", usage=9e9), project("little")]
    jobs = waiting("m", 1, project="much"), waiting("l", 99, project="little", priority=HIGH)
    assert order(*jobs, projects=views, ranks={"m": 0, "l": 1}) == ["m", "l"]


def test_what_a_policy_has_not_ranked_comes_after_what_it_has_in_the_default_order():
    jobs = [waiting("new", 1), waiting("newer", 0.5, priority=HIGH), waiting("ranked", 0.1)]
    assert order(*jobs, ranks={"ranked": 5}) == ["ranked", "newer", "new"]


def test_a_policy_does_not_reach_over_a_guarantee():
    views = [project("poor", guarantee=Limits(cards=1)), project("rich")]
    jobs = waiting("r", 9, project="rich"), waiting("p", 1, project="poor")
    assert order(*jobs, projects=views, ranks={"r": 0, "p": 1}) == ["p", "r"]


def test_people_are_not_told_apart_by_usage_where_a_policy_orders():
    views = [project(users=people(ana=9 * FULL, bo=0.0))]
    jobs = waiting("hers", 9, user="ana"), waiting("his", 1, user="bo")
    assert order(*jobs, projects=views, ranks={"hers": 0, "his": 1}) == ["hers", "his"]


def test_the_default_order_returns_when_the_policy_goes():
    scheduler = Planner.of(world([a100()], [waiting("old", 9), waiting("new", 1)]))
    scheduler.rank({"new": 0, "old": 1})
    assert scheduler.order() == ["new", "old"]
    scheduler.rank(None)
    assert scheduler.order() == ["old", "new"]


def test_new_ranks_replace_the_old_ones():
    scheduler = Planner.of(world([a100()], [waiting(name) for name in "abc"]))
    scheduler.rank({"a": 0, "b": 1, "c": 2})
    scheduler.rank({"c": 0, "a": 1, "b": 2})
    assert scheduler.order() == ["c", "a", "b"]


# --- the order that is shown -------------------------------------------------------------------------


def test_the_order_can_be_cut_and_starts_with_those_that_could_start():
    view = project("shut", limit=Limits(running=0))
    jobs = [waiting("never", 99, project="shut"), *(waiting(f"j{at}", 9 - at) for at in range(5))]
    scheduler = Planner.of(world([a100()], jobs, [view]))
    assert scheduler.order() == ["j0", "j1", "j2", "j3", "j4", "never"]
    assert scheduler.order(2) == ["j0", "j1"]


def test_those_for_whom_room_is_made_come_first_in_the_order():
    low = run("low", "60G", priority=LOW, preemptible=True)
    jobs = [waiting("urgent", 1, priority=HIGH), waiting("old", 20, priority=LOW)]
    scheduler = Planner.of(world([a100(booked="60G")], jobs, running=[low]))
    scheduler.decide(NOW)
    assert scheduler.order() == ["urgent", "old"]
    assert scheduler.order(1) == ["urgent"]


def test_showing_the_order_changes_nothing():
    views = [project("poor", guarantee=Limits(cards=1)), project("rich")]
    jobs = [waiting(f"{slug}{at}", at, project=slug) for slug in ("poor", "rich") for at in (1, 2)]
    snapshot = world([a100()], jobs, views)
    scheduler = Planner.of(snapshot)
    assert scheduler.order() == scheduler.order()
    assert scheduler.decide(NOW).starts == decide(snapshot).starts
