"""What another quota or share would do to the queue: decided twice, told by what differs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.core.decide import decide
from jobs.core.scheduling.compare import Change, compare
from jobs.core.snapshot import Limits
from tests.builders import a100, evolve, job, project, queue_of, run, world

HOUR = 3600.0
LIMITED = Limits(cards=1)


def told(before, after):
    return {each.job: each for each in compare(before, after)}


def with_projects(snapshot, *projects):
    return evolve(snapshot, projects={each.slug: each for each in projects})


def held_back():
    """A free card, and a job whose project may hold no more than it does."""
    running = run("runs", "40G", ["node-a-gpu0"])
    limited = project(limit=LIMITED)
    return world([a100(0), a100(1)], [job("waits", "70G")], running=[running], projects=[limited])


def test_a_raised_limit_starts_the_job_that_it_kept_back():
    before = held_back()
    found = told(before, with_projects(before, project()))
    assert found["waits"].change is Change.STARTS
    assert (found["waits"].place_before, found["waits"].place_after) == (1, 0)


def test_a_lowered_limit_keeps_back_a_job_that_would_start():
    after = held_back()
    found = told(with_projects(after, project()), after)
    assert found["waits"].change is Change.BLOCKED
    assert found["waits"].place_after == 1


def behind_each_other(weight):
    """One card that is free in an hour; two projects with a job each, the first with twice the usage."""
    running = run("runs", "70G", ["node-a-gpu0"], project="other", ends=HOUR)
    card = a100(0, booked="70G", holders=1)
    waiting = queue_of(
        job("first", "70G", project="one", est_time=HOUR),
        job("second", "70G", project="two", est_time=HOUR),
    )
    projects = [
        project("one", usage=2000.0, weight=weight),
        project("two", usage=1000.0),
        project("other"),
    ]
    return world([card], waiting, running=[running], projects=projects)


def test_more_weight_lets_a_project_go_first_and_the_other_wait_longer():
    found = told(behind_each_other(1.0), behind_each_other(9.0))
    assert (found["first"].change, found["second"].change) == (Change.SOONER, Change.LATER)
    first = found["first"]
    assert (first.place_before, first.place_after) == (2, 1)
    assert first.at_before is not None
    assert first.at_after is not None
    assert first.at_after < first.at_before


def test_a_guarantee_that_is_reclaimed_suspends_who_borrows():
    running = run("borrows", "70G", ["node-a-gpu0"], project="two", preemptible=True)
    card = a100(0, booked="70G", holders=1)
    plain = [project("one"), project("two")]
    before = world([card], [job("waits", "70G", project="one")], running=[running], projects=plain)
    guaranteed = project("one", guarantee=Limits(cards=1, memory=80 * 2**30, running=1))
    found = told(before, with_projects(before, guaranteed, project("two")))
    assert found["borrows"].change is Change.SUSPENDED


def test_without_time_to_look_ahead_places_decide():
    before, after = behind_each_other(1.0), behind_each_other(9.0)
    found = {each.job: each for each in compare(before, after, go_on=lambda: False)}
    assert found["first"].at_after is None
    assert (found["first"].change, found["second"].change) == (Change.SOONER, Change.LATER)


weights = st.floats(0.1, 10)


@given(st.lists(st.sampled_from(["10G", "40G", "70G"]), max_size=6), weights, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_the_same_twice_changes_nothing(needs, weight, most):
    waiting = queue_of(
        *(
            job(f"job-{at}", need, project="one" if at % 2 else "two", est_time=HOUR)
            for at, need in enumerate(needs)
        )
    )
    projects = [project("one", weight=weight, limit=Limits(cards=most)), project("two")]
    snapshot = world([a100(0), a100(1)], waiting, projects=projects)
    assert compare(snapshot, snapshot) == []


@given(st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=40, deadline=None)
def test_what_it_says_starts_is_what_the_cycle_would_start(before_most, after_most):
    def limited(most):
        waiting = queue_of(*(job(f"job-{at}", "70G", est_time=HOUR) for at in range(4)))
        cards = [a100(at) for at in range(4)]
        return world(cards, waiting, projects=[project(limit=Limits(cards=most))])

    before, after = limited(before_most), limited(after_most)
    found = told(before, after)
    new = {s.job for s in decide(after).starts} - {s.job for s in decide(before).starts}
    assert {name for name, each in found.items() if each.change is Change.STARTS} == new
