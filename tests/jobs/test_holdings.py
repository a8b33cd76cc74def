"""Open allocations as holdings, and process trees that are asked for no more often than it takes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jobs import endings, lifecycle
from jobs.core.states import JobState
from jobs.engines.base import AttemptRef
from jobs.holdings import TREE_KEPT, ProcessTrees, holdings_of, open_bookings, refs_of
from jobs.models import Allocation, Job
from tests.rows import GIB, a_device, a_node, a_running_job

ME = os.getpid()


class CountingEngine:
    """Answers with the same processes and counts the questions."""

    def __init__(self, *pids: int) -> None:
        self.answer = frozenset(pids)
        self.asked: list[AttemptRef] = []

    def pids(self, ref: AttemptRef) -> frozenset[int]:
        self.asked.append(ref)
        return self.answer


REF = AttemptRef(job_id="a", number=1)


def test_a_known_tree_is_not_asked_for_again():
    engine = CountingEngine(ME)
    trees = ProcessTrees(engine)

    for now in (0.0, 1.0, TREE_KEPT - 0.1):
        trees.refresh([REF], now)

    assert trees.pids(REF) == {ME}
    assert len(engine.asked) == 1


def test_a_tree_is_asked_for_again_after_a_time_or_when_somebody_wants_to_be_sure():
    engine = CountingEngine(ME)
    trees = ProcessTrees(engine)
    trees.refresh([REF], 0.0)

    trees.refresh([REF], TREE_KEPT)
    trees.refresh([REF], TREE_KEPT, all_of_them=True)

    assert len(engine.asked) == 3


def test_a_tree_is_asked_for_again_when_a_process_of_it_has_ended():
    process = subprocess.Popen(["true"])
    engine = CountingEngine(ME, process.pid)
    trees = ProcessTrees(engine)
    trees.refresh([REF], 0.0)

    process.wait()
    engine.answer = frozenset({ME})
    trees.refresh([REF], 1.0)

    assert trees.pids(REF) == {ME}


def test_an_attempt_without_processes_is_asked_about_until_it_has_some():
    engine = CountingEngine()
    trees = ProcessTrees(engine)
    trees.refresh([REF], 0.0)

    engine.answer = frozenset({ME})
    trees.refresh([REF], 1.0)

    assert trees.pids(REF) == {ME}


def test_an_ended_attempt_is_forgotten():
    trees = ProcessTrees(CountingEngine(ME))
    trees.refresh([REF], 0.0)
    trees.refresh([], 1.0)

    with pytest.raises(KeyError):
        trees.pids(REF)


@pytest.mark.django_db
def test_an_open_allocation_is_a_holding():
    device = a_device()
    job, attempt = a_running_job(device=device, memory=14 * GIB)
    Allocation.objects.update(peak=3 * GIB)
    bookings = open_bookings(device.node)
    trees = ProcessTrees(CountingEngine(ME))
    trees.refresh(refs_of(bookings), 0.0)

    (holding,) = holdings_of(bookings, trees, Path("/home-of-coop"))

    assert holding.key == Allocation.objects.get().key
    assert holding.holder == attempt.token
    assert (holding.uuid, holding.booked, holding.peak) == (device.uuid, 14 * GIB, 3 * GIB)
    assert (holding.pids, holding.frozen) == ({ME}, False)
    attempt.refresh_from_db()
    assert holding.since == attempt.started_at.timestamp()
    assert holding.usage_file == Path(f"/home-of-coop/jobs/{job.pk}/attempts/1/sim_usage")


@pytest.mark.django_db
def test_the_booking_of_a_suspended_job_is_frozen():
    device = a_device()
    a_running_job(device=device)
    Job.objects.update(state=JobState.SUSPENDED)
    bookings = open_bookings(device.node)
    trees = ProcessTrees(CountingEngine(ME))
    trees.refresh(refs_of(bookings), 0.0)

    assert [holding.frozen for holding in holdings_of(bookings, trees, Path("/"))] == [True]


@pytest.mark.django_db
def test_only_open_allocations_of_this_node_count():
    here = a_device(0)
    a_running_job("here", device=here)
    a_running_job("elsewhere", device=a_device(1, node=a_node("node-b")))
    _, ended = a_running_job("ended", device=here)
    lifecycle.finish(ended, endings.launch_failed("it was only a test"))

    assert [booking.attempt.job.task_id for booking in open_bookings(here.node)] == ["here"]
