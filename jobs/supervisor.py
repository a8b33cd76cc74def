"""The supervisor: one process per attempt, nobody's child, which runs the command once and proves how it ended.

It holds the attempt's lock for life and executes only after it has won the attempt's one claim. The start record is on
disk before the command's first instruction; the exit record is written only when the whole tree is known to be empty.
Standard library only: it outlives the service, and a new release of it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from jobs import containment, rundir
from jobs.bus import Bus
from jobs.launch import kernel, procfs
from jobs.launch.command import Command, Ended
from jobs.launch.crashpoints import crash_point
from jobs.launch.ending import NEVER, Ending, Steering
from jobs.launch.output import Output

STARTED_NOTICE_S = 0.05
"""A command that is over sooner reports only its end, which halves the wake-ups in a burst of short jobs."""

_EXIT_NOTICE_PATIENCE_S = 2.0
_RECORD_RETRY_S = 0.5
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGPIPE)


def supervise(directory: str) -> None:
    """Run the attempt of this directory to its end, if nobody has claimed it before."""
    spec = rundir.read_record(directory, rundir.SPEC)
    if spec is None:
        return
    crash_point("supervisor.before_lock")
    lock = rundir.take_lock(directory)
    if lock is None:
        return
    crash_point("supervisor.before_claim")
    # Not by the dispatcher, which would wait for the disk one job after the other; supervisors wait side by side.
    rundir.make_durable(directory, rundir.SPEC)
    if rundir.claim(directory, rundir.BY_SUPERVISOR):
        crash_point("supervisor.after_claim")
        _Supervision(directory, spec).run()


def run_detached(directory: str) -> None:
    """What a freshly forked supervisor process does; never returns. Trouble is told in the run directory."""
    status = 1
    try:
        _leave_the_caller()
        supervise(directory)
        status = 0
    except BaseException:  # noqa: BLE001 - the last place where it can be told to somebody
        _tell_trouble(directory)
    finally:
        os._exit(status)


def main() -> None:
    """Supervise one attempt in this process: `python -m jobs.supervisor <attempt directory>`."""
    supervise(sys.argv[1])


class _Supervision:
    """One attempt after its claim was won."""

    def __init__(self, directory: str, spec: dict[str, Any]) -> None:
        self._directory = directory
        self._spec = spec
        self._wake = _wake_pipe()
        self._notice_at = NEVER

    def run(self) -> None:
        """From the claim to the durable exit record."""
        kernel.become_subreaper()
        self._output = Output(f"{self._directory}/{rundir.LOG}", int(self._spec["log_cap_bytes"]))
        try:
            self._launch()
        except (OSError, containment.NotPossibleError) as error:
            self._finish(Ended(error=f"The attempt could not be started: {error}"))
        else:
            self._watch()

    def _launch(self) -> None:
        """Make the container and the child, put the start record on disk, and only then release the child."""
        spec = self._spec
        self._container = containment.choose(spec["containment"], spec["token"])
        self._command = Command(spec, self._container)
        try:
            self._output.give_to(spec["uid"])
            self._make_usage_file()
            self._command.fork(self._output.sink)
            crash_point("supervisor.before_started")
            rundir.write_durably(self._directory, rundir.STARTED, self._started_record())
        except OSError:
            self._command.abandon()
            raise
        crash_point("supervisor.after_started")
        self._command.release()
        self._output.command_has_it()
        crash_point("supervisor.after_go")

    def _watch(self) -> None:
        """Until the command and everything it left behind have ended."""
        self._ending = Ending(self._directory, self._container, self._command.root)
        self._steering = Steering(self._directory, self._container, self._ending)
        self._notice_at = time.monotonic() + STARTED_NOTICE_S
        while (ended := self._turn()) is None:
            self._wait()
        crash_point("supervisor.tree_empty")
        self._output.copy_rest()
        self._finish(ended, self._ending.stopped_by)

    def _turn(self) -> Ended | None:
        """Do what is due; how the command ended, once its whole tree is gone."""
        self._output.copy()
        self._command.bury()
        if self._command.ended is not None:
            if self._command.gone():
                return self._command.ended
            self._ending.command_ended()
        if time.monotonic() >= self._steering.next_at and self._steering.look():
            self._notify()
        self._keep_time_limit()
        self._ending.step()
        if time.monotonic() >= self._notice_at:
            self._notify()
        return None

    def _wait(self) -> None:
        """Sleep until a signal, output, or the next thing that is due."""
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        pause = self._output.pause_s()
        if self._output.source is not None and not pause:
            poller.register(self._output.source, select.POLLIN)
        if self._command.status_source is not None:
            poller.register(self._command.status_source, select.POLLIN)
        due = min(self._steering.next_at, self._ending.next_at, self._notice_at)
        seconds = max(0.0, due - time.monotonic())
        poller.poll(1 + 1000 * (min(seconds, pause) if pause else seconds))
        if _woken(self._wake):
            self._steering.next_at = 0.0  # the signal may have been a hint at the control file

    def _keep_time_limit(self) -> None:
        limit = self._spec["time_limit_s"]
        if limit is None or self._ending.stopped_by is not None or self._command.ended is not None:
            return
        left = limit - self._steering.running_s()
        if left <= 0:
            self._output.note(f"the time limit of {limit:g} s is over; the job is stopped.")
            self._ending.ask("time_limit", float(self._spec["grace_s"]))
        elif not self._steering.frozen:
            self._steering.next_at = min(self._steering.next_at, time.monotonic() + left)

    def _finish(self, ended: Ended, stopped_by: str | None = None) -> None:
        if ended.error:
            self._output.note(ended.error)
        record = {
            "code": ended.code,
            "signal": ended.signal,
            "launch_error": ended.error,
            "at": time.time(),
            "tree_empty": True,
            "stopped_by": stopped_by,
            "oom_kill": ended.oom_kill,
        }
        crash_point("supervisor.before_exit")
        self._write_exit(record)
        crash_point("supervisor.after_exit")
        self._notify(_EXIT_NOTICE_PATIENCE_S)

    def _write_exit(self, record: rundir.Record) -> None:
        """Write the exit record. While the disk is full the attempt stays alive, with its booking, and tries on."""
        while True:
            try:
                rundir.write_durably(self._directory, rundir.EXIT, record)
            except OSError:
                time.sleep(_RECORD_RETRY_S)
            else:
                return

    def _started_record(self) -> rundir.Record:
        root = procfs.read_process(self._command.root)
        me = procfs.read_process(os.getpid())
        if root is None or me is None:
            raise ProcessLookupError("The child has ended before it was released.")
        return {
            "pid": root.pid,
            "pid_start_ticks": root.start_ticks,
            "supervisor_pid": me.pid,
            "supervisor_start_ticks": me.start_ticks,
            "boot_id": procfs.boot_id(),
            "at": time.time(),
            "containment": self._container.label,
        }

    def _make_usage_file(self) -> None:
        """Where a job of another user tells a simulated card what it uses: ours is the directory, its is the file."""
        path, uid = f"{self._directory}/{rundir.SIM_USAGE}", self._spec["uid"]
        if uid is not None and self._spec["env"].get("LLAMA_COOP_SIM_USAGE") == path:
            Path(path).touch(mode=0o600)
            os.chown(path, uid, -1)

    def _notify(self, patience: float = 0.0) -> None:
        """Wake the dispatcher; it looks at the records by itself when this is lost."""
        self._notice_at = NEVER
        if self._spec["wake"]:
            job, _, number = self._spec["token"].rpartition("-")
            message = {"k": "attempt", "job": job, "n": int(number)}
            Bus(self._spec["wake"]).send("dispatcher", message, patience=patience)


def _leave_the_caller() -> None:
    """Keep nothing of the process that forked us: no descriptor, no directory, no signal meant for it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.chdir("/")
    os.umask(0o077)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)


def _wake_pipe() -> int:
    """A descriptor that becomes readable when a child ends or somebody points at the control file."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    return reading


def _woken(wake: int) -> bool:
    """Empty the wake pipe; whether SIGUSR1 was among what came."""
    with contextlib.suppress(BlockingIOError):
        return signal.SIGUSR1 in os.read(wake, 4096)
    return False


def _tell_trouble(directory: str) -> None:
    with contextlib.suppress(OSError), Path(directory, "trouble").open("a") as file:
        traceback.print_exc(file=file)


if __name__ == "__main__":
    main()
