"""The simulator: small worlds whose outcome can be worked out by hand. Times are seconds from zero."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.core.scheduling.rules import Rules
from jobs.core.simulation.conditions import Conditions
from jobs.core.simulation.contestants import NAMES, contestant, knows_the_future
from jobs.core.simulation.fleet_spec import parse_fleet
from jobs.core.simulation.preemptive import ShortestTime
from jobs.core.simulation.rivals import Fifo
from jobs.core.simulation.simulator import SimulationStuck, simulate
from jobs.core.simulation.workload import WorkloadJob
from jobs.core.units import GIB

ONE_CARD = "1x1xV100-32G"


def job(name: str, at: float, seconds: float, gpus: int = 1, **fields) -> WorkloadJob:
    return WorkloadJob(id=name, submit=at, duration=seconds, gpus=gpus, **fields)


def outcome(name, jobs, fleet=ONE_CARD, *, rules=None, **world):
    """What the scheduler of this name makes of the jobs; preemption is free and quick unless said otherwise."""
    rules = rules or Rules(min_run=0, service_levels=(100.0,))
    told = {"suspend_seconds": 0.0, "perfect_estimates": knows_the_future(name)} | world
    return simulate(jobs, parse_fleet(fleet), contestant(name, rules), Conditions(**told))


def spans(found) -> dict[str, tuple[float | None, float | None]]:
    """When each job first started, and when it ended."""
    return {row.job_id: (row.start, row.end) for row in found.rows}


# --- order ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_one_job_starts_when_it_comes_and_ends_when_it_is_done(name):
    found = outcome(name, [job("a", 5, 10)])
    assert spans(found) == {"a": (5, 15)}
    assert (found.figures.finished, found.figures.makespan_s) == (1, 10)


THREE = [job("a", 0, 10), job("b", 1, 5), job("c", 2, 1)]


@pytest.mark.parametrize("name", ["fifo", "greedy", "easy", "default"])
def test_three_jobs_on_one_card_run_in_the_order_in_which_they_came(name):
    found = outcome(name, THREE)
    assert spans(found) == {"a": (0, 10), "b": (10, 15), "c": (15, 16)}
    figures = found.figures
    assert figures.mean_jct_s == pytest.approx((10 + 14 + 14) / 3)
    assert figures.mean_wait_s == pytest.approx((0 + 9 + 13) / 3)
    assert (figures.max_wait_s, figures.makespan_s) == (13, 16)
    assert (figures.p50_jct_s, figures.p99_jct_s) == (14, 14)
    assert (figures.gpu_busy_ratio, figures.memory_booked_ratio) == (1, 1)


def test_the_shortest_first_is_chosen_where_nothing_can_be_preempted():
    assert spans(outcome("srtf", THREE)) == {"a": (0, 10), "c": (10, 11), "b": (11, 16)}


BLOCKED = [job("a", 0, 10), job("wide", 1, 5, gpus=2), job("short", 2, 1), job("long", 3, 20)]


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("fifo", {"a": 0, "wide": 10, "short": 15, "long": 15}),
        ("greedy", {"a": 0, "short": 2, "long": 3, "wide": 23}),
        ("easy", {"a": 0, "short": 2, "wide": 10, "long": 15}),
    ],
)
def test_who_may_pass_a_job_that_does_not_fit(name, starts):
    found = outcome(name, BLOCKED, "1x2xV100-32G")
    assert {row.job_id: row.start for row in found.rows} == starts


def test_a_reservation_leaves_the_other_cards_to_everybody():
    jobs = [job("a", 0, 10), job("wide", 1, 5, gpus=2), job("long", 3, 20)]
    found = outcome("easy", jobs, "1x2xV100-32G,1x1xA100-80G")
    assert spans(found) == {"a": (0, 10), "wide": (10, 15), "long": (3, 23)}


# --- preemption -------------------------------------------------------------------------------------


def test_a_preemption_costs_both_sides_what_suspending_and_resuming_takes():
    jobs = [job("long", 0, 100, preemptible=True), job("short", 50, 20)]
    found = outcome("srtf", jobs, suspend_seconds=10)
    # 50 s of work, 5 s to save it, 20 s for the other, 5 s to load it, 50 s of work
    assert spans(found) == {"long": (0, 130), "short": (55, 75)}
    figures = found.figures
    assert (figures.preemptions, figures.lost_gpu_s) == (1, 10)
    assert [row.preemptions for row in found.rows] == [1, 0]
    assert figures.gpu_busy_ratio == pytest.approx((130 - 5) / 130)  # saving does not compute


def test_what_is_lost_counts_every_card():
    jobs = [job("long", 0, 100, gpus=4, preemptible=True), job("short", 50, 20, gpus=4)]
    assert outcome("srtf", jobs, "1x4xV100-32G", suspend_seconds=10).figures.lost_gpu_s == 40


def test_starting_again_is_lost_as_well():
    jobs = [job("long", 0, 100, preemptible=True, start_overhead=3), job("short", 53, 20)]
    found = outcome("srtf", jobs, suspend_seconds=10)
    assert spans(found) == {"long": (0, 3 + 50 + 5 + 20 + 3 + 5 + 50), "short": (58, 78)}
    assert found.figures.lost_gpu_s == 13


def test_nobody_is_preempted_before_the_minimum_run():
    jobs = [job("long", 0, 100, preemptible=True), job("short", 50, 10)]
    found = outcome("srtf", jobs, rules=Rules(min_run=80), suspend_seconds=10)
    assert spans(found) == {"long": (0, 120), "short": (85, 95)}


def test_what_cannot_be_preempted_runs_on():
    jobs = [job("long", 0, 100), job("short", 50, 20)]
    assert spans(outcome("srtf", jobs)) == {"long": (0, 100), "short": (100, 120)}
    assert spans(outcome("srtf", jobs, all_preemptible=True))["short"] == (50, 70)


def test_the_shortest_service_counts_cards():
    jobs = [
        job("wide", 0, 30, gpus=2, preemptible=True),  # 60 GPU-seconds, 40 of them left at 10
        job("narrow", 10, 35),  # 35 GPU-seconds
    ]
    assert spans(outcome("srtf", jobs, "1x2xV100-32G"))["narrow"] == (30, 65)
    assert spans(outcome("srsf", jobs, "1x2xV100-32G"))["narrow"] == (10, 45)


def test_attained_service_sets_a_job_back_when_it_passes_a_level():
    jobs = [job("old", 0, 300, preemptible=True), job("new", 30, 50, preemptible=True)]
    found = outcome("las", jobs)
    assert spans(found) == {
        "old": (0, pytest.approx(350)),
        "new": (pytest.approx(100), pytest.approx(150)),
    }


def test_within_a_level_who_runs_keeps_its_card():
    jobs = [job("first", 0, 90, preemptible=True), job("second", 10, 90, preemptible=True)]
    found = outcome("las", jobs)
    assert spans(found) == {"first": (0, 90), "second": (90, 180)}
    assert found.figures.preemptions == 0


def test_jobs_leave_one_machine_for_one_that_needs_all_of_it():
    jobs = [job(f"small-{number}", 0, 100, preemptible=True) for number in range(4)]
    jobs += [job("wide", 50, 10, gpus=4)]
    found = outcome("srsf", jobs, "1x4xV100-32G", suspend_seconds=4)
    assert spans(found)["wide"] == (52, 62)
    assert found.figures.preemptions == 4
    assert {row.end for row in found.rows[:4]} == {50 + 2 + 10 + 2 + 50}


def test_studies_in_which_moving_is_free_place_everybody_anew():
    # At 11 `short` ranks first and takes the first card: `long` moves to the second, and back when it ends.
    jobs = [job("long", 0, 100, start_overhead=1), job("short", 11, 50, start_overhead=1)]
    world = Conditions(suspend_seconds=0, all_preemptible=True, perfect_estimates=True)
    scheduler = ShortestTime(Rules(min_run=0), moves=True)
    found = simulate(jobs, parse_fleet("1x2xV100-32G"), scheduler, world)
    assert spans(found) == {"long": (0, 103), "short": (11, 62)}
    assert (found.figures.preemptions, found.figures.lost_gpu_s) == (2, 2)


def test_who_is_behind_in_such_a_study_has_to_stop():
    jobs = [job("wide", 0, 100, gpus=2), job("short", 10, 20), job("long", 20, 200)]
    world = Conditions(suspend_seconds=0, all_preemptible=True, perfect_estimates=True)
    found = simulate(
        jobs, parse_fleet("1x2xV100-32G"), ShortestTime(Rules(min_run=0), moves=True), world
    )
    # `long` fills the other card from 20 until `wide` goes on at 30, and goes on when that is done.
    assert spans(found) == {"wide": (0, 120), "short": (10, 30), "long": (20, 310)}


def test_a_scheduler_that_goes_round_in_circles_is_found_out():
    class Restless(Fifo):
        def cycle(self):
            for run in self.runs.values():
                if not run.leaving:
                    self.tell_to_leave(run, "")
            super().cycle()

    jobs = [job("a", 0, 10), job("b", 5, 10)]
    with pytest.raises(SimulationStuck, match="At 5 s the scheduler preempts and starts jobs for"):
        simulate(jobs, parse_fleet("1x2xV100-32G"), Restless(), Conditions(suspend_seconds=0))


class Recording(Fifo):
    """Notes what it is told of a job that comes back; preempts it once, at the second cycle."""

    def __init__(self):
        super().__init__()
        self.told = []

    def queue(self, job):
        self.told.append(job)
        super().queue(job)

    def put_run(self, run):
        self.told.append(run.job)
        super().put_run(run)

    def cycle(self):
        if self.now == 50:
            self.tell_to_leave(self.runs["a"], "b")
        super().cycle()


def test_a_job_that_comes_back_brings_its_history():
    scheduler = Recording()
    world = Conditions(suspend_seconds=10, perfect_estimates=True, preemption_window=40)
    simulate([job("a", 0, 100), job("b", 50, 1)], parse_fleet(ONE_CARD), scheduler, world)
    first, _b, back, forgiven = scheduler.told
    assert (first.preemptions, first.service, first.expected_run) == (0, 0, 100)
    assert (back.preemptions, back.service, back.expected_run) == (1, 55, 55)
    assert (back.waiting_since, back.submitted_at, back.attempts) == (55, 0, 1)
    assert forgiven.preemptions == 0  # the window has passed, and the job runs again
    assert forgiven.expected_run == 100 - 50 - (90 - 60)


# --- sizes and places ---------------------------------------------------------------------------------


def test_a_job_larger_than_a_machine_gets_whole_machines():
    jobs = [job("wide", 0, 10, gpus=12), job("small", 1, 1)]
    found = outcome("greedy", jobs, "2x8xV100-32G")
    assert spans(found) == {"wide": (0, 10), "small": (10, 11)}
    assert found.figures.gpu_busy_ratio == pytest.approx((16 * 10 + 1) / (16 * 11))


def test_jobs_that_never_fit_are_left_out_and_named():
    jobs = [job("giant", 0, 10, gpus=32), job("a", 0, 10), job("b", 0, 10, gpu_type="H100")]
    found = outcome("fifo", jobs, "2x8xV100-32G")
    assert found.never_fit == ("giant", "b")
    assert (found.figures.jobs, found.figures.finished) == (3, 1)
    assert spans(found)["giant"] == (None, None)


def test_waits_are_told_apart_by_size():
    jobs = [job("a", 0, 10, gpus=8), job("b", 0, 10, gpus=2), job("c", 0, 10, gpus=16)]
    found = outcome("fifo", jobs, "2x8xV100-32G")
    assert found.figures.max_wait_s_by_gpus == {"1": None, "2-7": 0, "8-15": 0, "16+": 10}


def test_a_start_overhead_holds_the_card_without_work():
    found = outcome("fifo", [job("a", 0, 10, start_overhead=3)])
    assert spans(found) == {"a": (0, 13)}
    assert found.figures.lost_gpu_s == 0  # nobody was preempted


def test_where_nothing_departs_the_ratios_are_those_at_the_end():
    jobs = [job("a", 0, 10), job("b", 5, 10), job("c", 6, 10, gpus=4)]
    found = outcome("greedy", jobs, "1x4xV100-32G", departures=False)
    figures = found.figures
    assert (figures.finished, figures.makespan_s, figures.mean_jct_s) == (0, None, None)
    assert (figures.gpu_busy_ratio, figures.memory_booked_ratio) == (0.5, 0.5)
    assert spans(found) == {"a": (0, None), "b": (5, None), "c": (None, None)}


def test_a_workload_without_jobs_has_no_figures():
    figures = outcome("fifo", []).figures
    assert (figures.jobs, figures.mean_jct_s, figures.gpu_busy_ratio) == (0, None, None)


# --- shared cards -------------------------------------------------------------------------------------


def light(name, seconds, **fields):
    return job(name, 0, seconds, memory=8 * GIB, sm_share=0.5, **fields)


def test_jobs_that_share_a_card_slow_each_other_down():
    found = outcome("greedy", [light("a", 98), light("b", 49)], mode="smart-queue")
    # Two at 0.98 of their speed until 50, then one alone for the other 49 s of its work.
    assert spans(found) == {"a": (0, pytest.approx(99)), "b": (0, pytest.approx(50))}
    assert found.figures.memory_booked_ratio == pytest.approx((8 * 99 + 8 * 50) / (32 * 99))
    assert found.figures.gpu_busy_ratio == pytest.approx((50 + 0.5 * 49) / 99)


def test_jobs_that_would_overload_a_card_do_not_share_it():
    jobs = [replace(light("a", 10), sm_share=0.8), replace(light("b", 10), sm_share=0.8)]
    assert spans(outcome("greedy", jobs, mode="smart-queue"))["b"] == (10, 20)
    assert spans(outcome("greedy", jobs, mode="dynamic-sharding"))["b"][0] == 0
    assert spans(outcome("greedy", jobs, mode="exclusive"))["b"] == (10, 20)


def test_a_gang_is_as_slow_as_its_slowest_card():
    jobs = [light("wide", 98, gpus=2), light("b", 98)]
    found = outcome("greedy", jobs, "1x2xV100-32G", mode="smart-queue")
    assert spans(found) == {"wide": (0, pytest.approx(100)), "b": (0, pytest.approx(100))}


def test_a_job_that_names_no_memory_takes_its_card_whole():
    jobs = [job("a", 0, 10), light("b", 10)]
    assert spans(outcome("greedy", jobs, mode="dynamic-sharding"))["b"] == (10, 20)


# --- the same every time ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_same_world_gives_the_same_outcome(name):
    jobs = [
        job(f"job-{number}", 7 * number, 31 + 13 * (number % 5), gpus=1 + 3 * (number % 3 == 0))
        for number in range(40)
    ]
    first, second = (
        outcome(name, jobs, "2x4xV100-32G", all_preemptible=True, suspend_seconds=2)
        for _ in range(2)
    )
    assert first == second
    assert first.figures.finished == 40


def test_a_scheduler_that_starts_nothing_is_given_up():
    class Idle(Fifo):
        def cycle(self):
            pass

        def next_change(self):
            return self.now + 1

    found = simulate([job("a", 0, 10)], parse_fleet(ONE_CARD), Idle())
    assert (found.figures.finished, spans(found)) == (0, {"a": (None, None)})


def test_a_policy_problem_is_told():
    class Broken(Fifo):
        def decide(self, now):
            return replace(super().decide(now), policy_problem="The policy is broken.")

    found = simulate([job("a", 0, 10)], parse_fleet(ONE_CARD), Broken())
    assert found.policy_problem == "The policy is broken."
