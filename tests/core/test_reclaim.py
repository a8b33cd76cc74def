"""Guarantees over time: what is borrowed comes back soon, and then stays where it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from heapq import merge
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.core.plan import PreemptionRule
from jobs.core.scheduling.rules import DAY, HOUR, Rules
from jobs.core.snapshot import Limits
from tests.builders import NOW, a100, evolve, job, project
from tests.core.loop import Arrival, Loop

SUSPEND = 60.0
RULES = Rules(service_levels=())  # nobody gives way inside a project
MOMENT = 2.0  # seconds, for the instants between two looks


def jobs_of(
    slug: str, times: list[float], seconds: float, memory: str = "70G", gpus: int = 1
) -> Iterator[Arrival]:
    """Jobs that can be suspended, handed in so many seconds from now."""
    for number, at in enumerate(times):
        each = job(f"{slug}{number}", memory, project=slug, preemptible=True, gpus=gpus)
        yield evolve(each, submitted_at=NOW + at, suspend_seconds=SUSPEND), seconds


def played(cards: int, guarantees: dict[str, int], *arrivals, rules: Rules = RULES) -> Loop:
    views = [project(slug, guarantee=Limits(cards=least)) for slug, least in guarantees.items()]
    streams = merge(*arrivals, key=lambda each: each[0].submitted_at)
    return Loop([a100(at) for at in range(cards)], streams, views, rules)


@pytest.mark.parametrize("hours", [0.2, 0.6, 5.0])
@pytest.mark.parametrize("least", [1, 2, 4])
def test_who_comes_back_has_its_guarantee_within_a_minimum_run_and_a_suspend(hours, least):
    """However long the others have run, and though they have more to run."""
    borrowed = jobs_of("b", [0.0] * 12, 20 * HOUR)
    back = jobs_of("a", [hours * HOUR] * 8, 20 * HOUR)
    loop = played(4, {"a": least, "b": 4 - least}, borrowed, back)
    loop.run(hours * HOUR + RULES.min_run + SUSPEND + MOMENT)
    assert loop.cards_of("a") == least
    assert max(loop.wait_of(f"a{at}") for at in range(least)) <= RULES.min_run + SUSPEND + MOMENT


def test_a_gang_comes_back_to_its_guarantee_too():
    borrowed = jobs_of("b", [0.0] * 6, 20 * HOUR)
    back = jobs_of("a", [HOUR], 20 * HOUR, gpus=4)
    loop = played(4, {"a": 4, "b": 0}, borrowed, back).run(2 * HOUR)
    assert loop.wait_of("a0") <= SUSPEND + MOMENT
    assert loop.preempted == Counter({f"b{at}": 1 for at in range(4)})


def test_two_projects_with_work_for_ever_settle_at_their_guarantees_and_leave_each_other_alone():
    always = [0.0] * 40
    loop = played(
        4, {"a": 2, "b": 2}, jobs_of("a", always, 3 * HOUR), jobs_of("b", always, 5 * HOUR)
    )
    loop.run(2 * DAY)
    assert loop.told == []
    assert (loop.cards_of("a"), loop.cards_of("b")) == (2, 2)


def test_after_one_round_of_giving_back_nobody_is_asked_again():
    borrowed = jobs_of("b", [0.0] * 40, 9 * HOUR)
    back = jobs_of("a", [HOUR] * 40, 9 * HOUR)
    loop = played(4, {"a": 2, "b": 2}, borrowed, back).run(4 * DAY)
    assert [(told.rule, donor) for _at, told, donor in loop.told] == [
        (PreemptionRule.RECLAIM, "b")
    ] * 2


def test_what_nobody_guarantees_is_borrowed_and_not_fought_for():
    """Two cards are guaranteed to each of two, and four more to nobody: these change hands only when a job ends."""
    borrowed = jobs_of("b", [0.0] * 60, 3 * HOUR)
    later = jobs_of("a", [HOUR] * 60, 3 * HOUR)
    loop = played(8, {"a": 2, "b": 2}, borrowed, later).run(3 * DAY)
    assert len(loop.told) == 2
    assert loop.held["a"] / loop.held["b"] == pytest.approx(1.0, abs=0.15)


class World:
    """Three projects with guarantees, which have work now and then."""

    def __init__(self, seed: int) -> None:
        dice = Random(seed)
        self.cards = dice.choice([2, 4, 6])
        self.guarantees = {"a": dice.randint(0, 2), "b": dice.randint(0, 2), "c": 0}
        self.arrivals = []
        for slug in self.guarantees:
            bursts = sorted(dice.uniform(0, 2 * DAY) for _ in range(dice.randint(1, 4)))
            times = [at for at in bursts for _ in range(dice.randint(1, 8))]
            seconds = dice.choice([0.3, 2.0, 12.0]) * HOUR
            gpus = dice.choice([1, 1, 2])
            self.arrivals.append(jobs_of(slug, times, seconds, gpus=gpus))

    def loop(self, rules: Rules = RULES) -> Loop:
        return played(self.cards, self.guarantees, *self.arrivals, rules=rules)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_in_every_world_all_work_gets_done_and_nobody_gives_way_again_and_again(seed):
    world = World(seed)
    loop = world.loop(Rules()).run(30 * DAY)
    assert loop.started.keys() == loop.ended.keys()
    assert len(loop.ended) == len(loop.handed_in)
    for times in loop.preempted_at.values():
        for at in times:
            assert sum(at - DAY < each <= at for each in times) <= RULES.most_preemptions


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_in_every_world_a_guarantee_is_neither_taken_nor_used_to_take_more(seed):
    world = World(seed)
    loop = world.loop()
    seen = 0
    while loop.step():
        for _at, told, donor in loop.told[seen:]:
            if told.rule is not PreemptionRule.RECLAIM:
                continue
            assert loop.held_then[donor] >= world.guarantees[donor]
            taker = loop.project_of(told.beneficiary)
            taken = loop.held_then[taker] + loop.promised_then[taker]
            assert taken <= world.guarantees[taker]
        seen = len(loop.told)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_in_every_world_each_job_that_comes_back_displaces_at_most_what_it_needs(seed):
    """So what is displaced, and displaces others where it is guaranteed itself, comes to rest."""
    world = World(seed)
    loop = world.loop().run(30 * DAY)
    victims = Counter(told.beneficiary for _at, told, _donor in loop.told)
    for beneficiary, number in victims.items():
        starts = 1 + loop.preempted[beneficiary]
        assert number <= 2 * starts  # two cards, one job on each
