"""The engine of this machine: supervisors forked from a launcher process, run directories under COOP_HOME."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from jobs import containment, rundir
from jobs.engines.base import (
    ACTIONS,
    DEFAULT_GRACE_S,
    SAVE,
    STOP,
    AttemptLaunch,
    AttemptRef,
    Capabilities,
)
from jobs.launch import logpump, procfs
from jobs.launch.crashpoints import crash_point
from jobs.rundir import Observation

_ROOT = Path(__file__).resolve().parents[2]
_LAUNCHER = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from jobs.launcher import main; main()"
)
_REAP_WAIT_S = 1.0


class LocalEngine:
    """Runs attempts on this machine. Only the process that calls `start` gets a launcher, at the first start."""

    capabilities = Capabilities(isolates_users=os.geteuid() == 0)

    def __init__(self, home: Path) -> None:
        self._home = Path(home)
        self._launcher = _Launcher()

    def start(self, attempt: AttemptLaunch) -> None:
        """Write the spec and ask the launcher for a supervisor. Idempotent: the claim decides.

        The supervisor makes the spec durable before it claims; without a claim nobody needs it after a power cut.
        """
        directory = self.directory(attempt.ref)
        crash_point("engine.before_spec")
        rundir.make_attempt_directory(directory)
        if not (directory / rundir.SPEC).exists():
            wake = str(self._home / "run" / "bus")
            rundir.write_hint(directory, rundir.SPEC, attempt.spec(wake=wake))
        crash_point("engine.after_spec")
        self._launcher.request(directory)
        crash_point("engine.after_request")

    def observe(self, ref: AttemptRef) -> Observation:
        """What the records and the lock prove now."""
        return rundir.observe(self.directory(ref))

    def revoke(self, ref: AttemptRef) -> bool:
        """Win the claim before a supervisor does."""
        directory = self.directory(ref)
        rundir.make_attempt_directory(directory)  # the dispatcher may have died before it made it
        won = rundir.claim(directory, rundir.BY_RECONCILER)
        return won or self.observe(ref).kind == "revoked"

    def reap(self, ref: AttemptRef) -> bool:
        """End what a dead supervisor left behind, and verify that nothing is left."""
        directory = self.directory(ref)
        with rundir.lock_is_free(directory) as free:
            if not free:
                return False
            crash_point("engine.before_reap")
            started = rundir.read_record(directory, rundir.STARTED)
            # Without a start record the child was never released: it ends at the closed pipe, and nothing ran.
            if started is None or started["boot_id"] != procfs.boot_id():
                return True
            return _end_all(directory, containment.recorded(ref.token, started))

    def control(self, ref: AttemptRef, action: str, grace_s: float = DEFAULT_GRACE_S) -> None:
        """Put the wish into the control file and wake the supervisor; nothing happens when it is carried out."""
        if action not in ACTIONS:
            raise ValueError(
                f"The action {action!r} is unknown; allowed are {', '.join(sorted(ACTIONS))}. Use one of these."
            )
        directory = self.directory(ref)
        seq = _wish(directory, action, grace_s)
        applied = rundir.read_record(directory, rundir.APPLIED)
        if applied is None or applied["seq"] != seq or not applied["done"]:
            _wake_supervisor(directory)

    def read_log(self, ref: AttemptRef, offset: int, limit: int) -> bytes:
        """Bytes of the output by offset; where the middle was dropped they are NUL (see `skip_dropped`)."""
        return logpump.read_log(self.log_path(ref), offset, limit)

    def log_size(self, ref: AttemptRef) -> int:
        """The offset of the log's present end; 0 without a log."""
        try:
            return self.log_path(ref).stat().st_size
        except FileNotFoundError:
            return 0

    def skip_dropped(self, ref: AttemptRef, offset: int) -> int:
        """The first offset from `offset` on whose bytes were kept; for readers of a whole log."""
        return logpump.skip_dropped(self.log_path(ref), offset)

    def pids(self, ref: AttemptRef) -> frozenset[int]:
        """The attempt's living processes; empty before its start and after its end."""
        started = rundir.read_record(self.directory(ref), rundir.STARTED)
        if started is None or started["boot_id"] != procfs.boot_id():
            return frozenset()
        return containment.recorded(ref.token, started).members()

    def directory(self, ref: AttemptRef) -> Path:
        """The attempt's run directory."""
        return rundir.attempt_directory(self._home, ref.job_id, ref.number)

    def log_path(self, ref: AttemptRef) -> Path:
        """The file with the attempt's stdout and stderr."""
        return self.directory(ref) / rundir.LOG

    def close(self) -> None:
        """Let the launcher end. Supervisors and jobs go on."""
        self._launcher.close()


class _Launcher:
    """The launcher process and our end of its socket; started when needed, and again when it died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def request(self, directory: Path) -> None:
        """Ask for a supervisor. A request that a dying launcher takes along leaves the attempt unclaimed."""
        with self._lock:
            try:
                self._send(directory)
            except OSError:
                self._stop()
                self._send(directory)

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _send(self, directory: Path) -> None:
        if self._channel is None:
            self._start()
        assert self._channel is not None  # noqa: S101 - just made
        self._channel.send(os.fsencode(directory.absolute()))

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Isolated and without site packages: what outlives the service must not depend on them.
        command = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(_ROOT), str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        self._channel = ours

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self._process = None


def _end_all(directory: Path, container: containment.Container) -> bool:
    # Who waited in vain once waits no more: the dispatcher asks again in its next cycle.
    waited = (directory / rundir.STUCK).exists()
    deadline = time.monotonic() + (0 if waited else _REAP_WAIT_S)
    while True:
        container.kill()
        if container.empty():
            with contextlib.suppress(OSError):
                container.remove()
            (directory / rundir.STUCK).unlink(missing_ok=True)
            return True
        if time.monotonic() > deadline:
            record = {"pids": sorted(container.members()), "at": time.time()}
            rundir.write_hint(directory, rundir.STUCK, record)
            return False
        time.sleep(0.01)


def _wish(directory: Path, action: str, grace_s: float) -> int:
    """Make the control file say this; its number. The same wish again changes nothing."""
    old = rundir.read_record(directory, rundir.CONTROL)
    # A supervisor of an earlier release does not know about workers; it stops the whole tree, which is right too.
    wish = {"action": action, "grace_s": grace_s}
    if action == SAVE:
        wish |= {"action": STOP, "to": rundir.WORKERS}
    if old is not None and {name: old[name] for name in old if name != "seq"} == wish:
        return int(old["seq"])
    seq = int(old["seq"]) + 1 if old is not None else 1
    rundir.write_hint(directory, rundir.CONTROL, {"seq": seq, **wish})
    return seq


def _wake_supervisor(directory: Path) -> None:
    """SIGUSR1 to the process that holds the claim, if it is still that process."""
    won = rundir.read_record(directory, rundir.CLAIM)
    if won is None or won["by"] != rundir.BY_SUPERVISOR or won["boot_id"] != procfs.boot_id():
        return
    if procfs.is_alive(won["pid"], won["start_ticks"]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(won["pid"], signal.SIGUSR1)
