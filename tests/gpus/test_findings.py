"""Who holds memory that is booked for nobody: kinds as data, and what the kernel says of real processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gpus.attribution import account_for
from gpus.findings import FOREIGN, GHOST, SMALLEST_GHOST, STRAY, ZOMBIE, Found, findings_of
from gpus.processes import Process, process_of
from tests.gpus.fleets import GIB, START, a_holding, a_reading, listed
from tests.waiting import wait_until

ELSEWHERE = a_holding("job", pid=7, uuid="GPU-1")


def a_process(pid: int, *, zombie: bool = False) -> Process:
    return Process(pid=pid, started=50, user="eve", command="python3", is_zombie=zombie)


def found_on(reading, *holdings, process_of=a_process) -> list[Found]:
    here = [holding for holding in holdings if holding.uuid == reading.uuid]
    account = account_for(reading, here, peaks={}, ghost_before=None, now=START)
    return findings_of(reading, account, holdings, process_of)


@pytest.mark.parametrize(
    ("kind", "process"),
    [
        (FOREIGN, a_process),
        (ZOMBIE, lambda pid: a_process(pid, zombie=True)),
        (GHOST, lambda _pid: None),
    ],
)
def test_a_listed_process_of_no_holder_is_named_by_what_the_kernel_says(kind, process):
    card = a_reading(used=3 * GIB, processes=listed(p9=3 * GIB))

    (found,) = found_on(card, process_of=process)

    assert (found.kind, found.pid, found.memory) == (kind, 9, 3 * GIB)


def test_a_job_on_a_card_that_is_not_booked_for_it_is_a_stray_and_names_the_attempt():
    card = a_reading(used=2 * GIB, processes=listed(p7=2 * GIB))

    (found,) = found_on(card, ELSEWHERE)

    assert (found.kind, found.holder, found.memory) == (STRAY, "job-1", 2 * GIB)


def test_memory_beyond_all_listed_processes_is_a_ghost_beside_them():
    card = a_reading(used=8 * GIB, processes=listed(p9=3 * GIB))

    kinds = {found.kind: found.memory for found in found_on(card)}

    assert kinds == {FOREIGN: 3 * GIB, GHOST: 5 * GIB}


def test_a_little_memory_without_a_process_is_the_drivers_and_no_finding():
    assert found_on(a_reading(used=SMALLEST_GHOST - 1)) == []


def test_a_holder_on_its_own_card_is_no_finding():
    card = a_reading(used=2 * GIB, processes=listed(p1=2 * GIB))

    assert found_on(card, a_holding(pid=1)) == []


def test_a_living_process_is_known_by_its_start_and_its_program_without_arguments():
    mine = process_of(os.getpid())

    assert mine is not None
    assert mine.started > 0
    assert not mine.is_zombie
    assert " " not in mine.command


def test_a_dead_child_that_is_not_waited_for_is_a_zombie_and_then_gone():
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    wait_until(lambda: (seen := process_of(child.pid)) is not None and seen.is_zombie)

    child.wait()

    assert process_of(child.pid) is None
