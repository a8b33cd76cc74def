"""The bus: hints to every listener of a role, never a wait, never an exception."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from jobs.bus import Bus
from tests.jobs.launching import names_in


@pytest.fixture
def bus(tmp_path):
    return Bus(tmp_path / "run" / "bus")


def test_a_message_reaches_every_listener_of_its_role_and_nobody_else(bus):
    with bus.listen("web") as one, bus.listen("web") as two, bus.listen("agent") as other:
        assert bus.send("web", {"k": "changed", "jobs": ["a"]}) == 2
        assert one.receive(1) == two.receive(1) == [{"k": "changed", "jobs": ["a"]}]
        assert other.receive(0) == []


def test_messages_that_wait_are_received_together_and_in_order(bus):
    with bus.listen("dispatcher") as listener:
        for n in range(5):
            bus.send("dispatcher", {"n": n})
        assert [message["n"] for message in listener.receive(1)] == [0, 1, 2, 3, 4]


def test_nobody_listening_is_no_error(bus):
    assert bus.send("dispatcher", {"k": "wake"}) == 0
    with bus.listen("web"):
        assert bus.send("dispatcher", {"k": "wake"}) == 0


def test_receive_waits_no_longer_than_it_is_told(bus):
    with bus.listen("web") as listener:
        began = time.monotonic()
        assert listener.receive(0.1) == []
        assert 0.09 < time.monotonic() - began < 1


def test_the_socket_of_a_dead_listener_is_removed_by_who_sends(bus, tmp_path):
    code = "import sys,os; from jobs.bus import Bus; Bus(sys.argv[1]).listen('web'); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, tmp_path / "run" / "bus"], check=True)
    assert len(names_in(tmp_path / "run" / "bus")) == 1
    assert bus.send("web", {}) == 0
    assert names_in(tmp_path / "run" / "bus") == []


def test_a_socket_left_under_our_own_name_is_taken_over(bus, tmp_path):
    (tmp_path / "run" / "bus").mkdir(parents=True)
    left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.bind(str(tmp_path / "run" / "bus" / f"web-{os.getpid()}.sock"))
    left.close()
    with bus.listen("web") as listener:
        assert bus.send("web", {"k": "hello"}) == 1
        assert listener.receive(1) == [{"k": "hello"}]


def test_a_closed_listener_leaves_nothing_behind(bus, tmp_path):
    bus.listen("web").close()
    assert names_in(tmp_path / "run" / "bus") == []


def test_a_full_queue_costs_the_message_and_no_time(bus):
    with bus.listen("web") as listener:
        while bus.send("web", {"k": "x"}):
            pass
        began = time.monotonic()
        assert bus.send("web", {"k": "x"}) == 0
        assert time.monotonic() - began < 0.1
        assert bus.send("web", {"k": "x"}, patience=0.05) == 0
        listener.receive(0)
        assert bus.send("web", {"k": "again"}) == 1


def test_a_directory_deeper_than_a_socket_address_works(tmp_path):
    bus = Bus(tmp_path / ("deep" * 20) / ("deeper" * 20))
    with bus.listen("web") as listener:
        assert bus.send("web", {"k": "far"}) == 1
        assert listener.receive(1) == [{"k": "far"}]


def test_what_is_no_message_is_ignored(bus, tmp_path):
    with bus.listen("web") as listener:
        [name] = names_in(tmp_path / "run" / "bus")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            for noise in (b"{half", b"[1]", b"\xff"):
                stranger.sendto(noise, str(tmp_path / "run" / "bus" / name))
        bus.send("web", {"k": "real"})
        assert listener.receive(1) == [{"k": "real"}]


def test_a_large_reading_fits(bus):
    message = {"k": "readings", "devices": ["x" * 1000] * 100}
    with bus.listen("web") as listener:
        assert bus.send("web", message) == 1
        assert listener.receive(1) == [message]


def test_the_sockets_are_only_for_their_owner(bus, tmp_path):
    with bus.listen("web"):
        directory = tmp_path / "run" / "bus"
        [socket_file] = directory.iterdir()
        assert directory.stat().st_mode & 0o777 == 0o700
        assert socket_file.stat().st_mode & 0o777 == 0o600


def test_a_role_that_is_no_plain_word_is_refused(bus):
    with pytest.raises(ValueError, match="only letters"):
        bus.listen("../web")
