"""Run directories: records that are whole or absent, one claim, a lock that proves life."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from jobs import rundir, supervisor
from jobs.launch import procfs
from tests.jobs.launching import names_in
from tests.waiting import wait_until


@pytest.fixture
def attempt(tmp_path):
    directory = rundir.attempt_directory(tmp_path, "abc", 1)
    rundir.make_attempt_directory(directory)
    return directory


def test_a_record_is_read_as_it_was_written(attempt):
    rundir.write_durably(attempt, "spec", {"argv": ["true"], "grace_s": 1.5})
    assert rundir.read_record(attempt, "spec") == {"argv": ["true"], "grace_s": 1.5}
    assert rundir.read_record(attempt, "exit") is None


def test_a_record_is_only_for_its_owner_and_leaves_no_temporary_file(attempt):
    rundir.write_durably(attempt, "spec", {})
    assert (attempt / "spec").stat().st_mode & 0o777 == 0o600
    assert names_in(attempt) == ["spec"]


def test_a_record_is_synced_before_it_gets_its_name_and_the_directory_after(attempt, monkeypatch):
    done = []
    for name in ("fsync", "rename", "link"):
        original = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, _n=name, _o=original, **k: (done.append(_n), _o(*a, **k))
        )
    rundir.write_durably(attempt, "exit", {})
    rundir.claim(attempt, rundir.BY_SUPERVISOR)
    assert done == ["fsync", "rename", "fsync", "fsync", "link", "fsync"]


def test_a_spec_is_on_disk_before_the_attempt_is_claimed(attempt, monkeypatch):
    done = []
    monkeypatch.setattr(rundir, "make_durable", lambda _directory, name: done.append(name))
    monkeypatch.setattr(rundir, "claim", lambda _directory, by: done.append(by))
    rundir.write_hint(attempt, "spec", {"token": "abc-1"})
    supervisor.supervise(str(attempt))
    assert done == ["spec", "supervisor"]


def test_a_record_that_cannot_be_written_changes_nothing(attempt, monkeypatch):
    rundir.write_durably(attempt, "exit", {"code": 0})

    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        rundir.write_durably(attempt, "exit", {"code": 1})
    assert rundir.read_record(attempt, "exit") == {"code": 0}


def test_a_damaged_record_frees_nothing(attempt):
    rundir.claim(attempt, rundir.BY_SUPERVISOR)
    (attempt / "claim").write_text("{half")
    with pytest.raises(rundir.BrokenRecordError, match="claim"):
        rundir.read_record(attempt, "claim")
    assert rundir.observe(attempt).kind == "unkillable"


def test_a_claim_is_won_once(attempt):
    assert rundir.claim(attempt, rundir.BY_SUPERVISOR)
    assert not rundir.claim(attempt, rundir.BY_RECONCILER)
    assert rundir.read_record(attempt, "claim")["by"] == "supervisor"


def test_a_claim_names_the_process_that_won_it(attempt):
    rundir.claim(attempt, rundir.BY_SUPERVISOR)
    claim = rundir.read_record(attempt, "claim")
    assert procfs.is_alive(claim["pid"], claim["start_ticks"])
    assert claim["boot_id"] == procfs.boot_id()


def test_one_of_many_claims_wins(attempt):
    wins = []
    racers = [
        threading.Thread(target=lambda: wins.append(rundir.claim(attempt, rundir.BY_SUPERVISOR)))
        for _ in range(16)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(wins) == [False] * 15 + [True]


def test_the_second_name_of_a_claim_is_never_written_again(attempt, monkeypatch):
    monkeypatch.setattr(os, "unlink", lambda *a, **k: None)  # a crash between link and unlink
    rundir.claim(attempt, rundir.BY_SUPERVISOR)
    assert not rundir.claim(attempt, rundir.BY_RECONCILER)
    assert rundir.read_record(attempt, "claim")["by"] == "supervisor"


def test_the_lock_of_a_living_process_is_held_and_of_a_dead_one_is_free(attempt):
    code = "import sys; from jobs import rundir; rundir.take_lock(sys.argv[1]); print('held', flush=True); input()"
    pipe = subprocess.PIPE
    holder = subprocess.Popen([sys.executable, "-c", code, attempt], stdout=pipe, stdin=pipe)
    with holder:
        assert holder.stdout.readline() == b"held\n"
        assert rundir.take_lock(attempt) is None
        with rundir.lock_is_free(attempt) as free:
            assert not free
        holder.send_signal(signal.SIGKILL)
    with rundir.lock_is_free(attempt) as free:
        assert free


def test_two_who_look_at_the_lock_do_not_take_each_other_for_a_supervisor(attempt):
    os.close(rundir.take_lock(attempt))
    with rundir.lock_is_free(attempt) as one, rundir.lock_is_free(attempt) as other:
        assert (one, other) == (True, True)


def test_who_looks_at_a_claimed_attempt_keeps_a_late_supervisor_out(attempt):
    os.close(rundir.take_lock(attempt))
    with rundir.lock_is_free(attempt):
        assert rundir.take_lock(attempt) is None


def test_an_exit_that_is_written_between_the_two_looks_is_seen(attempt, monkeypatch):
    rundir.claim(attempt, rundir.BY_SUPERVISOR)
    looks = []

    def has(directory, name):
        looks.append(name)
        return name == "exit" and looks.count("exit") == 2

    monkeypatch.setattr(rundir, "_has", has)
    assert rundir.observe(attempt).kind == "exited"


def test_a_claimed_attempt_without_a_holder_is_dead(attempt):
    rundir.claim(attempt, rundir.BY_SUPERVISOR)
    assert rundir.observe(attempt).kind == "dead"
    lock = rundir.take_lock(attempt)
    assert rundir.observe(attempt).kind == "alive"
    rundir.write_hint(attempt, "stuck", {"pids": [1]})
    assert rundir.observe(attempt).kind == "unkillable"
    os.close(lock)
    assert rundir.observe(attempt).kind == "dead", "to be reaped once more"


def test_an_attempt_whose_directory_is_missing_is_unclaimed(tmp_path):
    assert rundir.observe(rundir.attempt_directory(tmp_path, "never", 3)).kind == "unclaimed"


@pytest.mark.parametrize("job_id", ["", "../x", "a/b", ".", "-x", "a" * 200])
def test_an_id_that_is_no_directory_name_is_refused(tmp_path, job_id):
    with pytest.raises(ValueError, match="public id"):
        rundir.attempt_directory(tmp_path, job_id, 1)


def test_work_and_output_are_for_the_job_and_the_rest_can_only_be_passed_through(tmp_path):
    old = os.umask(0o077)
    try:
        work, output = rundir.make_job_directories(tmp_path, "abc")
        rundir.make_attempt_directory(rundir.attempt_directory(tmp_path, "abc", 1))
    finally:
        os.umask(old)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (work, output, work.parent)}
    assert modes == {"work": 0o700, "output": 0o700, "abc": 0o711}
    assert rundir.attempt_directory(tmp_path, "abc", 1).stat().st_mode & 0o777 == 0o711


def test_a_process_is_known_by_its_start_and_not_by_its_pid_alone():
    me = procfs.read_process(os.getpid())
    assert procfs.is_alive(me.pid, me.start_ticks)
    assert not procfs.is_alive(me.pid, me.start_ticks + 1)


def test_a_zombie_holds_nothing():
    child = os.fork()
    if child == 0:
        os._exit(0)
    wait_until(lambda: procfs.read_process(child).state == "Z", what="the child to end")
    assert not procfs.read_process(child).lives
    assert child not in procfs.all_processes()
    os.waitpid(child, 0)
