"""What projects and people may hold, what they are guaranteed, and what counts from when on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from jobs.core.decide import decide
from jobs.core.plan import WaitCode
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.quota import QuotaBooks
from jobs.core.snapshot import Limits, UserView
from jobs.core.units import GIB
from tests.builders import (
    NOW,
    a100,
    evolve,
    holding,
    job,
    numbers,
    project,
    queue_of,
    reasons,
    run,
    started,
    world,
)

W = WaitCode
NO_LIMITS = Limits()
HOUR = 3600.0
CARDS = [a100(at) for at in range(4)]


def person(name: str = "ana", **fields: Any) -> UserView:
    return UserView(name=name, **fields)


def people(*each: UserView) -> dict[str, UserView]:
    return {view.name: view for view in each}


def books(*projects, running=()) -> QuotaBooks:
    quota = QuotaBooks()
    for each in projects:
        quota.put(each)
    for each in running:
        quota.hold(each)
    return quota


def held(quota: QuotaBooks, slug: str = "default") -> dict[str, int]:
    return dict(zip(("cards", "memory", "running"), quota.held(slug), strict=True))


# --- limits ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A job that asks for two cards with 16 GiB each, in a project and of a person with limits."""

    what: str
    told: dict[str, Any] | None  # None: it may start
    limit: Limits = NO_LIMITS
    theirs: Limits = NO_LIMITS
    running: tuple[Any, ...] = ()


ONE_CARD = (run("one", "16G"),)
CASES = [
    Case("nothing is limited", None, running=ONE_CARD),
    Case("exactly what is left", None, Limits(cards=3), running=ONE_CARD),
    Case(
        "a card too many",
        {"what": "cards", "used": 1, "limit": 2},
        Limits(cards=2),
        running=ONE_CARD,
    ),
    Case("all memory of both cards counts", None, Limits(memory=48 * GIB), running=ONE_CARD),
    Case(
        "a byte too many",
        {"what": "memory", "used": 16 * GIB, "limit": 48 * GIB - 1},
        Limits(memory=48 * GIB - 1),
        running=ONE_CARD,
    ),
    Case(
        "a running job too many",
        {"what": "running", "used": 1, "limit": 1},
        Limits(running=1),
        running=ONE_CARD,
    ),
    Case(
        "the person's own limit",
        {"what": "cards", "user": "ana", "used": 1, "limit": 2},
        Limits(cards=9),
        Limits(cards=2),
        ONE_CARD,
    ),
    Case(
        "the project's limit is told where both stand in the way",
        {"what": "cards", "used": 1, "limit": 2},
        Limits(cards=2),
        Limits(cards=2),
        ONE_CARD,
    ),
    Case("what others hold is not the person's", None, theirs=Limits(cards=2), running=(run("one", user="bo"),)),
    Case("what another project holds", None, Limits(cards=2), running=(run("one", project="other"),)),
    Case("more than it may ever have", {"what": "cards", "need": 2, "limit": 1}, Limits(cards=1)),
    Case("a limit of nothing", {"what": "running", "need": 1, "limit": 0}, Limits(running=0)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_job_may_start_where_neither_its_project_nor_its_owner_has_too_much(case):
    view = project(limit=case.limit, users=people(person(limit=case.theirs)))
    obstacle = books(view, running=case.running).obstacle(job(gpus=2), NOW)
    assert (dict(obstacle.numbers) if obstacle else None) == case.told


def test_what_it_can_never_have_is_told_apart_from_what_it_must_wait_for():
    quota = books(project(limit=Limits(cards=2)), running=ONE_CARD)
    codes = [quota.obstacle(job(gpus=gpus), NOW).code for gpus in (2, 3)]
    assert codes == [W.WAIT_QUOTA, W.OVER_PROJECT_QUOTA]


def test_a_limit_of_one_person_leaves_the_others_of_the_project_alone():
    view = project(users=people(person(limit=Limits(running=1)), person("bo")))
    jobs = queue_of(job("a"), job("b"), job("c", user="bo"), job("d", user="bo"))
    plan = decide(world(CARDS, jobs, [view]))
    assert set(started(plan)) == {"a", "c", "d"}
    assert numbers(plan, "b") == {"what": "running", "user": "ana", "used": 1, "limit": 1}


def test_a_person_has_a_limit_in_each_project_of_their_own():
    limited = people(person(limit=Limits(running=1)))
    views = [project("a", users=limited), project("b", users=limited)]
    plan = decide(world(CARDS, queue_of(job("one", project="a"), job("two", project="b")), views))
    assert set(started(plan)) == {"one", "two"}


def test_a_person_whose_limit_is_taken_back_has_none_any_more():
    quota = books(project(users=people(person(limit=Limits(running=1)))), running=ONE_CARD)
    assert quota.obstacle(job(), NOW) is not None
    quota.put(project())
    assert quota.obstacle(job(), NOW) is None


# --- hours of the month ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "since", "month_began", "used"),
    [
        (0.0, -HOUR, -99 * HOUR, 2.0),  # a job of two cards
        (8.0, -HOUR, -99 * HOUR, 10.0),
        (0.0, -40 * HOUR, -3 * HOUR, 6.0),  # only what it has run in this month
        (5.0, -40 * HOUR, 0.0, 5.0),
    ],
)
def test_hours_of_ended_and_running_jobs_count_together_from_the_first_of_the_month(
    ended, since, month_began, used
):
    pair = run("pair", on=("x", "y"), since=since)
    told = {"gpu_hours_month": ended, "month_began": NOW + month_began}
    enough = project(limit=Limits(gpu_hours_month=used + 0.01), **told)
    exactly = project(limit=Limits(gpu_hours_month=used), **told)
    assert books(enough, running=[pair]).obstacle(job(), NOW) is None
    assert books(exactly, running=[pair]).obstacle(job(), NOW).numbers["used"] == used


def test_hours_grow_while_a_job_runs_and_stop_when_it_ends():
    quota = books(project(limit=Limits(gpu_hours_month=2.0)), running=[run("one", since=0.0)])
    assert quota.obstacle(job(), NOW + 1.9 * HOUR) is None
    told = quota.obstacle(job(), NOW + 2 * HOUR)
    assert dict(told.numbers) == {"what": "gpu_hours_month", "used": 2.0, "limit": 2.0}
    quota.release("one")
    assert quota.obstacle(job(), NOW + 9 * HOUR) is None  # until `put` tells of what it used


def test_a_person_can_use_up_their_own_hours():
    ana = person(limit=Limits(gpu_hours_month=5.0), gpu_hours_month=5.0)
    told = books(project(users=people(ana))).obstacle(job(), NOW)
    assert dict(told.numbers) == {
        "what": "gpu_hours_month",
        "user": "ana",
        "used": 5.0,
        "limit": 5.0,
    }


# --- guarantees --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guarantee", "within"),
    [
        (Limits(), False),  # nothing is guaranteed
        (Limits(cards=3), True),
        (Limits(cards=2), False),
        (Limits(cards=0), False),
        (Limits(memory=48 * GIB), True),
        (Limits(memory=40 * GIB), False),
        (Limits(cards=9, memory=40 * GIB), False),  # all that is guaranteed must hold
        (Limits(running=2), True),
        (Limits(running=1), False),
        (Limits(gpu_hours_month=5.0), True),
        (Limits(gpu_hours_month=1.0), False),  # one card for one hour: used up
    ],
)
def test_a_job_is_within_the_guarantee_where_its_project_is_with_it(guarantee, within):
    quota = books(project(guarantee=guarantee), running=ONE_CARD)
    assert quota.is_within_guarantee(job(gpus=2), NOW) == within


def test_a_job_that_is_counted_already_is_not_counted_twice_to_see_whether_it_is_guaranteed():
    quota = books(project(guarantee=Limits(cards=2)))
    pair = job("pair", gpus=2)
    quota.promise(pair, NOW)
    assert quota.is_within_guarantee(pair, NOW)
    assert not quota.is_within_guarantee(job("other"), NOW)


@pytest.mark.parametrize(
    ("guarantee", "borrows"),
    [
        (Limits(), True),  # whoever is guaranteed nothing borrows all
        (Limits(cards=3), True),  # three of the four cards stay
        (Limits(cards=4), False),
        (Limits(memory=30 * GIB), True),
        (Limits(memory=64 * GIB), False),
        (Limits(running=3), True),
        (Limits(cards=4, running=3), True),  # with one more job it would be beyond its guarantee
        (Limits(gpu_hours_month=2.0), True),  # four cards for one hour: its hours are used up
        (Limits(gpu_hours_month=99.0), False),
    ],
)
def test_a_job_is_borrowed_where_its_project_keeps_its_guarantee_without_it(guarantee, borrows):
    running = [run(f"r{at}", "16G", [f"card-{at}"]) for at in range(4)]
    quota = books(project(guarantee=guarantee), running=running)
    assert quota.stays_guaranteed_without(running[0], NOW) == borrows


def test_who_is_furthest_above_its_guarantee_is_known():
    running = [*holding("a", running=3), *holding("b", running=3)]
    views = [project("a", guarantee=Limits(cards=2)), project("b", guarantee=Limits(cards=1))]
    quota = books(*views, project("c"), running=running)
    assert [quota.over_share(slug) for slug in "abc"] == [1.5, 3.0, float("inf")]


def test_a_guaranteed_project_goes_first_and_borrowing_ends_where_its_limit_is():
    views = [project("poor", guarantee=Limits(cards=1), usage=1e9), project("rich")]
    jobs = queue_of(*(job(f"r{at}", "70G", project="rich") for at in range(3)))
    late = [job(f"p{at}", "70G", project="poor", at=100) for at in range(3)]
    plan = decide(world(CARDS[:2], [*jobs, *late], views))
    assert list(started(plan)) == ["p0", "r0"]  # within its guarantee; then by usage


def test_who_borrows_gets_what_nobody_else_wants():
    view = project(guarantee=Limits(cards=1), limit=Limits(cards=3))
    plan = decide(world(CARDS, queue_of(*(job(f"j{at}", "70G") for at in range(4))), [view]))
    assert list(started(plan)) == ["j0", "j1", "j2"]
    assert reasons(plan) == {"j3": W.WAIT_QUOTA}


# --- what counts -------------------------------------------------------------------------------------


def test_a_job_counts_once_however_often_it_is_told():
    quota = books(project(), running=[*ONE_CARD, *ONE_CARD])
    assert held(quota) == {"cards": 1, "memory": 16 * GIB, "running": 1}
    quota.hold(evolve(ONE_CARD[0], placements=()))
    assert held(quota) == {"cards": 0, "memory": 0, "running": 1}
    quota.release("one")
    quota.release("one")
    assert held(quota) == {"cards": 0, "memory": 0, "running": 0}


def test_a_job_for_which_room_is_made_counts_before_it_starts_and_not_against_itself():
    quota, pair = books(project(limit=Limits(cards=2))), job("pair", gpus=2)
    quota.promise(pair, NOW)
    assert held(quota) == {"cards": 2, "memory": 32 * GIB, "running": 1}
    assert quota.obstacle(pair, NOW) is None
    assert quota.obstacle(job("other"), NOW) is not None
    quota.hold(run("pair", on=("x", "y")))
    assert held(quota)["cards"] == 2


def test_a_job_that_was_promised_room_may_not_start_once_its_project_may_hold_less():
    quota, pair = books(project(limit=Limits(cards=2))), job("pair", gpus=2)
    quota.promise(pair, NOW)
    assert quota.still_allows(pair, NOW)
    quota.put(project(limit=Limits(cards=1)))
    assert not quota.still_allows(pair, NOW)
    assert quota.counts("pair")


def test_a_promise_is_broken_where_the_limit_has_been_lowered_meanwhile():
    """Nothing breaks a limit, not even that others have already made room."""
    victim = run("low", "70G", priority=0, preemptible=True)
    scheduler = Planner.of(
        world([a100(booked="70G")], [job("urgent", "70G", priority=2)], running=[victim])
    )
    assert [each.job for each in scheduler.decide(NOW).preemptions] == ["low"]
    scheduler.put_project(project(limit=Limits(running=0)), NOW)
    scheduler.end("low", NOW + 60)
    assert scheduler.decide(NOW + 60).starts == ()
    assert scheduler.why("urgent").code is W.OVER_PROJECT_QUOTA


def test_a_promise_is_broken_where_the_job_asks_for_more_than_it_was_promised():
    victim = run("low", "70G", priority=0, preemptible=True, user="bo")
    urgent, limited = job("urgent", "40G", priority=2), person(limit=Limits(memory=50 * GIB))
    scheduler = Planner.of(
        world([a100(booked="70G")], [urgent], [project(users=people(limited))], running=[victim])
    )
    assert [each.job for each in scheduler.decide(NOW).preemptions] == ["low"]
    scheduler.queue(evolve(urgent, min_memory=60 * GIB))
    scheduler.end("low", NOW + 60)
    assert scheduler.decide(NOW + 60).starts == ()
    assert scheduler.why("urgent").code is W.OVER_PROJECT_QUOTA


def test_a_start_counts_until_it_ends_and_the_next_may_follow():
    scheduler = Planner.of(
        world([a100()], queue_of(job("a"), job("b")), [project(limit=Limits(running=1))])
    )
    assert [each.job for each in scheduler.decide(NOW).starts] == ["a"]
    assert scheduler.decide(NOW + 1).starts == ()
    scheduler.end("a", NOW + 2)
    assert [each.job for each in scheduler.decide(NOW + 2).starts] == ["b"]


# --- waiting for quota -------------------------------------------------------------------------------


def wide_and_narrow(waited: float, **fields: Any):
    """A job of four cards that waits for its project's quota, of which two cards are held, and one of one card."""
    wide = evolve(job("wide", gpus=4, **fields), submitted_at=NOW - waited)
    narrow = [job(f"narrow-{at}", at=3590 + at) for at in range(2)]
    limited = project(limit=Limits(cards=4), users=people(person()))
    cards = [a100(at, booked="16G" if at < 2 else "0") for at in range(4)]
    running = [run(f"r{at}", "16G", [f"node-a-gpu{at}"]) for at in range(2)]
    return decide(world(cards, [wide, *narrow], [limited], running=running))


def test_who_waits_for_quota_is_passed_at_first():
    assert set(started(wide_and_narrow(waited=1.9 * HOUR))) == {"narrow-0", "narrow-1"}


def test_who_has_waited_for_quota_for_two_hours_is_passed_no_more():
    plan = wide_and_narrow(waited=2 * HOUR)
    assert started(plan) == {}
    assert reasons(plan)["narrow-0"] is W.WAIT_RESERVED
    assert numbers(plan, "narrow-0") == {"kept_for": "wide", "until": None, "what": "quota"}


def test_who_waits_for_their_own_quota_holds_nobody_else_up():
    ana = person(limit=Limits(running=1))
    early = evolve(job("early"), submitted_at=NOW - 9 * HOUR)
    jobs = [early, job("hers", at=1), job("his", at=2, user="bo")]
    plan = decide(world(CARDS, jobs, [project(users=people(ana))], running=holding(running=1)))
    assert set(started(plan)) == {"his"}
    assert reasons(plan) == {"early": W.WAIT_QUOTA, "hers": W.WAIT_QUOTA}
