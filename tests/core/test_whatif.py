"""What would make a waiting job start now, answered by the decision itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.core.decide import decide
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.rules import Rules
from jobs.core.scheduling.whatif import WhatIf, what_ifs
from jobs.core.states import Priority
from jobs.core.units import GIB
from tests.builders import a100, evolve, job, queue_of, rtx4090, run, world
from tests.core.driven import Driven

FULL = a100(booked="60G", total="80G", threshold=1.0)  # 18 GiB are left


def asked(snapshot, job_id="waits", **more):
    return {each.field: each for each in what_ifs(snapshot, job_id, **more)}


def test_less_memory_starts_it_now_and_the_value_is_what_the_roomiest_card_has():
    found = asked(world([FULL], [job("waits", "24G")]))
    assert found["min_memory"] == WhatIf(
        field="min_memory", value=18 * GIB, starts_now=True, position=0
    )


def test_a_card_of_another_type_would_do():
    found = asked(world([FULL, rtx4090(1)], [job("waits", "20G", gpu_type="A100")]))
    assert (found["gpu_type"].value, found["gpu_type"].starts_now) == (None, True)


def test_a_card_that_it_shares_would_do():
    found = asked(world([FULL], [job("waits", "16G", exclusive=True)]))
    assert (found["exclusive"].value, found["exclusive"].starts_now) == (False, True)


def test_a_higher_priority_puts_it_further_ahead():
    first, second = queue_of(job("first", "70G"), job("waits", "70G"))
    found = asked(world([FULL], [first, second]))
    assert found["priority"] == WhatIf(
        field="priority", value=Priority.HIGH, starts_now=False, position=1
    )


def test_a_higher_priority_may_make_others_give_way():
    running = run("low", "60G", ["node-a-gpu0"], priority=Priority.MEDIUM, preemptible=True)
    found = asked(world([FULL], [job("waits", "40G")], running=[running]))
    assert (found["priority"].starts_now, found["priority"].suspended) == (False, 1)


def test_what_changes_nothing_is_not_told():
    assert asked(world([a100(drained=True)], [job("waits", priority=Priority.HIGH)])) == {}


def test_nothing_is_asked_of_a_job_that_starts_anyway():
    assert asked(world([a100()], [job("waits")])) == {}


def test_nothing_is_asked_of_a_job_for_which_room_is_being_made():
    leaving = run("low", "60G", ["node-a-gpu0"], leaving_for="waits")
    assert asked(world([FULL], [job("waits", "40G")], running=[leaving])) == {}


def test_what_a_policy_would_make_of_another_priority_is_not_told():
    first, second = queue_of(job("first", "70G"), job("waits", "70G"))
    assert asked(world([FULL], [first, second]), ranks={"first": 0, "waits": 1}) == {}


def test_less_memory_does_not_help_where_the_card_is_kept_for_another():
    first, second = queue_of(job("first", "70G"), job("waits", "70G"))
    assert "min_memory" not in asked(world([FULL], [first, second]))


@pytest.mark.parametrize("fields", [{"exclusive": True}, {"gpu_type": "A100"}, {"gpus": 2}])
def test_one_question_leaves_no_trace_in_the_answer_to_the_next(fields):
    """Each change is tried on the same scheduler: the answers are those of a scheduler of its own."""
    cards = [a100(0, booked="60G"), a100(1, booked="40G"), rtx4090(2)]
    running = [
        run("r0", "60G", ["node-a-gpu0"], preemptible=True, priority=Priority.LOW),
        run("r1", "40G", ["node-a-gpu1"], ends=600),
    ]
    others = queue_of(job("a", "70G"), job("b", "22G", gpu_type="A100"), job("c", "70G"))
    queued = [*others, job("waits", "60G", **fields)]
    snapshot = world(cards, queued, running=running, rules=Rules(min_run=0.0))
    for each in what_ifs(snapshot, "waits"):
        changed = evolve(queued[-1], **{each.field: each.value})
        alone = world(cards, [*others, changed], running=running, rules=Rules(min_run=0.0))
        assert started_alone(alone) == each.starts_now


def started_alone(snapshot):
    return any(start.job == "waits" for start in decide(snapshot).starts)


def test_the_rules_of_preemption_hold_for_what_ifs_too():
    young = run("low", "60G", ["node-a-gpu0"], since=-60, preemptible=True, priority=Priority.LOW)
    found = asked(
        world([FULL], [job("waits", "40G")], running=[young], rules=Rules(min_run=3600.0))
    )
    assert "priority" not in found


def asked_alone(snapshot, job, change):
    """The same question, to a planner that is asked nothing else."""
    planner = Planner.of(snapshot)
    planner.decide(snapshot.now)
    planner.queue(evolve(job, **{change.field: change.value}))
    order = planner.order()
    plan = planner.decide(snapshot.now)
    starts = any(start.job == job.id for start in plan.starts)
    suspended = sum(preempt.beneficiary == job.id for preempt in plan.preemptions)
    return starts, suspended, 0 if starts else order.index(job.id) + 1


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_in_every_world_each_answer_is_that_of_a_planner_that_is_asked_nothing_else(seed):
    world = Driven(seed)
    for _ in range(60):
        world.step()
    snapshot = evolve(world.snapshot(), rules=Rules(min_run=60.0))
    for waiting in list(world.queued.values())[:5]:
        for told in what_ifs(snapshot, waiting.id):
            alone = asked_alone(snapshot, waiting, told)
            assert (told.starts_now, told.suspended, told.position) == alone
