"""Nobody waits for ever beside a stream of small jobs that never ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.core.scheduling.rules import DAY, HOUR, Rules
from jobs.core.snapshot import Limits, UserView
from jobs.core.states import Priority
from jobs.core.units import GIB
from tests.builders import NOW, a100, evolve, job, project
from tests.core.loop import Arrival, Loop

LOW, MEDIUM, HIGH = Priority
RULES = Rules()
SUSPEND = 60.0
MOMENT = 2.0  # seconds, for the instants between two looks


def bound(longest: float, *, priority: Priority = MEDIUM, highest: Priority = MEDIUM) -> float:
    """How long a job may wait at most, where nobody was ahead of it and its project has used least.

    For `drain_after` others may slip in. Then what is on its cards must end, which takes as long as the `longest` run,
    or what was let in because it can be displaced must have run for its minimum and be suspended. Jobs of a higher
    priority that come later are ahead of it as long as their head start lasts, if the cards suffice for them.
    """
    ahead = RULES.head_start * max(0, highest - priority)
    return ahead + RULES.drain_after + longest + RULES.min_run + SUSPEND + MOMENT


def stream(
    every: float, *, seconds: float = HOUR, knows: bool = True, memory: str = "20G", **fields: Any
) -> Iterator[Arrival]:
    """One job after the other, for ever, from NOW on."""
    fields = {"project": "stream"} | fields
    for number in count():
        each = job(f"s{number}", memory, est_time=seconds if knows else math.inf, **fields)
        yield evolve(each, submitted_at=NOW + number * every), seconds


def waits(after: float = 600.0, *, memory: str = "70G", **fields: Any) -> Iterator[Arrival]:
    """One job that comes when the cards are in use already."""
    each = job("waits", memory, **({"project": "waits"} | fields))
    yield evolve(each, submitted_at=NOW + after), HOUR


def in_time(*arrivals: Iterator[Arrival], cards=None, projects=(), most: float) -> Loop:
    loop = Loop(
        cards or [a100()], merge(*arrivals, key=lambda each: each[0].submitted_at), projects
    )
    loop.run(5 * DAY, until_started="waits")
    assert "waits" in loop.started, "it was starved"
    assert loop.wait_of("waits") <= most
    return loop


# --- by name -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Who waits on two cards, and what comes all the time."""

    what: str
    waits: dict[str, Any] = field(default_factory=dict)
    comes: dict[str, Any] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("a job that needs a whole card"),
    Case("a job of two cards", {"gpus": 2, "memory": "60G"}),
    Case("a job of two cards that would fit on one more", {"gpus": 2, "memory": "30G"}),
    Case("a job that wants a card to itself", {"exclusive": True, "memory": "5G"}),
    Case("two cards to itself", {"exclusive": True, "gpus": 2, "memory": "5G"}),
    Case("a job that computes much", {"sm_share": 0.9, "memory": "5G"}, {"sm_share": 0.4}, {"max_busy": 1.0}),
    Case("a card that may hold two", {"memory": "5G"}, {"memory": "5G"}, {"max_holders": 1}),
    Case("a job that can be suspended", {"preemptible": True}),
    Case("beside small ones that can be suspended", {}, {"preemptible": True, "priority": LOW}),
    Case("beside such of its own project", {"project": "stream"}, {"preemptible": True, "priority": LOW}),
    Case("beside small ones of its own project", {"project": "stream"}),
    Case("beside small ones of the same person", {"project": "stream", "user": "ana"}, {"user": "ana"}),
]  # fmt: skip


@pytest.mark.parametrize("knows", [True, False], ids=["known ends", "unknown ends"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_nobody_is_starved(case, knows):
    cards = [a100(at, **case.card) for at in range(2)]
    comes = {"every": 300.0, "knows": knows} | case.comes
    in_time(stream(**comes), waits(**case.waits), cards=cards, most=bound(HOUR))


@pytest.mark.parametrize("priority", [LOW, MEDIUM])
def test_a_stream_of_urgent_jobs_is_ahead_for_as_long_as_their_head_start(priority):
    small = stream(
        1250.0, priority=HIGH, project="waits"
    )  # three fit on the card, for an hour each
    most = bound(HOUR, priority=priority, highest=HIGH)
    loop = in_time(small, waits(priority=priority), most=most)
    assert loop.wait_of("waits") > RULES.head_start * (HIGH - priority)


def test_a_job_that_waits_for_quota_is_not_passed_for_ever():
    small = stream(300.0, memory="5G", project="waits")
    pair = waits(gpus=2, memory="5G")
    limited = project("waits", limit=Limits(cards=2))
    in_time(small, pair, cards=[a100(0), a100(1)], projects=[limited], most=bound(HOUR))


def test_a_job_that_waits_for_its_owners_quota_is_not_passed_for_ever():
    small = stream(300.0, memory="5G", project="waits", user="ana")
    pair = waits(gpus=2, memory="5G", user="ana")
    ana = UserView(name="ana", limit=Limits(cards=2))
    limited = project("waits", users={"ana": ana})
    in_time(small, pair, cards=[a100(0), a100(1)], projects=[limited], most=bound(HOUR))


def test_a_preempted_job_gets_its_turn_again_though_more_urgent_ones_keep_coming():
    """Each of them is let run on after it has given way four times in a day, so the work of all gets done."""
    stoppable = waits(0.0, preemptible=True, project="stream", memory="60G")
    urgent = stream(3 * HOUR, project="stream", priority=HIGH, memory="60G", seconds=1.5 * HOUR)
    loop = Loop([a100()], merge(stoppable, urgent, key=lambda each: each[0].submitted_at))
    loop.run(4 * DAY)
    assert "waits" in loop.ended
    assert loop.preempted["waits"] <= RULES.most_preemptions * 4


# --- in random worlds --------------------------------------------------------------------------------


class World:
    """Cards in use, one job that cannot start, and several streams that could take its place for ever."""

    def __init__(self, seed: int) -> None:
        self._dice = Random(seed)
        pick = self._dice.choice
        self.cards = [
            a100(at, max_holders=pick([2, 8, None]), max_busy=pick([None, 1.0]))
            for at in range(pick([1, 2, 3]))
        ]
        self.longest = pick([0.5, 1.0, 3.0]) * HOUR
        self.waiting = evolve(
            job(
                "waits",
                pick([20, 45, 60, 70]) * GIB,
                pick(list(Priority)),
                project="waits",
                user="eve",  # who has used nothing: nobody in the project is ahead of her for that
                gpus=self._dice.randint(1, len(self.cards)),
                exclusive=pick([False, False, True]),
                preemptible=pick([False, True]),
                sm_share=pick([0.0, 0.9]),
                est_time=pick([math.inf, HOUR]),
            ),
            submitted_at=NOW + 0.5,
        )
        self.is_shared = pick([False, True])
        self.streams = [self._stream(number) for number in range(pick([1, 2, 3]))]

    def _stream(self, number: int) -> Iterator[Arrival]:
        pick = self._dice.choice
        fields = {
            "memory": f"{pick([2, 10, 30])}G",
            "priority": pick([each for each in Priority if each <= self.waiting.priority]),
            "preemptible": pick([True, False]),
            "sm_share": pick([0.0, 0.4]),
            "project": "waits" if self.is_shared else pick(["one", "two"]),
            "user": pick(["ana", "bo"]),
        }
        every = pick([120.0, 400.0, 1000.0])
        knows = pick([True, False, None])
        for count_ in count():
            seconds = self.longest * pick([0.1, 0.5, 1.0])
            is_known = pick([True, False]) if knows is None else knows
            estimate = seconds if is_known else math.inf
            each = job(f"s{number}-{count_}", est_time=estimate, **fields)
            yield evolve(each, submitted_at=NOW + 1 + count_ * every), seconds

    def arrivals(self) -> Iterator[Arrival]:
        first = [
            (evolve(job(f"first-{at}", "12G", project="one"), submitted_at=NOW), self.longest)
            for at, _card in enumerate(self.cards)
        ]
        own = [*first, (self.waiting, HOUR)]
        return merge(own, *self.streams, key=lambda each: each[0].submitted_at)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32))
def test_in_every_world_the_job_that_waits_starts_within_the_bound(seed):
    world = World(seed)
    most = bound(world.longest)
    loop = Loop(world.cards, world.arrivals()).run(most, until_started="waits")
    assert "waits" in loop.started
    assert loop.wait_of("waits") <= most
