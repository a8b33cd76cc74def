"""The steps by which a waiting job is ordered, each with the numbers that its owner is shown."""

from __future__ import annotations

import math

import pytest

from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.rules import HOUR, Rules
from jobs.core.snapshot import Limits, UserView
from jobs.core.states import Priority
from tests.builders import NOW, a100, evolve, job, project, run, world
from tests.core.kept import waiting

LOW, MEDIUM, HIGH = Priority
FULL = 24 * HOUR / math.log(2)  # what one card has used in the long run


def standing(*queued, cards=None, projects=(), running=(), ranks=None, decided=False, **fields):
    """The standing of the first of these jobs."""
    planner = Planner.of(
        world([a100()] if cards is None else cards, queued, projects, running=running, **fields)
    )
    planner.rank(ranks)
    if decided:
        planner.decide(NOW)
    return planner.standing(queued[0].id)


def test_who_does_not_queue_has_no_standing():
    planner = Planner.of(world([a100()], [waiting()]))
    assert planner.standing("nobody") is None
    planner.decide(NOW)
    assert planner.standing("waits") is None


def test_a_plain_job_has_plain_numbers():
    told = standing(waiting(hours=2))
    assert (told.guaranteed, told.policy) == (False, False)
    assert told.submitted_at == NOW - 2 * HOUR
    assert told.overdue_at == NOW + 22 * HOUR
    assert (told.priority, told.head_start) == (MEDIUM, 12 * HOUR)
    assert (told.service, told.service_level, told.setback, told.user_step) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("priority", "head_start", "patience"),
    [(LOW, 0, 48), (MEDIUM, 12, 24), (HIGH, 24, 12)],
)
def test_priority_tells_its_head_start_and_its_patience(priority, head_start, patience):
    told = standing(waiting(priority=priority))
    assert told.head_start == head_start * HOUR
    assert told.overdue_at == told.submitted_at + patience * HOUR


def test_service_tells_the_levels_that_it_has_passed_and_the_setback():
    told = standing(waiting(preemptible=True, service=9 * HOUR))
    assert (told.service, told.service_level, told.setback) == (9 * HOUR, 2, 48 * HOUR)


def test_who_queues_again_is_late_from_then_on_and_later():
    told = standing(waiting(hours=99, preemptible=True, service=1.0, waiting_since=NOW - HOUR))
    assert told.overdue_at == NOW - HOUR + 7 * 24 * HOUR


def test_the_numbers_are_those_of_the_sites_rules():
    rules = Rules(head_start=60.0, guard_after=(3.0, 2.0, 1.0), level_delay=5.0)
    told = standing(waiting(preemptible=True, service=2 * HOUR, priority=HIGH), rules=rules)
    assert (told.head_start, told.setback) == (120, 5)
    assert told.overdue_at == told.submitted_at + 7 * 1.0


def test_shares_are_parts_of_what_all_that_wait_or_run_have_used_and_are_entitled_to():
    views = [
        project("mine", usage=300.0, weight=3.0),
        project("theirs", usage=100.0),
        project("idle", usage=9e9, weight=50.0),  # neither waits nor runs
    ]
    told = standing(
        waiting(project="mine"), waiting("other", project="theirs", memory="79G"), projects=views
    )
    assert told.project_used == pytest.approx(0.75)
    assert told.project_share == pytest.approx(0.75)


def test_before_anything_is_used_nobody_has_used_a_part():
    assert standing(waiting()).project_used == 0


@pytest.mark.parametrize(("used", "step"), [(0.4, 0), (1.1, 2), (0.6, 1), (9.0, 3)])
def test_the_step_of_a_person_is_how_often_they_have_used_their_share(used, step):
    """Two people, one card: each is entitled to half of it."""
    people = {name: UserView(name=name) for name in ("ana", "bo")}
    people["ana"] = UserView(name="ana", usage=used * FULL)
    told = standing(
        waiting(user="ana"), waiting("his", user="bo"), projects=[project(users=people)]
    )
    assert told.user_step == step


def test_a_job_within_its_projects_guarantee_is_told_so():
    views = [project(guarantee=Limits(cards=1))]
    assert standing(waiting(), projects=views).guaranteed
    assert not standing(waiting(gpus=2), cards=[a100(0), a100(1)], projects=views).guaranteed


def test_it_stays_so_while_cards_are_kept_or_room_is_made_for_it():
    """It counts against the guarantee already, but not twice."""
    views = [project(guarantee=Limits(cards=1)), project("other")]
    full = [a100(booked="60G")]
    holder = run("holder", "60G", project="other", ends=600)
    assert standing(
        waiting(), cards=full, projects=views, running=[holder], decided=True
    ).guaranteed
    borrower = evolve(holder, job=evolve(holder.job, preemptible=True))
    assert standing(
        waiting(), cards=full, projects=views, running=[borrower], decided=True
    ).guaranteed


def test_where_a_policy_orders_that_is_told():
    assert standing(waiting(), ranks={"waits": 0}).policy


def test_a_job_that_rests_has_a_standing_too():
    resting = waiting(not_before=NOW + 60)
    assert standing(resting).submitted_at == resting.submitted_at


def test_of_two_jobs_the_one_with_the_better_steps_is_ahead():
    """What is told explains the order that is shown."""
    jobs = [job("late", at=50), job("early", at=10), job("urgent", priority=HIGH, at=99)]
    planner = Planner.of(world([a100()], jobs))
    steps = {name: planner.standing(name) for name in planner.order()}
    keys = [told.submitted_at - told.head_start + told.setback for told in steps.values()]
    assert keys == sorted(keys)
    assert list(steps) == ["urgent", "early", "late"]
