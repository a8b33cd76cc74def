"""Who gives way for whom, at what price, and who never does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from jobs.core.decide import decide
from jobs.core.plan import PreemptionRule, WaitCode
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.rules import HOUR, Rules
from jobs.core.snapshot import Limits
from jobs.core.states import Priority
from tests.builders import NOW, a100, evolve, job, project, reasons, run, started, world
from tests.core.kept import busy, occupied, waiting

LOW, MEDIUM, HIGH = Priority
R = PreemptionRule


def running(name: str = "runs", on=("node-a-gpu0",), memory: str = "60G", **fields: Any):
    """A job that can be suspended, runs for an hour and has saved nothing."""
    return run(name, memory, on, **({"preemptible": True, "priority": LOW} | fields))


def preempted(plan) -> dict[str, tuple[str, PreemptionRule]]:
    return {each.job: (each.beneficiary, each.rule) for each in plan.preemptions}


def victims(plan) -> list[str]:
    return sorted(each.job for each in plan.preemptions)


def on_full_cards(queued, runs, projects=(), *, cards: int = 1, **fields: Any):
    """A plan for cards each of which has 60 GiB in use."""
    rows = [a100(at, booked="60G") for at in range(cards)]
    return decide(world(rows, queued, projects, running=runs, **fields))


# --- by which rule -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A job that waits, one that runs, and by which rule the one gives way to the other; None: it does not."""

    what: str
    rule: PreemptionRule | None
    waits: dict[str, Any]
    runs: dict[str, Any]


SERVED = {"service": 2 * HOUR}
CASES = [
    Case("a higher priority", R.PRIORITY, {"priority": MEDIUM}, {"priority": LOW}),
    Case("two steps higher", R.PRIORITY, {"priority": HIGH}, {"priority": LOW}),
    Case("the same", None, {"priority": MEDIUM}, {"priority": MEDIUM}),
    Case("a lower one", None, {"priority": LOW}, {"priority": HIGH}),
    Case("less service", R.SERVICE, {"priority": LOW}, SERVED),
    Case("as much service", None, {"priority": LOW, "preemptible": True} | SERVED, SERVED),
    Case("more service", None, {"priority": LOW, "preemptible": True, "service": 9 * HOUR}, SERVED),
    Case(
        "a higher priority outweighs service",
        R.PRIORITY,
        {"priority": MEDIUM, "preemptible": True, "service": 9e9},
        {"priority": LOW},
    ),
    Case(
        "less service does not outweigh a lower priority",
        None,
        {"priority": LOW},
        {"priority": MEDIUM, "service": 9e9},
    ),
    Case(
        "it has run before and has waited seven times as long",
        R.PATIENCE,
        {"priority": LOW, "hours": 7 * 48.1, "preemptible": True} | SERVED,
        SERVED,
    ),
    Case("it has waited long, but never run: it has cards kept instead", None, {"priority": LOW, "hours": 99}, {}),
    Case(
        "it has run before and has waited long",
        None,
        {"priority": LOW, "hours": 48.1, "preemptible": True} | SERVED,
        SERVED,
    ),
    Case("long waiting does not outweigh priority", None, {"priority": LOW, "hours": 99}, {"priority": MEDIUM}),
    Case("the other is of another project", None, {"priority": HIGH}, {"project": "other"}),
    Case("the other cannot be suspended", None, {"priority": HIGH}, {"preemptible": False}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_job_gives_way_to(case):
    waits = {"priority": LOW, "hours": 1.0} | case.waits
    plan = on_full_cards([waiting(**waits)], [running(**case.runs)])
    assert preempted(plan) == ({"runs": ("waits", case.rule)} if case.rule else {})


def test_nobody_gives_way_where_the_site_wants_no_preemption():
    plan = on_full_cards(
        [waiting(priority=HIGH, hours=99)], [running()], rules=Rules(preemption=False)
    )
    assert plan.preemptions == ()


def test_nobody_gives_way_to_a_job_that_fits_beside():
    plan = on_full_cards([waiting(memory="10G", priority=HIGH)], [running()])
    assert (list(started(plan)), plan.preemptions) == (["waits"], ())


def test_nobody_gives_way_where_that_would_not_be_enough():
    stranger = run("stays", "30G")
    plan = decide(
        world(
            [a100(booked="60G", holders=2)],
            [waiting(priority=HIGH)],
            running=[running(memory="30G"), stranger],
        )
    )
    assert plan.preemptions == ()


def test_nobody_gives_way_to_a_job_whose_quota_is_used_up():
    view = project(limit=Limits(running=1))
    assert on_full_cards([waiting(priority=HIGH)], [running()], [view]).preemptions == ()


# --- reclaim -----------------------------------------------------------------------------------------


def test_a_project_gets_back_what_it_is_guaranteed_and_others_have_borrowed():
    views = [project(guarantee=Limits(cards=1)), project("other")]
    plan = on_full_cards([waiting(priority=LOW)], [running(project="other", priority=HIGH)], views)
    assert preempted(plan) == {"runs": ("waits", R.RECLAIM)}


@pytest.mark.parametrize("held", [1, 2, 3])
def test_a_donor_keeps_all_that_it_is_guaranteed_itself(held):
    views = [project(guarantee=Limits(cards=2)), project("other", guarantee=Limits(cards=2))]
    cards = [a100(at, booked="60G") for at in range(held)]
    runs = [running(f"r{at}", [card.uuid], project="other") for at, card in enumerate(cards)]
    jobs = [waiting(f"w{at}") for at in range(2)]
    plan = decide(world(cards, jobs, views, running=runs))
    assert len(plan.preemptions) == max(0, held - 2)


def test_a_donor_keeps_its_guarantee_also_while_those_who_go_have_not_gone_yet():
    """What has been told to leave is still held, but as good as given back."""
    views = [project(guarantee=Limits(cards=2)), project("other", guarantee=Limits(cards=2))]
    cards = [a100(at, booked="60G") for at in range(3)]
    runs = [running(f"r{at}", [card.uuid], project="other") for at, card in enumerate(cards)]
    scheduler = Planner.of(world(cards, [waiting("w0")], views, running=runs))
    assert len(scheduler.decide(NOW).preemptions) == 1
    scheduler.queue(waiting("w1"))
    assert scheduler.decide(NOW + 1).preemptions == ()


def test_a_project_reclaims_no_more_than_its_guarantee():
    views = [project(guarantee=Limits(cards=2)), project("other")]
    cards = [a100(at, booked="60G") for at in range(4)]
    runs = [running(f"r{at}", [card.uuid], project="other") for at, card in enumerate(cards)]
    plan = decide(world(cards, [waiting(f"w{at}") for at in range(4)], views, running=runs))
    assert sorted(each.beneficiary for each in plan.preemptions) == ["w0", "w1"]


def test_the_project_that_is_furthest_above_its_guarantee_gives_back_first():
    guarantee = Limits(cards=1)
    views = [project(slug, guarantee=guarantee) for slug in ("default", "a", "b")]
    cards = [a100(at, booked="60G") for at in range(5)]
    owners = ["a", "a", "b", "b", "b"]
    runs = [
        running(f"{slug}{at}", [cards[at].uuid], project=slug) for at, slug in enumerate(owners)
    ]
    plan = decide(world(cards, [waiting()], views, running=runs))
    assert [each.job[0] for each in plan.preemptions] == ["b"]


def test_a_project_without_a_guarantee_gives_back_before_one_with():
    views = [project(slug, guarantee=Limits(cards=1)) for slug in ("default", "a")]
    views.append(project("b"))
    cards = [a100(at, booked="60G") for at in range(3)]
    owners = ["a", "a", "b"]
    runs = [
        running(f"{slug}{at}", [cards[at].uuid], project=slug) for at, slug in enumerate(owners)
    ]
    assert victims(decide(world(cards, [waiting()], views, running=runs))) == ["b2"]


def test_reclaim_is_no_way_to_take_from_ones_own_project():
    views = [project(guarantee=Limits(cards=1))]
    assert on_full_cards([waiting(priority=LOW)], [running()], views).preemptions == ()


# --- who never gives way -----------------------------------------------------------------------------

SPARED = [
    ("has run for less than half an hour", running(since=-1799.0)),
    ("is frozen", evolve(running(), frozen=True)),
    ("is leaving already", running(leaving_for="another")),
    ("has given way four times today", running(preemptions=4)),
    ("ends before suspending pays", running(ends=59.0)),
    ("cannot be suspended", running(preemptible=False)),
]


@pytest.mark.parametrize(("why", "spared"), SPARED, ids=[why for why, _run in SPARED])
@pytest.mark.parametrize("rule", ["priority", "reclaim"])
def test_nobody_gives_way_who(why, spared, rule):
    waits = waiting(priority=HIGH)
    if rule == "reclaim":
        waits = evolve(waits, project="other")
    views = [project(), project("other", guarantee=Limits(cards=1))]
    assert on_full_cards([waits], [spared], views).preemptions == ()


@pytest.mark.parametrize(
    "nearly",
    [running(since=-1800.0), running(preemptions=3), running(ends=60.0), running(ends=-99.0 + 200)],
)
def test_but_who_nearly_is_one_of_these_does(nearly):
    assert victims(on_full_cards([waiting(priority=HIGH)], [nearly])) == ["runs"]


def test_the_scheduler_knows_when_a_minimum_run_will_be_over():
    scheduler = Planner.of(
        world([a100(booked="60G")], [waiting(priority=HIGH)], running=[running(since=-1000.0)])
    )
    assert scheduler.decide(NOW).preemptions == ()
    assert scheduler.next_change() == NOW + 800
    assert victims(scheduler.decide(NOW + 800)) == ["runs"]


def test_the_scheduler_knows_when_a_job_will_have_passed_a_level_of_service():
    """A whole card for an hour: then a job that has had nothing may take its place."""
    whole = running(memory="80G", since=-3000.0)
    scheduler = Planner.of(
        world([a100(booked="80G")], [waiting(priority=LOW)], running=[whole], rules=Rules())
    )
    assert scheduler.decide(NOW).preemptions == ()
    due = scheduler.next_change()
    assert due == pytest.approx(NOW + 600, abs=0.1)
    assert preempted(scheduler.decide(due)) == {"runs": ("waits", R.SERVICE)}


def test_jobs_on_cards_that_are_kept_for_somebody_else_are_left_alone():
    """Whoever had the cards kept is ahead, and waits for just these jobs to end."""
    first = waiting("first", hours=30, project="other", gpus=1)
    runs = running(priority=LOW)
    views = [project("other"), project(usage=9e9)]
    plan = on_full_cards([first, waiting(priority=HIGH)], [runs], views)
    assert [each.job for each in plan.reservations] == ["first"]
    assert plan.preemptions == ()


# --- which of several --------------------------------------------------------------------------------


def two(first: dict[str, Any], second: dict[str, Any]) -> str:
    """Which of two jobs on two cards gives way to one of high priority."""
    runs = [running("a", ["node-a-gpu0"], **first), running("b", ["node-a-gpu1"], **second)]
    (gone,) = victims(on_full_cards([waiting(priority=HIGH)], runs, cards=2))
    return gone


@pytest.mark.parametrize(
    ("first", "second", "gone"),
    [
        ({"priority": MEDIUM}, {"priority": LOW}, "b"),
        ({"priority": MEDIUM}, {"priority": LOW, "saved_at": None, "since": -90_000.0}, "b"),
        ({}, SERVED, "b"),  # of one priority, who has had more
        ({"saved_at": NOW - 600}, {"saved_at": NOW - 60}, "b"),  # who has saved last
        ({"saved_at": NOW - 60}, {"saved_at": None}, "a"),
        ({"since": -2000.0}, {"since": -3000.0}, "a"),  # nobody has saved: who has run for less
        ({"saves_itself": True}, {"saved_at": NOW - 60}, "a"),  # it loses nothing at all
        ({"saved_at": NOW - 60, "suspend_seconds": 900.0}, {"saved_at": NOW - 600}, "b"),
        (
            {"saved_at": NOW, "since": -4000.0},
            {"saved_at": NOW, "since": -3000.0},
            "b",
        ),  # the younger
        ({"saved_at": NOW}, {"saved_at": NOW}, "a"),  # equal in all: by name, for certain
    ],
)
def test_the_least_urgent_goes_and_of_these_who_loses_least_work(first, second, gone):
    assert two(first, second) == gone


def test_what_is_lost_is_the_work_since_the_last_checkpoint_and_the_way_out_and_back():
    (told,) = on_full_cards(
        [waiting(priority=HIGH)], [running(saved_at=NOW - 300, suspend_seconds=60.0)]
    ).preemptions
    assert told.lost == 300 + 60


def test_what_a_gang_loses_counts_for_each_of_its_cards():
    pair = running("pair", ["node-a-gpu0", "node-a-gpu1"], saved_at=NOW - 300)
    (told,) = on_full_cards([waiting(priority=HIGH)], [pair], cards=2).preemptions
    assert told.lost == 2 * (300 + 60)


def test_one_job_that_frees_enough_goes_rather_than_a_gang():
    pair = running("pair", ["node-a-gpu0", "node-a-gpu1"], saved_at=NOW - 100, since=-2000.0)
    one = running("one", ["node-a-gpu2"], saved_at=NOW - 150)
    assert victims(on_full_cards([waiting(priority=HIGH)], [pair, one], cards=3)) == ["one"]


def sharing(*amounts: str, waits: str = "40G", **fields: Any):
    """Jobs of these sizes on one card, the last one the youngest and so the first to be asked."""
    runs = [
        running(f"{amount}-{at}", memory=amount, since=-9000.0 + 1000 * at, saved_at=NOW)
        for at, amount in enumerate(amounts)
    ]
    booked = sum(each.placements[0].memory for each in runs)
    return decide(
        world(
            [a100(booked=booked, holders=len(runs))],
            [waiting(memory=waits, priority=HIGH, **fields)],
            running=runs,
        )
    )


def test_as_many_go_as_are_needed():
    assert victims(sharing("20G", "20G", "20G", waits="45G")) == ["20G-1", "20G-2"]


def test_who_need_not_go_after_all_is_spared():
    """Asked in the order of their loss, the small ones first; then the large one makes them needless."""
    assert victims(sharing("50G", "5G", "5G")) == ["50G-0"]


def test_all_of_a_card_go_for_a_job_that_wants_it_to_itself():
    plan = sharing("5G", "5G", "5G", waits="5G", exclusive=True)
    assert victims(plan) == ["5G-0", "5G-1", "5G-2"]


# --- gangs -------------------------------------------------------------------------------------------


def test_a_gang_makes_room_on_one_machine():
    cards = [a100(at, node=node, booked="60G") for node in "ab" for at in range(2)]
    runs = [
        running(f"r{at}", [card.uuid], saved_at=NOW - 100 * (at % 2) - 1)
        for at, card in enumerate(cards)
    ]
    plan = decide(world(cards, [waiting(priority=HIGH, gpus=2)], running=runs))
    assert victims(plan) in (["r0", "r1"], ["r2", "r3"])


def test_a_gang_uses_what_is_free_already_and_asks_for_the_rest():
    cards = [a100(0), a100(1, booked="60G")]
    plan = decide(
        world(
            cards,
            [waiting(priority=HIGH, gpus=2)],
            running=[running("r1", ["node-a-gpu1"])],
        )
    )
    assert victims(plan) == ["r1"]
    assert plan.reservations[0].uuids == ("node-a-gpu0", "node-a-gpu1")


def test_a_job_of_several_machines_makes_room_on_all_of_them():
    cards = [a100(0, node=node, booked="60G") for node in "abc"]
    runs = [running(f"r{at}", [card.uuid]) for at, card in enumerate(cards)]
    jobs = [waiting(priority=HIGH, nodes=2)]
    plan = decide(world(cards, jobs, running=runs, most_nodes=2))
    assert len(plan.preemptions) == 2
    assert len({uuid for each in plan.reservations for uuid in each.uuids}) == 2


def test_a_job_of_more_machines_than_are_allowed_makes_nobody_leave():
    cards = [a100(0, node=node, booked="60G") for node in "ab"]
    runs = [running(f"r{at}", [card.uuid]) for at, card in enumerate(cards)]
    plan = decide(world(cards, [waiting(priority=HIGH, nodes=2)], running=runs))
    assert plan.preemptions == ()


# --- what happens then -------------------------------------------------------------------------------


def test_several_jobs_make_room_in_one_cycle_each_its_own():
    runs = [running(f"r{at}", [f"node-a-gpu{at}"]) for at in range(3)]
    jobs = [waiting(f"w{at}", priority=HIGH, hours=2 - at / 10) for at in range(2)]
    plan = on_full_cards(jobs, runs, cards=3)
    assert len(plan.preemptions) == 2
    assert {each.beneficiary for each in plan.preemptions} == {"w0", "w1"}


def test_a_job_is_told_only_once_to_leave():
    scheduler = Planner.of(
        world([a100(booked="60G")], [waiting(priority=HIGH)], running=[running()])
    )
    assert victims(scheduler.decide(NOW)) == ["runs"]
    scheduler.queue(waiting("another", priority=HIGH))
    assert scheduler.decide(NOW + 1).preemptions == ()


def test_its_card_is_not_given_away_before_it_has_gone():
    scheduler = Planner.of(
        world([a100(booked="60G")], [waiting(priority=HIGH)], running=[running()])
    )
    scheduler.decide(NOW)
    for seconds in (1, 60, 3600, 90_000):
        plan = scheduler.decide(NOW + seconds)
        assert plan.starts == ()
        assert scheduler.why("waits").code is WaitCode.WAIT_PREEMPTION
    scheduler.end("runs", NOW + 90_000)
    assert started(scheduler.decide(NOW + 90_000)) == {"waits": ["node-a-gpu0"]}


def test_the_freed_card_goes_to_the_beneficiary_whoever_else_waits():
    jobs = [waiting(priority=HIGH), waiting("older", hours=11, priority=MEDIUM, project="other")]
    views = [project(), project("other", usage=9e9)]
    scheduler = Planner.of(world([a100(booked="60G")], jobs, views, running=[running()]))
    assert victims(scheduler.decide(NOW)) == ["runs"]
    scheduler.end("runs", NOW + 60)
    scheduler.queue(waiting("newest", memory="5G", hours=0, priority=HIGH, project="other"))
    assert next(iter(started(scheduler.decide(NOW + 60)))) == "waits"


def test_who_gave_way_cannot_displace_in_turn_the_one_it_gave_way_to():
    scheduler = Planner.of(
        world([a100(booked="60G")], [waiting(priority=MEDIUM, preemptible=True)], running=[running()])
    )  # fmt: skip
    scheduler.decide(NOW)
    gone = scheduler.end("runs", NOW + 60).job
    scheduler.decide(NOW + 60)
    scheduler.queue(evolve(gone, waiting_since=NOW + 60, service=2700.0, preemptions=1))
    for hours in (1, 5, 20, 47):
        assert scheduler.decide(NOW + hours * HOUR).preemptions == ()
    assert scheduler.why("runs").code is WaitCode.WAIT_MEMORY


def test_a_low_job_of_a_busy_project_waits_with_a_reason_that_names_nobody_to_suspend():
    card, holder = busy(memory="60G")
    plan = decide(world([card], [job("low", "60G", LOW)], running=[holder]))
    assert reasons(plan) == {"low": WaitCode.WAIT_MEMORY}
    assert occupied(["60G"])[0] == [card]
