"""From a world to a plan: who starts, and why everybody else waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from jobs.core.decide import decide, in_order
from jobs.core.plan import WaitCode
from jobs.core.policy import BasePolicy
from jobs.core.scheduling.fleet import Fleet
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.preemption import Preemption
from jobs.core.snapshot import Limits, Snapshot
from jobs.core.states import Priority
from jobs.core.units import GIB, MIB
from tests.builders import (
    NOW,
    a100,
    holding,
    job,
    numbers,
    project,
    queue_of,
    reasons,
    rtx4090,
    run,
    started,
    world,
)

W = WaitCode
LOW, MEDIUM, HIGH = Priority


def test_five_jobs_of_14g_share_an_80g_card_and_the_sixth_waits_with_numbers():
    jobs = queue_of(*(job(f"j{at}", "14G") for at in range(6)))
    plan = decide(world([a100(threshold=0.9)], jobs))
    assert started(plan) == {f"j{at}": ["node-a-gpu0"] for at in range(5)}
    assert reasons(plan) == {"j5": W.WAIT_MEMORY}
    assert numbers(plan, "j5") == {
        "need": 14 * GIB,
        "largest": 0,
        "largest_index": 0,
        "largest_node": "node-a",
    }


def test_a_higher_priority_goes_first_and_then_who_came_first():
    jobs = queue_of(
        job("low", "60G", LOW),
        job("medium", "60G"),
        job("high", "60G", HIGH),
        job("late", "60G", HIGH),
    )
    plan = decide(world([a100(0), a100(1)], jobs))
    assert list(started(plan)) == ["high", "late"]
    assert [wait.job for wait in plan.waits] == ["medium", "low"]


def test_a_job_that_does_not_fit_lets_later_ones_pass():
    jobs = queue_of(job("large", "60G", HIGH), job("small", "8G", LOW))
    plan = decide(world([a100(booked="30G")], jobs))
    assert list(started(plan)) == ["small"]
    assert reasons(plan) == {"large": W.WAIT_MEMORY}


@dataclass(frozen=True)
class Case:
    """A world in which the job "job" waits, and for what."""

    what: str
    snapshot: Snapshot
    code: WaitCode
    numbers: dict[str, Any] = field(default_factory=dict)


FULL = a100(booked="70G")
ONE_AT_A_TIME = {"limit": Limits(running=1)}
ONE_RUNS = holding(running=1)
WAITS = [
    Case("no room", world([FULL], [job()]), W.WAIT_MEMORY, {"need": 16 * GIB, "largest": 0}),
    Case(
        "the largest free block is named",
        world([FULL, a100(1, booked="58G")], [job()]),
        W.WAIT_MEMORY,
        {"largest": 12 * GIB, "largest_index": 1, "largest_node": "node-a"},
    ),
    Case(
        "another type has room",
        world([FULL, rtx4090(1)], [job(gpu_type="A100")]),
        W.WAIT_GPU_TYPE,
        {"gpu_type": "A100", "need": 16 * GIB, "largest": 0},
    ),
    Case(
        "no other type has room either",
        world([FULL, rtx4090(1, booked="20G")], [job(gpu_type="A100")]),
        W.WAIT_MEMORY,
        {"largest_index": 0},
    ),
    Case(
        "the project holds what it may",
        world([a100()], [job()], [project(**ONE_AT_A_TIME)], running=ONE_RUNS),
        W.WAIT_QUOTA,
        {"what": "running", "used": 1, "limit": 1},
    ),
    Case(
        "the project's cards",
        world(
            [a100(0), a100(1)],
            [job(gpus=2)],
            [project(limit=Limits(cards=3))],
            running=holding(cards=2),
        ),
        W.WAIT_QUOTA,
        {"what": "cards", "used": 2, "limit": 3},
    ),
    Case(
        "the project's memory",
        world(
            [a100()],
            [job()],
            [project(limit=Limits(memory=20 * GIB))],
            running=holding(memory="8G"),
        ),
        W.WAIT_QUOTA,
        {"what": "memory", "used": 8 * GIB, "limit": 20 * GIB},
    ),
    Case(
        "the project's hours of this month",
        world([a100()], [job()], [project(limit=Limits(gpu_hours_month=10), gpu_hours_month=10.5)]),
        W.WAIT_QUOTA,
        {"what": "gpu_hours_month", "used": 10.5, "limit": 10},
    ),
    Case(
        "it asks for more than its project may ever hold",
        world([a100()], [job()], [project(limit=Limits(memory=8 * GIB))]),
        W.OVER_PROJECT_QUOTA,
        {"what": "memory", "need": 16 * GIB, "limit": 8 * GIB},
    ),
    Case(
        "the site runs as many as it may",
        world([a100()], [job()], running=holding(running=5), max_workers=5),
        W.WAIT_MAX_WORKERS,
        {"holding": 5, "max_workers": 5},
    ),
    Case(
        "a back-off",
        world([a100()], [job(not_before=NOW + 25)]),
        W.WAIT_BACKOFF,
        {"until": NOW + 25, "wait": 30},
    ),
    Case(
        "the cap on the card",
        world([a100(1, booked="8G", holders=8), FULL], [job()]),
        W.WAIT_CARD_CAP,
        {"max_holders": 8},
    ),
    Case(
        "somebody has the card to himself",
        world([a100(booked="8G", exclusive=True)], [job()]),
        W.WAIT_EXCLUSIVE,
        {"cards": ["gpu0 on node-a"]},
    ),
    Case(
        "it wants a card to itself",
        world([a100(booked="8G")], [job(exclusive=True)]),
        W.WAIT_EXCLUSIVE,
    ),
    Case(
        "a gang with one card missing",
        world([a100(0), a100(1, booked="70G")], [job(gpus=2)]),
        W.WAIT_CARDS,
        {"gpus": 2, "need": 16 * GIB, "ready": 1},
    ),
    Case(
        "a stale card",
        world([a100(measured=None)], [job()]),
        W.WAIT_READING,
        {"cards": ["gpu0 on node-a"]},
    ),
    Case(
        "a drained card",
        world(
            [a100(drained=True, drain_reason="fan"), rtx4090(1, booked="8G")], [job(memory="30G")]
        ),
        W.GPU_DRAINED,
        {"cards": ["gpu0 on node-a"], "drain_reason": "fan"},
    ),
    Case(
        "memory of strangers",
        world([a100(0, booked="70G"), a100(1, foreign="66G")], [job()]),
        W.GHOST_MEMORY,
        {"need": 16 * GIB, "foreign": 66 * GIB, "index": 1, "node": "node-a"},
    ),
    Case("no agent", world([a100(measured=None)], [job()], agents_fresh=False), W.AGENT_OFFLINE),
    Case("no card", world([], [job()]), W.AGENT_OFFLINE),
    Case(
        "too large for any card",
        world([a100(), rtx4090(1)], [job(memory="600G")]),
        W.NEVER_FITS,
        {"need": 600 * GIB, "largest": 78 * GIB, "largest_name": a100().name},
    ),
    Case(
        "no such type",
        world([a100()], [job(gpu_type="H100")]),
        W.NO_SUCH_GPU_TYPE,
        {"gpu_type": "H100"},
    ),
    Case("too many cards", world([a100()], [job(gpus=2)]), W.TOO_FEW_CARDS, {"gpus": 2, "most": 1}),
    # where two reasons hold, the one that lasts longer is told
    Case(
        "too large, and no quota",
        world([a100()], [job(memory="600G")], [project(**ONE_AT_A_TIME)], running=ONE_RUNS),
        W.NEVER_FITS,
    ),
    Case(
        "no quota, and no room",
        world([FULL], [job()], [project(**ONE_AT_A_TIME)], running=ONE_RUNS),
        W.WAIT_QUOTA,
    ),
]


@pytest.mark.parametrize("case", WAITS, ids=lambda case: case.what)
def test_who_waits_is_told_why(case):
    plan = decide(case.snapshot)
    assert started(plan) == {}
    assert reasons(plan) == {"job": case.code}
    assert case.numbers.items() <= numbers(plan, "job").items()


def test_a_back_off_that_is_over_holds_nobody():
    assert started(decide(world([a100()], [job(not_before=NOW)])))


def test_a_start_counts_against_the_quota_of_those_behind_it():
    jobs = queue_of(job("a"), job("b"), job("c", project="other"))
    plan = decide(world([a100()], jobs, [project(limit=Limits(running=1)), project("other")]))
    assert list(started(plan)) == ["a", "c"]
    assert numbers(plan, "b") == {"what": "running", "used": 1, "limit": 1}


def test_a_start_counts_against_the_sites_limit():
    plan = decide(world([a100()], queue_of(job("a"), job("b")), running=holding(), max_workers=2))
    assert list(started(plan)) == ["a"]
    assert numbers(plan, "b") == {"holding": 2, "max_workers": 2}


def test_a_start_counts_against_the_cap_of_its_card():
    plan = decide(world([a100(max_holders=2)], queue_of(job("a"), job("b"), job("c"))))
    assert list(started(plan)) == ["a", "b"]
    assert reasons(plan) == {"c": W.WAIT_CARD_CAP}


def test_a_start_that_is_exclusive_closes_its_card():
    jobs = queue_of(job("alone", exclusive=True), job("other"))
    plan = decide(world([a100()], jobs))
    assert list(started(plan)) == ["alone"]
    assert reasons(plan) == {"other": W.WAIT_EXCLUSIVE}


def test_a_start_counts_against_what_was_measured_free():
    plan = decide(world([a100(booked="8G", measured="20G")], queue_of(job("a"), job("b"))))
    assert list(started(plan)) == ["a"]
    assert numbers(plan, "b")["largest"] == 4 * GIB


def test_a_gang_counts_all_its_cards_against_the_quota():
    cards = [a100(0), a100(1)]
    limits = {"cards": Limits(cards=2), "memory": Limits(memory=40 * GIB)}
    for what, limit in limits.items():
        jobs = queue_of(job("pair", gpus=2), job("one"))
        plan = decide(world(cards, jobs, [project(limit=limit)]))
        assert list(started(plan)) == ["pair"]
        assert (reasons(plan)["one"], numbers(plan, "one")["what"]) == (W.WAIT_QUOTA, what)


def test_a_large_need_of_one_project_does_not_hide_a_small_one_of_another():
    jobs = queue_of(job("a"), job("b", "8G", project="other"))
    plan = decide(world([a100(booked="60G")], jobs))
    assert list(started(plan)) == ["b"]


def test_the_reason_tells_what_is_left_after_the_starts_of_the_cycle():
    jobs = queue_of(job("large", "60G"), job("small", "8G"))
    plan = decide(world([a100(booked="30G")], jobs))
    assert numbers(plan, "large")["largest"] == 32 * GIB


def test_jobs_with_one_reason_in_common_share_its_numbers():
    plan = decide(world([FULL], queue_of(job("a"), job("b"))))
    assert plan.waits[0].numbers is plan.waits[1].numbers


# --- policies --------------------------------------------------------------------------------------


class ShortFirst(BasePolicy):
    def schedule(self, tasks):
        return sorted(tasks, key=lambda task: task.est_time)


class Raises(BasePolicy):
    def schedule(self, tasks):
        raise ZeroDivisionError("no luck")


class Forgets(BasePolicy):
    def schedule(self, tasks):
        return tasks[1:]


class Repeats(BasePolicy):
    def schedule(self, tasks):
        return [*tasks, tasks[0]]


class Invents(BasePolicy):
    def schedule(self, tasks):
        return [*tasks[1:], job("invented")]


class ReturnsNothing(BasePolicy):
    def schedule(self, tasks):
        tasks.clear()


ROOM_FOR_ONE = a100(booked="50G")


def test_a_policy_decides_the_order():
    jobs = queue_of(
        job("long", priority=HIGH, est_time=9e9), job("unknown"), job("short", est_time=60)
    )
    plan = decide(world([ROOM_FOR_ONE], jobs), ShortFirst())
    assert (list(started(plan)), plan.policy_problem) == (["short"], "")


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Raises(), "The policy Raises raised ZeroDivisionError: no luck."),
        (Forgets(), "The policy Forgets left out 1 of 2 tasks."),
        (Repeats(), "The policy Repeats returned 1 tasks more than once."),
        (Invents(), "The policy Invents returned 1 tasks that it was not given."),
        (ReturnsNothing(), "The policy ReturnsNothing returned None instead of its tasks"),
    ],
)
def test_a_policy_that_fails_is_reported_and_the_default_order_used(policy, said):
    jobs = queue_of(job("second"), job("first", priority=HIGH))
    plan = decide(world([ROOM_FOR_ONE], jobs), policy)
    assert list(started(plan)) == ["first"]
    assert said in plan.policy_problem


def test_a_policy_is_given_only_jobs_that_could_start():
    seen: list[str] = []

    class Notes(BasePolicy):
        def schedule(self, tasks):
            seen.extend(task.task_id for task in tasks)
            return super().schedule(tasks)

    jobs = queue_of(
        job("free"),
        job("blocked", project="full"),
        job("resting", not_before=NOW + 9),
        job("giant", "600G"),
    )
    decide(
        world([a100()], jobs, [project("full", **ONE_AT_A_TIME)], running=holding("full")), Notes()
    )
    assert seen == ["free"]


def test_the_order_names_those_who_could_start_first():
    jobs = queue_of(
        job("blocked", priority=HIGH, project="full"), job("late"), job("urgent", priority=HIGH)
    )
    snapshot = world([a100()], jobs, [project("full", **ONE_AT_A_TIME)], running=holding("full"))
    assert [each.id for each in in_order(snapshot)] == ["urgent", "late", "blocked"]


# --- effort ----------------------------------------------------------------------------------------


@pytest.fixture
def searches(monkeypatch):
    """How often the fleet is searched for room."""
    made: list[object] = []
    find = Fleet.find

    def counted(fleet, need, **options):
        made.append(need)
        return find(fleet, need, **options)

    monkeypatch.setattr(Fleet, "find", counted)
    return made


def test_a_start_costs_one_search_however_many_jobs_wait(searches):
    jobs = queue_of(*(job(f"j{at}", MIB) for at in range(1000)))
    plan = decide(world([a100(max_holders=None)], jobs))
    assert len(plan.starts) == 1000
    assert len(searches) <= 1000 + 5


def test_ten_thousand_equal_jobs_that_wait_cost_one_search(searches):
    jobs = queue_of(*(job(f"j{at}", "30G") for at in range(10_000)))
    plan = decide(world([a100(at) for at in range(8)], jobs))
    assert (len(plan.starts), len(plan.waits)) == (16, 9984)
    assert len(searches) <= 16 + 5


def test_equal_jobs_of_many_projects_and_people_are_searched_for_once(searches):
    jobs = queue_of(
        *(job(f"j{at}", "30G", project=f"p{at % 50}", user=f"u{at % 7}") for at in range(2000))
    )
    plan = decide(world([a100(booked="70G")], jobs))
    assert plan.starts == ()
    assert len(searches) <= 5


def test_a_cycle_in_which_nothing_has_changed_searches_nothing(searches):
    planner = Planner.of(world([a100()], queue_of(*(job(f"j{at}", "30G") for at in range(100)))))
    planner.decide(NOW)
    before = len(searches)
    assert planner.decide(NOW + 1).starts == ()
    assert len(searches) == before


def test_searches_for_who_could_give_way_end_when_many_were_in_vain(monkeypatch):
    """Jobs of many kinds wait, and on no card is it enough if those leave who can be suspended."""
    asked: list[object] = []
    victims = Preemption.victims
    monkeypatch.setattr(
        Preemption, "victims", lambda *given: asked.append(given) or victims(*given)
    )
    cards = [a100(at, booked="70G", holders=2) for at in range(4)]
    running = [
        run(f"{kind}{at}", "35G", [f"node-a-gpu{at}"], preemptible=kind == "low", priority=LOW)
        for at in range(4)
        for kind in ("low", "stays")
    ]
    jobs = queue_of(*(job(f"j{at}", 40 * GIB + at * MIB, HIGH) for at in range(500)))
    plan = decide(world(cards, jobs, running=running))
    assert plan.preemptions == ()
    assert 0 < len(asked) <= 64
