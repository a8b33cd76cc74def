"""One service per COOP_HOME, found and stopped by others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coop_site.instance import Instance, end_leftovers, local_record, remove_own, write_private
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import signal, sys
from pathlib import Path
from coop_site.instance import Instance
instance = Instance(Path(sys.argv[1]))
assert instance.take()
instance.describe(url="http://127.0.0.1:1")
signal.sigwait({signal.SIGTERM})
"""


@pytest.fixture
def holder(tmp_path):
    # blocked before exec, so that a SIGTERM that comes early is not lost
    masked = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n" + HOLDER
    process = subprocess.Popen([sys.executable, "-c", masked, str(tmp_path)], cwd=ROOT)
    instance = Instance(tmp_path)
    wait_until(lambda: (seen := instance.running()) and seen.url, what="the holder")
    yield process
    process.kill()
    process.wait()


def test_nobody_runs_in_a_new_home(tmp_path):
    assert Instance(tmp_path).running() is None


def test_the_second_start_finds_the_first(tmp_path, holder):
    assert not Instance(tmp_path).take()
    seen = Instance(tmp_path).running()
    assert (seen.pid, seen.url) == (holder.pid, "http://127.0.0.1:1")


def test_stop_asks_the_holder_and_waits_for_its_end(tmp_path, holder):
    assert Instance(tmp_path).stop(seconds=10)
    assert holder.wait(10) == 0
    assert Instance(tmp_path).running() is None


def test_the_place_is_free_again_after_kill_9(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert Instance(tmp_path).running() is None
    successor = Instance(tmp_path)
    assert successor.take()
    successor.release()


def test_a_record_is_readable_by_its_owner_alone(tmp_path):
    path = tmp_path / "deep" / "local.json"
    write_private(path, {"pid": os.getpid(), "token": "secret"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["token"] == "secret"


def test_only_ones_own_record_is_removed(tmp_path):
    path = tmp_path / "local.json"
    write_private(path, {"pid": os.getpid() + 1})
    remove_own(path)
    assert path.exists()
    write_private(path, {"pid": os.getpid()})
    remove_own(path)
    assert not path.exists()


def test_the_record_for_clients_lies_in_the_state_directory(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere/state")
    assert local_record() == Path("/somewhere/state/llama-coop/local.json")


def test_leftovers_of_a_killed_service_are_ended_and_strangers_are_not(tmp_path):
    mark = {**os.environ, "COOP_SERVICE": "q2"}
    left = subprocess.Popen(["sleep", "60"], process_group=0, env=mark)
    stranger = subprocess.Popen(["sleep", "60"], process_group=0)
    record = tmp_path / "services.json"
    record.write_text(json.dumps({"q2": left.pid, "web": stranger.pid}))
    assert end_leftovers(record) == 1
    assert left.wait(10) == -9
    assert stranger.poll() is None
    assert not record.exists()
    stranger.kill()
    stranger.wait()


def test_without_a_record_there_are_no_leftovers(tmp_path):
    assert end_leftovers(tmp_path / "services.json") == 0
