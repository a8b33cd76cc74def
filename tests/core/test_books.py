"""Every counter is the sum over what it counts, whatever has happened before."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.rules import HOUR, Rules
from jobs.core.scheduling.state import State
from jobs.core.units import GIB
from tests.builders import NOW, a100, job, queue_of, world
from tests.core.driven import MOST_QUEUED, PEOPLE, PROJECTS, Driven

EVENTS = 100_000


def state_of(world: Driven) -> State:
    return world.scheduler._state


def cards_show_what_runs_on_them(world: Driven) -> None:
    told = {card.uuid: replace(card, busy=round(card.busy, 6)) for card in world.scheduler.cards}
    noted = {uuid: replace(card, busy=round(card.busy, 6)) for uuid, card in world.cards.items()}
    assert told == noted
    booked: Counter[str] = Counter()
    for run in world.running.values():
        booked.update({each.uuid: each.memory for each in run.placements})
    assert {card.uuid: card.booked for card in world.scheduler.cards if card.booked} == booked


def quotas_count_what_runs_and_what_is_promised(world: Driven) -> None:
    quota = state_of(world).quota
    counted = [
        (job.project, job.cards, job.cards * job.min_memory)
        for job in world.queued.values()
        if quota.counts(job.id)
    ]
    counted += [
        (run.job.project, len(run.placements), sum(each.memory for each in run.placements))
        for run in world.running.values()
    ]
    for slug in PROJECTS:
        own = [(cards, memory) for project, cards, memory in counted if project == slug]
        whole = sum(cards for cards, _memory in own), sum(memory for _cards, memory in own)
        assert quota.held(slug) == (*whole, len(own))


def only_jobs_for_which_room_is_kept_are_counted_before_they_run(world: Driven) -> None:
    quota = state_of(world).quota
    kept = {each.job for each in world.scheduler.reservations}
    assert {job_id for job_id in world.queued if quota.counts(job_id)} <= kept


def usage_is_that_of_all_jobs(world: Driven) -> None:
    usage = state_of(world).usage
    entry = min(world.rules.min_run, world.rules.half_life)  # what a start is charged for at once
    for slug in PROJECTS:
        for user in PEOPLE:
            running = sum(
                world.rates[run.job.id]
                * world.decayed(run.started_at, max(world.now, run.started_at + entry))
                for run in world.running.values()
                if (run.job.project, run.job.user) == (slug, user)
            )
            whole = world.used(slug, user) + running
            assert usage.of_user(slug, user, world.now) == pytest.approx(whole, rel=1e-6, abs=1e-3)
        parts = [usage.of_user(slug, user, world.now) for user in PEOPLE]
        assert usage.of_project(slug, world.now) == pytest.approx(sum(parts), rel=1e-6, abs=1e-3)


def the_runs_are_those_that_were_told(world: Driven) -> None:
    assert {run.job.id: run for run in world.scheduler.runs} == world.running
    people: dict[str, Counter[str]] = {slug: Counter() for slug in PROJECTS}
    for run in world.running.values():
        people[run.job.project][run.job.user] += 1
    told = state_of(world).runs.people
    assert {slug: dict(told.get(slug, {})) for slug in PROJECTS} == people


def the_queue_is_what_was_handed_in(world: Driven) -> None:
    assert sorted(world.scheduler.order()) == sorted(world.queued)
    assert all(world.scheduler.job(name) == job for name, job in world.queued.items())
    people: dict[str, Counter[str]] = {slug: Counter() for slug in PROJECTS}
    for each in state_of(world).line:
        people[each.project][each.user] += 1
    lines = state_of(world).line.projects
    assert {slug: lines[slug].people for slug in PROJECTS} == people


def memory_that_a_job_holds_is_nobody_elses(world: Driven) -> None:
    """Also while a preempted job is on its way out, and before anything is measured: a booking counts at once."""
    for card in world.scheduler.cards:
        if card.holders > 1:
            assert card.booked <= 0.9 * card.total - card.safety
        assert card.booked <= card.total - card.safety


COUNTERS = [
    cards_show_what_runs_on_them,
    quotas_count_what_runs_and_what_is_promised,
    only_jobs_for_which_room_is_kept_are_counted_before_they_run,
    usage_is_that_of_all_jobs,
    the_runs_are_those_that_were_told,
    the_queue_is_what_was_handed_in,
    memory_that_a_job_holds_is_nobody_elses,
]


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**32))
def test_in_many_small_worlds_every_counter_is_right_after_every_decision(seed):
    world = Driven(seed, rules=Rules(half_life=6 * HOUR if seed % 2 else HOUR / 4))
    for _ in range(20):
        for _ in range(4):
            world.step()
        world.decide()
        for holds in COUNTERS:
            holds(world)


def test_in_one_world_every_counter_is_right_after_a_hundred_thousand_events():
    world, started = Driven(1), 0
    for event in range(EVENTS):
        world.step()
        if event % 1000 == 999:
            started += len(world.decide().starts)
            for holds in COUNTERS:
                holds(world)
    assert world.count > EVENTS / 10
    assert started > 0


def test_lists_behind_the_books_stay_about_as_long_as_what_they_list():
    """Entries that are out of date are taken out: a service that runs for months must not slow down."""
    world, most = Driven(2), 2 * MOST_QUEUED + 100
    for _ in range(20_000):
        world.step()
        state = state_of(world)
        assert len(state.line._guard) < most
        assert len(state.runs._timeline) < 2 * most
        for line in state.line.projects.values():
            assert len(line.heads) < most
            assert all(len(lane._heap) < most for lane in line.lanes.values())


@pytest.mark.parametrize("at_once", [True, False])
def test_a_burst_of_starts_books_no_more_than_there_is_though_its_memory_shows_late(at_once):
    """A job takes minutes to fill its memory; until then the card looks empty to whoever measures it."""
    jobs = queue_of(*(job(f"j{at:02}", "14G") for at in range(20)))
    planner = Planner.of(world([a100()], jobs if at_once else ()))
    started = 0
    for second in range(20):
        if not at_once:
            planner.queue(jobs[second])
        started += len(planner.decide(NOW + second).starts)
        looks_empty = a100(booked=started * 14 * GIB, holders=started, measured="80G")
        planner.put_card(looks_empty)
    assert started == 5
