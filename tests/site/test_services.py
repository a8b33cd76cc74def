"""Real processes, really killed: services come back, and nothing of them is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from coop_site.services import Keeper, Service
from tests.waiting import wait_until

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
WITH_CHILD = (
    sys.executable,
    "-c",
    (
        "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']);"
        " open(sys.argv[1], 'w').write(str(p.pid)); time.sleep(60)"
    ),
)


class Kept:
    """A keeper under test and what it said."""

    def __init__(self, directory: Path, *services: Service) -> None:
        self.said: list[str] = []
        self.pids: dict[str, int] = {}
        self.keeper = Keeper(
            services,
            logs=directory,
            directory=directory,
            say=self.said.append,
            changed=self._changed,
        )

    def _changed(self, pids: dict[str, int]) -> None:
        self.pids = dict(pids)

    def step(self) -> dict[str, int]:
        self.keeper.step()
        return self.pids

    def pid_other_than(self, name: str, old: int) -> int | None:
        pid = self.step().get(name)
        return pid if pid != old else None


@pytest.fixture
def kept(tmp_path):
    started: list[Kept] = []

    def start(*services: Service) -> Kept:
        started.append(Kept(tmp_path, *services))
        started[-1].step()
        return started[-1]

    yield start
    for each in started:
        each.keeper.stop(grace_s=0.5)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_killed_service_is_started_again_and_the_keeper_says_so(kept):
    one = kept(Service(name="web", command=SLEEP))
    old = one.pids["web"]
    os.kill(old, signal.SIGKILL)
    new = wait_until(lambda: one.pid_other_than("web", old), what="a new web process")
    assert is_alive(new)
    assert "web ended (signal SIGKILL)" in one.said[0]
    assert "starting it again in 0.2 s" in one.said[0]


def test_the_children_of_a_killed_service_are_ended_before_it_starts_again(kept, tmp_path):
    note = tmp_path / "child"
    one = kept(Service(name="q2", command=(*WITH_CHILD, str(note))))
    child = int(wait_until(lambda: note.exists() and note.read_text(), what="the child"))
    old = one.pids["q2"]
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: one.pid_other_than("q2", old), what="a new q2")
    wait_until(lambda: not is_alive(child), what="the end of the old child")
    assert not is_alive(child)


def test_a_service_that_dies_again_and_again_is_given_longer_and_longer_pauses(kept):
    one = kept(Service(name="agent", command=(sys.executable, "-c", "raise SystemExit(3)")))
    wait_until(lambda: one.step() is not None and len(one.said) == 3, what="three deaths")
    pauses = [sentence.partition("again in ")[2].partition(" s.")[0] for sentence in one.said]
    assert pauses == ["0.2", "0.4", "0.8"]
    assert "exit code 3" in one.said[0]


def test_a_service_without_a_heartbeat_is_ended_and_started_again(kept, tmp_path):
    beat = tmp_path / "beat"
    one = kept(Service(name="q2", command=SLEEP, beat=beat, beat_limit_s=150))
    old = one.pids["q2"]
    one.step()
    assert is_alive(old)
    long_ago = time.time() - 200
    os.utime(beat, (long_ago, long_ago))
    new = wait_until(lambda: one.pid_other_than("q2", old), what="a new q2")
    assert is_alive(new)
    assert not is_alive(old)
    assert one.said[0].startswith("q2 gave no sign of life for 200 s")


def test_a_removed_heartbeat_file_ends_nothing(kept, tmp_path):
    beat = tmp_path / "beat"
    one = kept(Service(name="q2", command=SLEEP, beat=beat))
    beat.unlink()
    one.step()
    assert beat.exists()
    assert is_alive(one.pids["q2"])


def test_stop_ends_the_deaf_too(kept, tmp_path):
    note = tmp_path / "ready"
    deaf = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        " open(sys.argv[1], 'w').close(); time.sleep(60)"
    )
    one = kept(Service(name="web", command=(sys.executable, "-c", deaf, str(note))))
    pid = one.pids["web"]
    wait_until(note.exists, what="the deaf service")
    one.keeper.stop(grace_s=0.3)
    assert not is_alive(pid)
    assert one.pids == {}


def test_a_service_has_a_process_group_of_its_own_and_no_input(kept, tmp_path):
    note = tmp_path / "note"
    program = (
        "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpgrp()} {sys.stdin.read()!r}"
        ' {os.environ["COOP_SERVICE"]}\'); time.sleep(60)'
    )
    one = kept(Service(name="web", command=(sys.executable, "-c", program, str(note))))
    wait_until(lambda: note.exists() and note.read_text(), what="the note")
    assert note.read_text() == f"{one.pids['web']} '' web"


def test_services_die_with_a_keeper_that_is_killed_outright(tmp_path):
    program = textwrap.dedent(f"""
        import json, signal, sys, time
        from pathlib import Path
        from coop_site.services import Keeper, Service
        here = Path(sys.argv[1])
        note = lambda pids: (here / "pids").write_text(json.dumps(dict(pids)))
        services = [
            Service(name="web", command={SLEEP!r}),
            Service(name="q2", command={SLEEP!r}, death_signal=signal.SIGTERM),
        ]
        Keeper(services, logs=here, directory=here, say=print, changed=note).step()
        (here / "ready").touch()
        time.sleep(60)
    """)
    root = Path(__file__).resolve().parents[2]
    keeper = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=root)
    wait_until((tmp_path / "ready").exists, what="the keeper's services")
    pids = json.loads((tmp_path / "pids").read_text())
    keeper.kill()
    keeper.wait()
    wait_until(lambda: not any(map(is_alive, pids.values())), what="the end of both services")
    assert set(pids) == {"web", "q2"}
