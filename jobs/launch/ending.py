"""How an attempt is steered: frozen, thawed, told to end, and ended whether it wants or not."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import Any

from jobs import rundir
from jobs.containment import Container
from jobs.launch.signals import signal_all
from jobs.launch.workers import training_processes

NEVER = float("inf")
CONTROL_PERIOD_S = 1.0
"""How often the control file is read without a signal, which may have been lost."""
STUCK_AFTER_S = 10.0
"""A tree that outlives SIGKILL for so long is reported: its card must not be given away."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.1


class Ending:
    """Ends a tree: SIGTERM, then the grace, then SIGKILL again and again until it is empty."""

    def __init__(self, directory: str, container: Container, root: int = 0) -> None:
        self._directory = directory
        self._container = container
        self._root = root
        self._rest_waits = False
        self._kill_at = NEVER
        self._killed_at: float | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._waits = False
        self.next_at = NEVER
        """When `step` has something to do, on the monotonic clock."""
        self.stopped_by: str | None = None

    def ask(self, by: str, grace_s: float, *, workers_only: bool = False) -> None:
        """SIGTERM to the whole tree; SIGKILL after the grace. Asked again, the earlier end holds.

        With `workers_only` the rest of the tree hears nothing until the command has ended: its training is to save
        first. A command that has ended by itself before was not stopped by anybody, though its helpers are.
        """
        if self.stopped_by is None:
            self.stopped_by = None if self._waits else by
            self._signal(workers_only=workers_only and not self._waits)
        self._end_at(time.monotonic() + max(0.0, grace_s))
        # Thawed after the signal, so that a frozen tree does not run a single step before it hears.
        self._container.thaw()

    def command_ended(self) -> None:
        """What it left behind ends at once; when it was told to stop, its helpers keep the rest of the grace."""
        self._waits = True
        if self.stopped_by is None:
            self._end_at(time.monotonic())
        elif self._rest_waits:
            self._signal(workers_only=False)
        self.next_at = min(self.next_at, time.monotonic() + self._pause_s)

    def step(self) -> None:
        """Kill when it is time, and look ever less often whether it worked."""
        now = time.monotonic()
        if now < self.next_at:
            return
        if now >= self._kill_at:
            self._container.kill()
            self._killed_at = self._killed_at or now
            self._report_stuck(now)
        self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2)
        self.next_at = now + self._pause_s if self._waits or now >= self._kill_at else self._kill_at

    def _signal(self, *, workers_only: bool) -> None:
        self._rest_waits = workers_only
        if workers_only:
            signal_all(
                lambda: training_processes(self._container.members(), self._root), signal.SIGTERM
            )
        else:
            self._container.signal(signal.SIGTERM)

    def _end_at(self, when: float) -> None:
        self._kill_at = min(self._kill_at, when)
        self.next_at = min(self.next_at, self._kill_at)

    def _report_stuck(self, now: float) -> None:
        if self._killed_at is None or now - self._killed_at < STUCK_AFTER_S:
            return
        pids = sorted(self._container.members())
        with contextlib.suppress(OSError):
            rundir.write_hint(self._directory, rundir.STUCK, {"pids": pids, "at": time.time()})
        self._killed_at = now


class Steering:
    """Carries out what the control file says, and keeps the clock of running time."""

    def __init__(self, directory: str, container: Container, ending: Ending) -> None:
        self._directory = directory
        self._container = container
        self._ending = ending
        self._seq = 0
        self._began = time.monotonic()
        self._frozen_at: float | None = None
        self._frozen_s = 0.0
        self.next_at = 0.0

    def look(self) -> bool:
        """Read the control file and do what is new in it; True if something was done."""
        self.next_at = time.monotonic() + CONTROL_PERIOD_S
        try:
            control = rundir.read_record(self._directory, rundir.CONTROL)
        except rundir.BrokenRecordError:
            return False
        if control is None or control["seq"] <= self._seq:
            return False
        done = self._carry_out(control)
        if done:
            self._seq = control["seq"]
        with contextlib.suppress(OSError):
            applied = {
                "seq": control["seq"],
                "action": control["action"],
                "done": done,
                "at": time.time(),
            }
            rundir.write_hint(self._directory, rundir.APPLIED, applied)
        return True

    def running_s(self) -> float:
        """Seconds since the start, frozen time not counted."""
        now = time.monotonic()
        frozen = self._frozen_s + (now - self._frozen_at if self._frozen_at is not None else 0.0)
        return now - self._began - frozen

    @property
    def frozen(self) -> bool:
        return self._frozen_at is not None

    def _carry_out(self, control: dict[str, Any]) -> bool:
        action = control["action"]
        if action == "stop":
            workers_only = control.get("to") == rundir.WORKERS
            self._ending.ask("control", float(control["grace_s"]), workers_only=workers_only)
            self._run_on()
            return True
        if action == "freeze" and self._ending.stopped_by is None:
            self._frozen_at = self._frozen_at or time.monotonic()
            return self._container.freeze()  # not yet? then once more at the next look
        if action == "thaw":
            self._container.thaw()
            self._run_on()
        return True

    def _run_on(self) -> None:
        if self._frozen_at is not None:
            self._frozen_s += time.monotonic() - self._frozen_at
            self._frozen_at = None
