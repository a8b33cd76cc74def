"""Who gives way on a card where jobs run already: the least valuable, in the order, and no guarantee is touched."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.core.plan import Preempt, PreemptionRule
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import Limits, RunView
from jobs.core.states import Priority
from jobs.core.units import GIB
from tests.builders import NOW, a100, evolve, project, run, world

CARD = "node-a-gpu0"
LOW, MEDIUM, HIGH = Priority.LOW, Priority.MEDIUM, Priority.HIGH
GROWER = run("grower", "30G")


def victim(task_id: str = "victim", memory: str = "20G", **fields: Any) -> RunView:
    return run(task_id, memory, **({"preemptible": True, "since": -60.0} | fields))


def planner(*runs: RunView, guarantee: dict[str, int] | None = None, **rules: Any) -> Planner:
    """One card with these jobs, and what projects are guaranteed (cards)."""
    held = sum(each.placements[0].memory for each in runs)
    projects = [
        project(slug, guarantee=Limits(cards=cards)) for slug, cards in (guarantee or {}).items()
    ]
    card = a100(booked=held, measured="0")
    return Planner.of(world([card], [], projects, running=runs, rules=Rules(**rules)))


def gone(told: tuple[Preempt, ...]) -> list[str]:
    return [each.job for each in told]


def relieved(*runs: RunView, short: int = 5 * GIB, **world_of: Any) -> list[str]:
    return gone(planner(*runs, **world_of).relieve(CARD, "grower", short, NOW))


# --- memory --------------------------------------------------------------------------------------


def test_the_least_urgent_goes_even_in_its_first_minute():
    runs = GROWER, victim("low", priority=LOW), victim("later")
    (told,) = planner(*runs).relieve(CARD, "grower", 5 * GIB, NOW)
    assert (told.job, told.beneficiary, told.rule) == ("low", "grower", PreemptionRule.PRESSURE)
    assert told.lost == pytest.approx(120)


SPARED = {
    "not preemptible": {"preemptible": False},
    "more urgent": {"priority": HIGH},
    "handed in before": {"since": -7200.0},
    "preempted often": {"preemptions": 4},
}


@pytest.mark.parametrize("why", SPARED)
def test_nobody_goes_who_may_not(why):
    assert relieved(GROWER, victim(**SPARED[why])) == []


def test_nobody_goes_who_is_frozen():
    assert relieved(GROWER, evolve(victim(), frozen=True)) == []


def test_nobody_goes_where_preemption_is_off():
    assert relieved(GROWER, victim(), preemption=False) == []


def test_nobody_goes_in_vain():
    assert relieved(GROWER, victim(memory="4G")) == []


def test_as_many_go_as_it_takes_and_no_more():
    small, large = victim("small", "2G", priority=LOW), victim("large", "20G")
    assert relieved(GROWER, small, large, short=1 * GIB) == ["small"]
    assert relieved(GROWER, small, large, short=10 * GIB) == ["large"]
    assert relieved(GROWER, small, large, short=21 * GIB) == ["small", "large"]


def test_who_has_been_told_is_waited_for():
    scheduler = planner(GROWER, victim("first", priority=LOW), victim("second"))
    assert gone(scheduler.relieve(CARD, "grower", 5 * GIB, NOW)) == ["first"]
    assert gone(scheduler.relieve(CARD, "grower", 5 * GIB, NOW)) == []
    assert gone(scheduler.relieve(CARD, "grower", 25 * GIB, NOW)) == ["second"]


def test_the_growing_job_goes_itself_where_it_is_the_least_valuable():
    grower = run("grower", "30G", priority=LOW, preemptible=True)
    (told,) = planner(grower, run("a"), run("b", priority=HIGH)).relieve(CARD, "grower", GIB, NOW)
    assert (told.job, told.beneficiary) == ("grower", "b")


def test_alone_on_its_card_it_stays():
    grower = run("grower", "30G", preemptible=True)
    assert relieved(grower) == []


def test_a_job_that_leaves_is_relieved_of_nothing():
    assert relieved(run("grower", "30G", leaving_for="x"), victim()) == []


def test_whoever_borrows_gives_way_to_whoever_is_within_its_guarantee():
    other = victim(project="other", priority=HIGH)
    grower = evolve(GROWER, placements=(evolve(GROWER.placements[0], memory=40 * GIB),))
    assert relieved(grower, other, guarantee={"default": 1}) == ["victim"]
    assert relieved(grower, other) == [], "nobody is entitled to more than it asked for"


def test_no_guarantee_is_touched():
    other = victim(project="other", priority=LOW)
    assert relieved(GROWER, other, guarantee={"default": 1, "other": 1}) == []


def test_what_two_of_a_project_borrow_together_is_not_taken_beyond_its_guarantee():
    others = [victim(f"v{number}", "20G", project="other") for number in range(2)]
    world_of = {"guarantee": {"default": 1, "other": 1}}
    assert len(relieved(GROWER, *others, short=5 * GIB, **world_of)) == 1
    assert relieved(GROWER, *others, short=30 * GIB, **world_of) == []


def test_a_job_that_grows_back_to_what_it_asked_for_gets_it_from_who_came_later():
    assert relieved(GROWER, victim(project="other", priority=HIGH)) == ["victim"]
    earlier = victim(project="other", priority=LOW, since=-7200.0)
    assert relieved(GROWER, earlier) == []


# --- pace ----------------------------------------------------------------------------------------


def test_the_least_valuable_leaves_a_packing_that_does_not_pay():
    runs = victim("low", priority=LOW), victim("cheap", since=-600.0), victim("dear", since=-7200.0)
    (told,) = planner(*runs).unpack(CARD, NOW)
    assert (told.job, told.beneficiary, told.rule) == ("low", "dear", PreemptionRule.PACKING)


def test_one_at_a_time_leaves():
    scheduler = planner(victim("a"), victim("b"), victim("c"))
    assert len(scheduler.unpack(CARD, NOW)) == 1
    assert scheduler.unpack(CARD, NOW) == ()


def test_among_equals_whoever_can_leaves():
    assert gone(planner(victim("a"), run("b")).unpack(CARD, NOW)) == ["a"]
    assert gone(planner(run("a"), victim("b")).unpack(CARD, NOW)) == ["b"]


def test_the_most_valuable_never_leaves_even_if_only_it_could():
    assert gone(planner(victim("a"), run("b", priority=LOW)).unpack(CARD, NOW)) == []


def test_no_guarantee_is_touched_for_pace():
    runs = victim("a", project="other", priority=LOW), victim("b")
    assert gone(planner(*runs, guarantee={"other": 1}).unpack(CARD, NOW)) == []
    assert gone(planner(*runs).unpack(CARD, NOW)) == ["a"]
