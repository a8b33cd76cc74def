"""Cards that are kept for who waits: when they will have room, who may use them meanwhile, and how many there are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from jobs.core.constraints import Need
from jobs.core.decide import decide
from jobs.core.plan import WaitCode
from jobs.core.scheduling.outlook import NOW as ALREADY
from jobs.core.scheduling.outlook import outlook
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.rules import HOUR, Rules
from jobs.core.snapshot import Limits
from jobs.core.states import Priority
from jobs.core.units import GIB
from tests.builders import (
    NOW,
    a100,
    evolve,
    job,
    numbers,
    project,
    reasons,
    rtx4090,
    run,
    size,
    started,
    world,
)
from tests.core.kept import NEVER, busy, decided, ending, kept, occupied, waiting

LOW, MEDIUM, HIGH = Priority


# --- when a card will have room ----------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A card of 80 GiB (70 GiB of which jobs may share) with jobs on it, and a need."""

    what: str
    jobs: tuple[tuple[str, float], ...]  # memory, seconds until the end
    memory: str
    at: float | None  # None: never
    spare: str = ""
    must_leave: str = "0"
    exclusive: bool = False
    max_holders: int | None = 8
    foreign: str = "0"


CASES = [
    Case("it is empty", (), "60G", ALREADY, "10G"),
    Case("there is room beside the others", (("20G", NEVER),), "40G", ALREADY, "10G"),
    Case("the one in its way has an end", (("60G", 100.0),), "20G", 100.0, "50G"),
    Case("two have to end", (("40G", 100.0), ("20G", 200.0)), "60G", 200.0, "10G"),
    Case("the earlier end is enough", (("40G", 100.0), ("20G", 200.0)), "30G", 100.0, "20G"),
    Case("who has no end may stay", (("40G", 100.0), ("20G", NEVER)), "50G", 100.0, "0"),
    Case("nobody can tell", (("40G", NEVER),), "60G", NEVER, "10G", "40G"),
    Case(
        "the oldest would have to go",
        (("30G", NEVER), ("10G", NEVER)),
        "60G",
        NEVER,
        "0",
        "30G",
    ),
    Case("an overdue end is the next", (("60G", -50.0),), "60G", -50.0, "10G"),
    Case("alone it may have what nobody may share", (("10G", 50.0),), "78G", 50.0, "-8G"),
    Case("too large even alone", (), "79G", None),
    Case("it wants the card to itself", (("1G", 70.0),), "10G", 70.0, exclusive=True),
    Case("the card may hold two", (("1G", 30.0), ("1G", 60.0)), "1G", 30.0, max_holders=2),
    Case("the card may hold one", (("1G", 30.0), ("1G", 60.0)), "1G", 60.0, max_holders=1),
    Case("strangers stay", (), "60G", None, foreign="30G"),
    Case("there is room beside strangers", (), "40G", ALREADY, "0", foreign="30G"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_card_has_room_when(case):
    booked = sum(size(memory) for memory, _ends in case.jobs)
    card = a100(booked=booked, max_holders=case.max_holders, foreign=case.foreign)
    runs = [
        (run(f"r{at}", memory, ends=ends, since=-9000.0 + at), size(memory))
        for at, (memory, ends) in enumerate(case.jobs)
    ]
    need = Need.of(job("waits", case.memory, exclusive=case.exclusive))
    seen = outlook(need, card, runs)
    if case.at is None:
        assert seen is None
        return
    assert seen.at == (case.at if math.isinf(case.at) else NOW + case.at)
    assert seen.rank[1] == size(case.must_leave)
    if case.spare:
        sign, amount = (-1, case.spare[1:]) if case.spare[0] == "-" else (1, case.spare)
        assert seen.spare == sign * size(amount)
    else:
        assert seen.spare < 0 or seen.slots < 1, "nobody may come beside it"


@pytest.mark.parametrize(
    ("busy_with", "asks", "at", "idle"),
    [
        ((0.4, 0.4), 0.2, ALREADY, 0.0),
        ((0.4, 0.4), 0.5, 50.0, 0.1),  # the first has to end
        ((0.4, 0.4), 0.9, 60.0, 0.1),  # both have to
        ((0.4, 0.4), 0.0, ALREADY, math.inf),  # what has not been measured is never refused
        ((0.0, 0.4), 0.6, ALREADY, 0.0),
    ],
)
def test_a_card_that_may_compute_so_much_has_room_when(busy_with, asks, at, idle):
    card = a100(booked="10G", max_busy=1.0, busy=sum(busy_with))
    runs = [
        (run(f"r{place}", "5G", ends=50.0 + 10 * place, sm_share=share), size("5G"))
        for place, share in enumerate(busy_with)
    ]
    seen = outlook(Need.of(job("waits", "5G", sm_share=asks)), card, runs)
    assert seen.at == (at if math.isinf(at) else NOW + at)
    assert seen.idle == pytest.approx(idle, abs=1e-6)


def test_who_has_been_told_to_leave_is_as_good_as_gone():
    card, leaving = busy(leaving_for="waits")
    assert outlook(Need.of(waiting()), card, [(leaving, 60 * GIB)]).at == ALREADY


def test_what_is_booked_for_nobody_known_stays_until_somebody_knows_better():
    """Such as the bookings of an attempt whose row has not been read yet."""
    card = a100(booked="60G")
    assert outlook(Need.of(waiting()), card, []).at == NEVER


# --- which cards are kept ----------------------------------------------------------------------------


def test_the_card_that_has_room_soonest_is_kept():
    cards, running = ending([900, 300, 600])
    plan = decided(cards, [waiting()], running)
    assert kept(plan) == {"waits": ["gpu1"]}
    assert plan.reservations[0].at == NOW + 300
    assert not plan.reservations[0].draining


def test_where_nobody_can_tell_the_card_is_kept_from_which_least_has_to_go():
    cards, running = occupied(["60G", "30G", "50G"])
    plan = decided(cards, [waiting()], running)
    assert kept(plan) == {"waits": ["gpu1"]}
    assert plan.reservations[0].at is None


def test_a_gang_has_all_its_cards_kept_on_one_machine_until_the_last_is_free():
    cards, running = ending([900, 100, 300])
    other = a100(0, node="node-b")
    plan = decided([*cards, other], [waiting(gpus=2)], running)
    assert kept(plan) == {"waits": ["gpu1", "gpu2"]}
    assert plan.reservations[0].at == NOW + 300


def test_a_job_of_two_machines_has_cards_kept_on_both():
    cards = [a100(0, node=node, booked="60G") for node in ("a", "b", "c")]
    running = [
        run(f"r{at}", "60G", [card.uuid], ends=100.0 * (3 - at)) for at, card in enumerate(cards)
    ]
    plan = decided(cards, [waiting(nodes=2)], running, most_nodes=2)
    assert [each.uuids for each in plan.reservations] == [("c-gpu0", "b-gpu0")]


def test_no_card_is_kept_for_what_fits_nowhere():
    card, running = busy()
    plan = decided([card], [waiting("giant", "79G"), waiting("gang", gpus=3)], [running])
    assert plan.reservations == ()


def test_a_card_of_another_type_or_out_of_service_is_not_kept():
    card, running = busy(ends=900)
    others = [rtx4090(1), a100(2, drained=True)]
    plan = decided([card, *others], [waiting(gpu_type="A100")], [running])
    assert kept(plan) == {"waits": ["gpu0"]}


def test_a_card_that_comes_back_into_service_is_thought_of_again():
    slow, running = busy(0, ends=9000)
    broken, other = busy(1, ends=100)
    scheduler = Planner.of(
        world([slow, evolve(broken, drained=True)], [waiting()], running=[running, other])
    )
    assert kept(scheduler.decide(NOW)) == {"waits": ["gpu0"]}
    scheduler.put_card(broken)
    assert kept(scheduler.decide(NOW)) == {"waits": ["gpu1"]}
    scheduler.put_card(a100(2, booked="60G"))
    scheduler.put_run(run("third", "60G", ["node-a-gpu2"], ends=50))
    assert kept(scheduler.decide(NOW)) == {"waits": ["gpu2"]}


def test_a_card_on_its_way_to_be_free_is_the_soonest_though_it_is_kept_for_another():
    """Of the four cards of a gang that leaves, one is promised; the others are free just as soon."""
    cards = [a100(at, booked="60G") for at in range(3)]
    gang = run(
        "gang", "60G", [card.uuid for card in cards[:2]], priority=LOW, preemptible=True, ends=9e9
    )
    last = run("last", "60G", [cards[2].uuid], ends=500)
    jobs = [waiting("urgent", priority=HIGH), waiting("next", "61G", 0.5, project="other")]
    scheduler = Planner.of(world(cards, [], running=[gang, last]))
    scheduler.queue(jobs[1])
    assert kept(scheduler.decide(NOW)) == {"next": ["gpu2"]}
    scheduler.queue(jobs[0])
    assert scheduler.decide(NOW).preemptions != ()
    assert kept(scheduler.decide(NOW + 1))["urgent"] == ["gpu0"]
    scheduler.put_card(evolve(cards[2], weight=2.0))  # anything, so that it looks again
    assert kept(scheduler.decide(NOW + 2)) == {"urgent": ["gpu0"], "next": ["gpu1"]}


# --- for whom ----------------------------------------------------------------------------------------


def full_house(count: int):
    return ending(range(900, 900 + count))


def test_at_most_eight_jobs_have_cards_kept_and_each_of_them_another_need():
    cards, running = full_house(12)
    jobs = [waiting(f"j{at:02}", f"{40 + at // 2}G", hours=9 - at / 10) for at in range(24)]
    plan = decided(cards, jobs, running)
    assert [each.job for each in plan.reservations] == [f"j{at:02}" for at in range(0, 16, 2)]
    assert sorted(uuid for each in plan.reservations for uuid in each.uuids) == sorted(
        card.uuid for card in cards[:8]
    )


@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_site_says_for_how_many_jobs_cards_are_kept(most):
    cards, running = full_house(4)
    jobs = [waiting(f"j{at}", f"{40 + at}G") for at in range(4)]
    plan = decided(cards, jobs, running, rules=Rules(reservations=most))
    assert len(plan.reservations) == most


def test_cards_on_which_room_is_being_made_are_kept_beside_the_eight():
    cards, running = full_house(3)
    running[0] = evolve(running[0], leaving=True, leaving_for="promised")
    jobs = [waiting("promised"), waiting("j1", "41G"), waiting("j2", "42G")]
    plan = decided(cards, jobs, running, rules=Rules(reservations=1))
    assert list(kept(plan)) == ["promised", "j1"]


@pytest.mark.parametrize(
    ("hours", "service", "is_kept"),
    [(1.9, 0.0, False), (2.1, 0.0, True), (23.9, 1.0, False), (7 * 24 + 0.1, 1.0, True)],
)
def test_a_job_that_can_displace_others_has_cards_kept_only_when_it_has_waited_long(
    hours, service, is_kept
):
    card, running = busy()
    stoppable = waiting(hours=hours, preemptible=True, service=service)
    assert bool(decided([card], [stoppable], [running]).reservations) == is_kept


def test_without_preemption_it_has_cards_kept_like_everybody():
    card, running = busy()
    plan = decided([card], [waiting(preemptible=True)], [running], rules=Rules(preemption=False))
    assert kept(plan) == {"waits": ["gpu0"]}


def test_a_job_that_is_over_its_quota_has_no_cards_kept():
    card, running = busy()
    plan = decide(world([card], [waiting()], [project(limit=Limits(running=1))], running=[running]))
    assert plan.reservations == ()


def test_a_job_with_kept_cards_counts_against_its_quota_so_that_it_can_start_when_they_are_free():
    cards, running = full_house(1)
    small = waiting("small", "5G", 0.5, est_time=60.0)
    view = project(limit=Limits(running=2))
    plan = decide(world(cards, [waiting(), small], [view], running=running))
    assert kept(plan) == {"waits": ["gpu0"]}
    assert reasons(plan)["small"] is WaitCode.WAIT_QUOTA


# --- who may use them meanwhile ----------------------------------------------------------------------


def beside(hours: float = 1.0, ends: float = 2 * HOUR, **fields: Any) -> bool:
    """A job of 60 GiB waits, and its card, with 20 GiB in use, is kept for it. Whether another job may use it."""
    card, running = busy(memory="20G", ends=ends)
    later = waiting("later", fields.pop("memory", "20G"), 0.1, **fields)
    views = [project(), project("other", usage=9e9)]
    plan = decided([card], [waiting(hours=hours), later], [running], projects=views)
    assert kept(plan) == {"waits": ["gpu0"]}
    return "later" in started(plan)


@pytest.mark.parametrize(
    ("seconds", "may"), [(HOUR, True), (2 * HOUR, True), (2 * HOUR + 1, False), (NEVER, False)]
)
def test_who_is_gone_in_time_may(seconds, may):
    assert beside(est_time=seconds, ends=2.01 * HOUR) == may


@pytest.mark.parametrize(("memory", "may"), [("10G", True), ("11G", False)])
def test_who_fits_beside_the_waiting_job_may(memory, may):
    assert beside(memory=memory) == may


@pytest.mark.parametrize(("sm_share", "may"), [(0.0, True), (0.2, True), (0.3, False)])
def test_who_computes_little_enough_beside_the_waiting_job_may(sm_share, may):
    card, running = busy(memory="20G", ends=HOUR, sm_share=0.5)
    card = evolve(card, max_busy=1.0, busy=0.5)
    later = waiting("later", "5G", 0.1, sm_share=sm_share)
    plan = decided([card], [waiting(memory="5G", sm_share=0.8), later], [running])
    assert ("later" in started(plan)) == may


def test_what_fits_beside_it_is_taken_once():
    card, running = busy(memory="20G", ends=HOUR)
    jobs = [waiting(hours=1), waiting("a", "6G", 0.3), waiting("b", "5G", 0.2)]
    assert list(started(decided([card], jobs, [running]))) == ["a"]


def test_who_takes_the_last_place_beside_the_waiting_job_closes_the_card():
    card, running = busy(memory="20G", ends=HOUR)
    jobs = [waiting(hours=1), waiting("a", "2G", 0.3), waiting("b", "2G", 0.2)]
    plan = decided([evolve(card, max_holders=2)], jobs, [running])
    assert list(started(plan)) == ["a"]
    assert reasons(plan)["b"] is WaitCode.WAIT_CARD_CAP


@pytest.mark.parametrize(
    ("priority", "ends", "may"),
    [
        (LOW, HOUR, True),  # it will have run for half an hour, and then gives way
        (LOW, 0.4 * HOUR, False),  # it could not be displaced in time
        (MEDIUM, HOUR, False),  # it does not give way to its like
    ],
)
def test_who_gives_way_in_time_may(priority, ends, may):
    assert beside(preemptible=True, priority=priority, ends=ends) == may


def test_who_gives_way_may_not_where_the_waiting_job_cannot_make_it():
    """It displaces its own project's jobs only, and nobody where the site wants no preemption."""
    assert not beside(preemptible=True, priority=LOW, ends=HOUR, project="other")
    card, running = busy(memory="20G", ends=HOUR)
    later = waiting("later", "20G", 0.1, preemptible=True, priority=LOW)
    plan = decided([card], [waiting(), later], [running], rules=Rules(preemption=False))
    assert started(plan) == {}


def test_jobs_of_one_kind_and_two_projects_are_told_apart_by_whom_the_waiting_job_displaces():
    card, running = busy(memory="20G", ends=HOUR)
    fields = {"memory": "20G", "preemptible": True, "priority": LOW}
    other = waiting("other", hours=0.5, project="other", **fields)
    own = waiting("own", hours=0.1, **fields)
    views = [project("other"), project(guarantee=Limits(cards=2), usage=9e9)]
    jobs = [waiting(hours=1.5), other, own]  # in this order: the first within its guarantee
    assert list(started(decided([card], jobs, [running], projects=views))) == ["own"]


def test_who_would_give_way_is_not_let_in_any_more_where_the_cards_are_drained():
    """Of a stream of such jobs one would always be in its minimum run, and could not give way."""
    assert not beside(hours=2.1, preemptible=True, priority=LOW, ends=HOUR)


def test_who_wants_the_card_to_itself_may_not_even_if_it_would_fit():
    card, running = busy(memory="60G", ends=HOUR)
    empty = a100(1)
    alone = waiting("later", "1G", 0.1, exclusive=True)
    plan = decided([card, empty], [waiting(gpus=2), alone], [running])
    assert started(plan) == {}


def test_after_two_hours_the_cards_are_drained_and_nobody_is_let_in_because_of_its_estimate():
    assert beside(hours=1.99, est_time=60.0)
    assert not beside(hours=2.01, est_time=60.0)


def test_drained_cards_still_take_what_fits_beside():
    assert beside(hours=9, memory="10G")


def test_where_nobody_can_tell_short_jobs_may_until_the_cards_are_drained():
    assert beside(hours=1, ends=NEVER, est_time=0.9 * HOUR)
    assert not beside(hours=1, ends=NEVER, est_time=1.1 * HOUR)
    assert not beside(hours=2, ends=NEVER, est_time=60.0)


def test_nobody_is_told_until_when_cards_are_kept_where_nobody_knows():
    card, running = busy(memory="20G")
    plan = decided([card], [waiting(), waiting("later", "20G", 0.1)], [running])
    assert numbers(plan, "later") == {"kept_for": "waits", "until": None}
    card, running = busy(memory="20G", ends=600)
    plan = decided([card], [waiting(), waiting("later", "20G", 0.1)], [running])
    assert numbers(plan, "later") == {"kept_for": "waits", "until": NOW + 600}


def test_other_cards_are_not_touched_by_what_is_kept():
    card, running = busy()
    plan = decided([card, rtx4090(1)], [waiting(), waiting("later", "20G", 0.1)], [running])
    assert started(plan) == {"later": ["node-a-gpu1"]}
