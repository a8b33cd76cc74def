"""Cards on which room is being made: kept for the job for whom others give way, and for nobody else."""

from __future__ import annotations

from typing import Any

from jobs.core.plan import WaitCode
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.rules import Rules
from jobs.core.states import Priority
from jobs.core.units import GIB
from tests.builders import NOW, a100, evolve, reasons, run, started, world
from tests.core.kept import decided, kept, occupied, waiting

LOW, MEDIUM, HIGH = Priority


def making_room(gpus: int = 1, **rules: Any) -> Planner:
    """A job of high priority for which as many jobs as it wants cards have been told to leave."""
    cards, running = occupied(["70G"] * gpus, priority=LOW, preemptible=True)
    urgent = waiting("urgent", priority=HIGH, gpus=gpus)
    small = waiting("small", "5G", 9, priority=LOW, preemptible=True, est_time=60.0)
    scheduler = Planner.of(world(cards, [urgent, small], running=running, rules=Rules(**rules)))
    plan = scheduler.decide(NOW)
    assert len(plan.preemptions) == gpus
    return scheduler


def starts(scheduler: Planner, at: float) -> list[str]:
    return [each.job for each in scheduler.decide(NOW + at).starts]


def test_cards_on_which_room_is_made_are_kept_until_the_job_has_started():
    scheduler = making_room()
    assert starts(scheduler, 30) == []
    scheduler.end("r0", NOW + 60)
    assert starts(scheduler, 60)[0] == "urgent"


def test_a_gang_keeps_the_cards_of_those_who_have_gone_while_others_still_leave():
    scheduler = making_room(gpus=3)
    for at in range(2):
        scheduler.end(f"r{at}", NOW + 10 * at)
        assert starts(scheduler, 10 * at) == []
        assert scheduler.why("urgent").code is WaitCode.WAIT_PREEMPTION
        assert scheduler.why("urgent").numbers == {"jobs": 2 - at}
    scheduler.end("r2", NOW + 30)
    assert starts(scheduler, 30)[0] == "urgent"


def test_nobody_slips_in_even_where_no_minimum_run_protects_anybody():
    scheduler = making_room(gpus=2, min_run=0.0)
    scheduler.end("r0", NOW + 10)
    assert starts(scheduler, 10) == []


def test_the_freed_cards_are_kept_for_half_a_minute_while_their_readings_catch_up():
    scheduler = making_room()
    scheduler.drop_run("r0")
    late = a100(measured="10G")  # the process is gone, but the driver does not show it yet
    scheduler.put_card(late)
    assert starts(scheduler, 60) == []
    assert scheduler.next_change() == NOW + 90
    assert starts(scheduler, 89) == []
    scheduler.put_card(evolve(late, measured_free=80 * GIB))
    assert starts(scheduler, 89.5)[0] == "urgent"


def test_after_that_it_waits_like_everybody_and_the_cards_are_open():
    scheduler = making_room()
    scheduler.drop_run("r0")
    scheduler.put_card(a100(foreign="30G"))  # somebody else has taken what was freed
    assert starts(scheduler, 60) == []
    assert starts(scheduler, 91) == ["small"]
    assert scheduler.why("urgent").code is WaitCode.GHOST_MEMORY


def test_a_job_may_start_elsewhere_before_room_has_been_made_and_gives_its_promise_back():
    scheduler = making_room()
    scheduler.put_card(a100(5))
    plan = scheduler.decide(NOW + 5)
    assert started(plan)["urgent"] == ["node-a-gpu5"]
    scheduler.end("r0", NOW + 60)
    scheduler.queue(waiting("next", priority=LOW))
    assert starts(scheduler, 60) == ["next"]


def test_a_promise_moves_to_another_card_of_those_who_leave_where_one_goes_out_of_service():
    cards = [a100(at, booked="30G") for at in range(2)]
    pair = run("pair", "30G", [card.uuid for card in cards], priority=LOW, preemptible=True)
    urgent = waiting("urgent", priority=HIGH)
    scheduler = Planner.of(world(cards, [urgent], running=[pair]))
    assert kept(scheduler.decide(NOW)) == {"urgent": ["gpu0"]}
    scheduler.put_card(evolve(cards[0], drained=True))
    assert kept(scheduler.decide(NOW)) == {"urgent": ["gpu1"]}


def test_a_scheduler_that_is_made_anew_keeps_what_another_one_has_promised():
    cards = [a100(at, booked="30G") for at in range(2)]
    pair = run("pair", "30G", [card.uuid for card in cards], priority=LOW, leaving_for="urgent")
    plan = decided(cards, [waiting("urgent", priority=HIGH)], [pair])
    assert kept(plan) == {"urgent": ["gpu0"]}
    assert reasons(plan) == {"urgent": WaitCode.WAIT_PREEMPTION}


def test_what_the_job_leaves_of_its_card_is_there_for_others_in_the_same_cycle():
    scheduler = making_room()
    scheduler.end("r0", NOW + 60)
    assert starts(scheduler, 60) == ["urgent", "small"]


def test_a_job_that_is_withdrawn_gives_its_promise_back():
    scheduler = making_room()
    scheduler.withdraw("urgent")
    scheduler.end("r0", NOW + 60)
    assert starts(scheduler, 60) == ["small"]


def test_a_job_that_is_to_wait_for_a_while_gives_its_promise_back():
    scheduler = making_room()
    scheduler.queue(
        evolve(waiting("urgent", priority=HIGH), not_before=NOW + 600),
    )
    scheduler.end("r0", NOW + 60)
    assert starts(scheduler, 60) == ["small"]
