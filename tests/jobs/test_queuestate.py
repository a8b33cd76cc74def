"""The picture of the queue that one process keeps: what it knows, how fresh it is, whose order it shows."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs import lifecycle, queue, queuestate, sitesettings
from jobs.core.plan import Placement
from jobs.core.states import Priority
from jobs.queuestate import QueueState
from jobs.sight import sight_of
from tests.jobs.queueworlds import behind_one_another
from tests.rows import GIB, a_device, a_job, a_running_job, a_user, an_admin
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db


@pytest.fixture
def state():
    made = QueueState()
    yield made
    made.close()


@pytest.fixture
def short(monkeypatch):
    """A long queue in small: two places are always known, four can be found."""
    monkeypatch.setattr(queuestate, "POSITIONS", 2)
    monkeypatch.setattr(queuestate, "FURTHEST", 4)


def test_readers_of_one_second_share_one_look(state):
    a_job()
    first = state.look()
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert state.look() is first
    assert len(asked) == 0


def test_what_changes_is_seen_by_the_next_look(state):
    job = a_job("first")
    assert state.look().order == (job.pk,)
    second = a_job("second", priority=Priority.HIGH)
    lifecycle.hold(job, job.owner)
    state.forget()
    assert state.look().order == (second.pk,)


def test_a_look_that_took_long_is_kept_though_something_has_changed(state, monkeypatch):
    monkeypatch.setattr(queuestate, "_QUICK", -1.0)
    first = state.look()
    a_job()
    state.forget()
    assert state.look() is first


def test_a_look_takes_as_many_queries_for_a_hundred_jobs_as_for_ten(state):
    a_device()
    for number in range(10):
        a_job(f"few-{number}")
    state.look()
    few = queries_of_a_look(state, "one-more")
    for number in range(90):
        a_job(f"many-{number}")
    assert queries_of_a_look(state, "last") == few


def queries_of_a_look(state, task_id):
    state.forget()
    state.look()
    a_job(task_id)
    state.forget()
    with CaptureQueriesContext(connection) as asked:
        state.look()
    return len(asked)


def test_nothing_that_is_shown_is_carried_out(state):
    device = a_device()
    job = a_job()
    assert state.look().starting == {job.pk}
    job.refresh_from_db()
    assert (job.state, device.allocations.count()) == ("QUEUED", 0)
    state.forget()
    assert state.look().starting == {job.pk}


def test_a_job_that_starts_sees_the_cards_without_itself_and_others_with_it(state):
    a_device(total=40 * GIB)
    job = a_job(memory=30 * GIB)
    assert [card.booked for card in state.cards(job.pk)] == [0]
    assert [card.booked for card in state.cards("somebody")] == [30 * GIB]


def test_places_are_known_for_the_head_and_found_further_back(state, short):
    jobs = behind_one_another(*"abcde")
    assert state.look().order == tuple(job.pk for job in jobs[:2])
    assert [state.place(job.pk) for job in jobs] == [1, 2, 3, 4, None]
    assert state.place("nobody") is None


def test_the_head_has_the_first_jobs_what_runs_and_whom_one_asks_for(state, short):
    jobs = behind_one_another(*"abcde")
    head = state.head(jobs[4].pk).snapshot
    assert [job.task_id for job in head.queued] == ["a", "b", "e"]
    (run,) = head.running
    assert run.placements == (Placement(uuid="GPU-test-0", memory=40 * GIB),)
    assert head.projects["default"].slug == "default"


def test_the_list_shows_the_head_and_counts_the_others(short, monkeypatch):
    monkeypatch.setattr(queue, "POSITIONS", 2)
    jobs = behind_one_another(*"abcd")
    lifecycle.hold(jobs[3], a_user())
    found = queue.rows(sight_of(an_admin()))
    assert [(row.named, row.position) for row in found.rows] == [("a#1", 1), ("b#1", 2)]
    assert found.more == 2
    assert (queue.position(jobs[2]), queue.position(jobs[2], exact=True)) == (None, 3)


def test_the_sites_policy_gives_the_order_that_is_shown(state):
    first, second = behind_one_another("first", "second")
    urgent = a_job("urgent", memory=70 * GIB, priority=Priority.HIGH)
    assert state.look().order == (urgent.pk, first.pk, second.pk)
    sitesettings.change({"policy": "fifo"}, None)

    def look():
        state.forget()
        return state.look()

    wait_until(lambda: look().policy == "fifo", seconds=30)
    assert look().order == (first.pk, second.pk, urgent.pk)
    assert state.head().ranks is not None
    standing = state.standing(second.pk)
    assert standing is not None
    assert standing.policy
    sitesettings.change({"policy": "default"}, None)
    assert look().order == (urgent.pk, first.pk, second.pk)


def test_forgetting_waits_for_nobody(state):
    held = threading.Event()
    go_on = threading.Event()

    def look_for_long():
        with state._lock:
            held.set()
            go_on.wait(20)

    reader = threading.Thread(target=look_for_long)
    reader.start()
    held.wait(20)
    state.forget()  # would never return if it waited for the reader
    go_on.set()
    reader.join()
    assert state.look().order == ()


def test_a_running_job_is_nowhere_in_the_queue(state):
    job, _attempt = a_running_job(device=a_device())
    assert (state.place(job.pk), state.job(job.pk), state.wait(job.pk)) == (None, None, None)
