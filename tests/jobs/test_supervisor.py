"""The supervisor's parts that no healthy machine shows: full disks, processes that refuse to die, floods."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from jobs import rundir, supervisor
from jobs.bus import Bus
from jobs.launch import ending, logpump
from jobs.launch.ending import Ending, Steering
from jobs.launch.logpump import LogPump
from tests.jobs.launching import LaunchSite, names_in
from tests.waiting import wait_until


class FakeContainer:
    """Notes what is done to it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def signal(self, number: int) -> None:
        self.done.append(signal.Signals(number).name)

    def freeze(self) -> bool:
        self.done.append("freeze")
        return True

    def thaw(self) -> None:
        self.done.append("thaw")

    def kill(self) -> None:
        self.done.append("kill")

    def members(self) -> frozenset[int]:
        return frozenset({4711})


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

    monkeypatch.setattr(ending.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def site(tmp_path):
    made = LaunchSite(tmp_path)
    yield made
    made.close()


def test_a_stop_is_sigterm_then_the_grace_then_sigkill(tmp_path, clock):
    container = FakeContainer()
    end = Ending(str(tmp_path), container)
    end.ask("control", 30)
    clock.now += 29
    end.step()
    assert container.done == ["SIGTERM", "thaw"]
    clock.now += 1
    end.step()
    assert container.done == ["SIGTERM", "thaw", "kill"]


def test_a_second_stop_sends_no_second_sigterm_and_can_only_hurry(tmp_path, clock):
    container = FakeContainer()
    end = Ending(str(tmp_path), container)
    end.ask("time_limit", 10)
    end.ask("control", 60)
    assert container.done.count("SIGTERM") == 1
    assert (end.next_at, end.stopped_by) == (1010.0, "time_limit")


def test_what_survives_a_normal_end_is_killed_at_once(tmp_path, clock):
    container = FakeContainer()
    end = Ending(str(tmp_path), container)
    end.command_ended()
    end.step()
    assert container.done == ["kill"]


def test_a_tree_that_outlives_sigkill_is_reported_and_killed_again(tmp_path, clock):
    rundir.claim(tmp_path, rundir.BY_SUPERVISOR)
    lock = rundir.take_lock(tmp_path)
    container = FakeContainer()
    end = Ending(str(tmp_path), container)
    end.command_ended()
    for _ in range(200):
        end.step()
        clock.now = max(clock.now, end.next_at)
    assert rundir.read_record(tmp_path, "stuck")["pids"] == [4711]
    assert rundir.observe(tmp_path).kind == "unkillable"
    os.close(lock)
    assert container.done.count("kill") > 50


def test_a_control_is_carried_out_once(tmp_path, clock):
    container = FakeContainer()
    steering = Steering(str(tmp_path), container, Ending(str(tmp_path), container))
    rundir.write_hint(tmp_path, "control", {"seq": 1, "action": "freeze", "grace_s": 30})
    assert (steering.look(), steering.look()) == (True, False)
    assert container.done == ["freeze"]
    assert rundir.read_record(tmp_path, "applied")["done"]


def test_a_freeze_that_did_not_hold_is_tried_again(tmp_path, clock):
    container = FakeContainer()
    container.freeze = lambda: container.done.append("freeze") or len(container.done) > 1
    steering = Steering(str(tmp_path), container, Ending(str(tmp_path), container))
    rundir.write_hint(tmp_path, "control", {"seq": 1, "action": "freeze", "grace_s": 30})
    steering.look()
    assert not rundir.read_record(tmp_path, "applied")["done"]
    steering.look()
    assert rundir.read_record(tmp_path, "applied")["done"]


def test_nothing_is_frozen_while_it_is_stopped(tmp_path, clock):
    container = FakeContainer()
    end = Ending(str(tmp_path), container)
    steering = Steering(str(tmp_path), container, end)
    end.ask("control", 30)
    rundir.write_hint(tmp_path, "control", {"seq": 1, "action": "freeze", "grace_s": 30})
    steering.look()
    assert "freeze" not in container.done


def test_the_clock_of_running_time_stands_still_while_frozen(tmp_path, clock):
    container = FakeContainer()
    steering = Steering(str(tmp_path), container, Ending(str(tmp_path), container))
    clock.now += 5
    rundir.write_hint(tmp_path, "control", {"seq": 1, "action": "freeze", "grace_s": 30})
    steering.look()
    clock.now += 3600
    assert steering.running_s() == 5
    rundir.write_hint(tmp_path, "control", {"seq": 2, "action": "thaw", "grace_s": 30})
    steering.look()
    clock.now += 2
    assert steering.running_s() == 7


def test_an_exit_record_waits_for_a_disk_that_is_full(tmp_path, monkeypatch):
    write, failures = rundir.write_durably, [OSError(28, "full"), OSError(28, "full")]

    def full_at_first(directory, name, record):
        if failures:
            raise failures.pop()
        write(directory, name, record)

    monkeypatch.setattr(rundir, "write_durably", full_at_first)
    monkeypatch.setattr(supervisor, "_RECORD_RETRY_S", 0.01)
    supervision = supervisor._Supervision.__new__(supervisor._Supervision)
    supervision._directory = str(tmp_path)
    supervision._write_exit({"code": 0})
    assert rundir.read_record(tmp_path, "exit") == {"code": 0}


def test_a_supervisor_that_loses_the_lock_or_the_claim_does_nothing(tmp_path):
    rundir.write_durably(tmp_path, "spec", {"argv": ["no"]})
    lock = rundir.take_lock(tmp_path)
    supervisor.supervise(str(tmp_path))
    os.close(lock)
    rundir.claim(tmp_path, rundir.BY_RECONCILER)
    supervisor.supervise(str(tmp_path))
    assert names_in(tmp_path) == ["claim", "lock", "spec"]


def test_the_trouble_of_a_supervisor_is_told_in_its_directory(site):
    ref = site.launch_of("true").ref
    directory = site.engine.directory(ref)
    rundir.make_attempt_directory(directory)
    (directory / "spec").write_text("{half")
    site.engine.start(site.launch_of("true", ref=ref))
    wait_until((directory / "trouble").exists, what="a report")
    assert "The record spec" in wait_until((directory / "trouble").read_text)
    assert site.engine.observe(ref).kind == "unclaimed"


def test_the_dispatcher_hears_of_a_start_and_of_an_end(site):
    with Bus(site.home / "run" / "bus").listen("dispatcher") as listener:
        ref = site.start("sleep 0.3")
        news = wait_until(lambda: listener.receive(1), what="news of the start")
        assert news == [{"k": "attempt", "job": ref.job_id, "n": 1}]
        assert site.engine.observe(ref).kind == "alive"
        wait_until(lambda: listener.receive(1), what="news of the end")
        assert site.engine.observe(ref).kind == "exited"


def test_a_short_command_is_reported_once(site):
    with Bus(site.home / "run" / "bus").listen("dispatcher") as listener:
        site.run("true")
        assert len(wait_until(lambda: listener.receive(1), what="news of the end")) == 1
        assert listener.receive(0.2) == []


@pytest.fixture
def pump(tmp_path):
    def make(cap: int) -> tuple[LogPump, Path]:
        source, sink = os.pipe()
        os.set_blocking(source, False)
        os.close(sink)
        log = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT, 0o600)
        return LogPump(source, log, cap), tmp_path / "log"

    return make


def test_a_file_system_without_holes_keeps_the_first_and_the_last_part(pump, monkeypatch):
    def no_holes(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(logpump.kernel, "punch_hole", no_holes)
    writer, path = pump(2**20)
    writer.append(b"first\n")
    for _ in range(100):
        writer.append(b"x" * 65536)
    writer.append(b"last\n")
    assert path.stat().st_size < 2**20 + 2**19, "it grows no more while the job runs"
    writer.finish()
    log = path.read_bytes()
    assert (log[:6], log[-6:]) == (b"first\n", b"xlast\n"[-6:])
    assert len(log) < 2**20 + 2**19 + 2**20 + 200
    assert b"bytes are dropped here; the last ones follow]\n" in log


def test_an_output_without_end_is_followed_only_so_far(pump):
    cap = 2**17
    writer, path = pump(cap)
    chunk = b"y" * 65535 + b"\n"
    for _ in range(200):
        writer.append(chunk)
    assert path.stat().st_size <= 16 * cap + 2 * len(chunk)
    assert path.read_bytes().endswith(b"its last part is added at the end]\n")
    writer.append(b"last\n")
    writer.finish()
    assert path.read_bytes().endswith(b"y\nlast\n")
    assert path.stat().st_blocks * 512 <= cap + cap // 4 + 2**20 + 2 * 65536


def test_a_job_that_keeps_to_its_cap_keeps_every_byte(pump):
    writer, path = pump(2**20)
    writer.append(b"z" * 2**20)
    writer.finish()
    assert path.read_bytes() == b"z" * 2**20


def test_a_log_on_a_full_disk_does_not_stop_the_job(pump, monkeypatch):
    writer, path = pump(2**20)

    def full(*_):
        raise OSError(28, "full")

    monkeypatch.setattr(os, "pwrite", full)
    writer.append(b"lost")
    monkeypatch.undo()
    writer.append(b"kept")
    assert path.read_bytes() == b"kept"


def test_a_flood_is_slowed_down(pump, monkeypatch):
    writer, _ = pump(2**20)
    writer.pause_s()
    assert writer.pause_s() == 0
    writer._copied_in_second = 2**30
    assert 0 < writer.pause_s() <= 1


def test_a_reader_of_a_log_that_does_not_exist_yet_gets_nothing(tmp_path):
    assert logpump.read_log(tmp_path / "log", 0, 100) == b""
    assert logpump.skip_dropped(tmp_path / "log", 7) == 7


def test_waiting_for_what_never_happens_says_what_it_was():
    began = time.monotonic()
    with pytest.raises(AssertionError, match="in vain for a miracle"):
        wait_until(lambda: False, seconds=0.05, what="a miracle")
    assert time.monotonic() - began < 2
