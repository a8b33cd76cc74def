"""A small site for tests of the launch protocol: one engine, real supervisors, real processes, real kills."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from functools import cache
from pathlib import Path

from jobs.engines.base import AttemptLaunch, AttemptRef
from jobs.engines.local import LocalEngine
from jobs.launch import procfs
from jobs.rundir import Observation
from tests.waiting import wait_until

PATH = "/usr/local/bin:/usr/bin:/bin"


@cache
def possible_containments() -> tuple[str, ...]:
    """What this machine can do; asked in a process of its own, because the question moves who asks it."""
    code = "from jobs import containment; print(*containment.find_possible())"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return tuple(answer.stdout.split())


def names_in(directory: Path) -> list[str]:
    """The names in a directory, sorted."""
    return sorted(path.name for path in directory.iterdir())


class LaunchSite:
    """Starts shell lines as attempts and watches them. `close` ends all that is left."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.engine = LocalEngine(home)
        self._refs: list[AttemptRef] = []

    def launch_of(self, script: str, **fields) -> AttemptLaunch:
        """An attempt of a new job that runs a line of bash in the site's directory."""
        ref = fields.pop("ref", None) or AttemptRef(job_id=f"job{uuid.uuid4().hex[:10]}", number=1)
        self._refs.append(ref)
        defaults = {"argv": ("bash", "-c", script), "env": {"PATH": PATH}, "cwd": str(self.home)}
        return AttemptLaunch(ref=ref, **(defaults | fields))

    def start(self, script: str, **fields) -> AttemptRef:
        attempt = self.launch_of(script, **fields)
        self.engine.start(attempt)
        return attempt.ref

    def start_running(self, script: str, *, first: str = "true", **fields) -> AttemptRef:
        """Start, and wait until the script itself says that it has done what comes first."""
        ref = self.start(f"{first}; touch $PWD/ready; {script}", **fields)
        wait_until((self.home / "ready").exists, what="the script to run")
        (self.home / "ready").unlink()
        return ref

    def run(self, script: str, **fields) -> Observation:
        """Start, and wait for the end."""
        return self.end_of(self.start(script, **fields))

    def end_of(self, ref: AttemptRef, seconds: float = 15) -> Observation:
        return self.seen(ref, "exited", seconds)

    def seen(self, ref: AttemptRef, kind: str, seconds: float = 10) -> Observation:
        """Wait until this kind of observation is made."""
        wait_until(
            lambda: self.engine.observe(ref).kind == kind, seconds, f"{ref.token} to be {kind}"
        )
        return self.engine.observe(ref)

    def log(self, ref: AttemptRef) -> str:
        return self.engine.read_log(ref, 0, 10**7).decode()

    def text(self, name: str) -> str:
        path = self.home / name
        return path.read_text() if path.exists() else ""

    def kill_supervisor(self, ref: AttemptRef) -> None:
        claim = self.engine.observe(ref).claim
        assert claim is not None
        os.kill(claim["pid"], signal.SIGKILL)
        wait_until(
            lambda: not procfs.is_alive(claim["pid"], claim["start_ticks"]), what="its death"
        )

    def processes(self, mark: str) -> frozenset[int]:
        """The living processes with this word on their command line, wherever they hide."""
        return frozenset(
            pid for pid in procfs.all_processes() if mark.encode() in _command_line(pid)
        )

    def close(self) -> None:
        for ref in self._refs:
            seen = self.engine.observe(ref)
            if seen.kind == "alive":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(seen.claim["pid"], signal.SIGKILL)
            if seen.kind in {"alive", "dead"}:
                wait_until(lambda ref=ref: self._is_over(ref), what=f"{ref.token} to be over")
        self.engine.close()

    def _is_over(self, ref: AttemptRef) -> bool:
        return self.engine.observe(ref).kind == "exited" or self.engine.reap(ref)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
