from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.leases import BOOT_ID, LeaseHolder
from jobs.models import Lease

pytestmark = pytest.mark.django_db


def another_holder(identity: str) -> LeaseHolder:
    holder = LeaseHolder("dispatcher", seconds=60)
    holder.identity = identity
    return holder


def identity_of(pid: int, ticks: str) -> str:
    return f"{socket.gethostname()} {BOOT_ID.read_text().strip()} {pid} {ticks}"


def test_the_first_one_holds_the_lease_and_renews_it() -> None:
    first = LeaseHolder("dispatcher", seconds=60)
    assert first.hold()
    assert first.hold()
    assert Lease.objects.get().generation == 1


def test_a_second_one_stands_by_while_the_first_lives() -> None:
    assert LeaseHolder("dispatcher", seconds=60).hold()
    assert not another_holder("elsewhere boot 1 1").hold()


def test_a_lease_that_ran_out_is_taken_over_and_counted_up() -> None:
    assert another_holder("elsewhere boot 1 1").hold()
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert LeaseHolder("dispatcher", seconds=60).hold()
    assert Lease.objects.get().generation == 2


def test_the_former_holder_finds_out_that_it_lost_the_lease() -> None:
    former = another_holder("elsewhere boot 1 1")
    assert former.hold()
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert LeaseHolder("dispatcher", seconds=60).hold()
    assert not former.hold()


def test_a_holder_that_died_on_this_machine_is_succeeded_at_once() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert another_holder(identity_of(child.pid, "12345")).hold()
    assert LeaseHolder("dispatcher", seconds=60).hold()


def test_a_pid_that_was_given_to_another_process_does_not_keep_the_lease() -> None:
    assert another_holder(identity_of(os.getpid(), "1")).hold()
    assert LeaseHolder("dispatcher", seconds=60).hold()


def test_a_lease_given_up_is_free_at_once() -> None:
    first = LeaseHolder("dispatcher", seconds=60)
    first.hold()
    first.give_up()
    assert another_holder("elsewhere boot 1 1").hold()
