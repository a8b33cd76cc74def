"""The services of one installation, kept alive: each in a process group of its own, restarted when it dies.

A service dies with its keeper (parent-death signal), and nothing of its group survives it. Supervisors of jobs
have sessions of their own and are never touched. Standard library only; decides nothing about jobs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A service that ran this long has recovered: its next death starts the pauses afresh."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class Service:
    """What to run and how to notice that it hangs."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    inherit: tuple[int, ...] = ()
    """File descriptors that it receives, such as the listening socket."""
    death_signal: signal.Signals = signal.SIGKILL
    """What it gets when the keeper dies without stopping it; SIGTERM where it has children to end itself."""
    beat: Path | None = None
    """A file that a healthy service touches; None where a living process is proof enough."""
    beat_limit_s: float = 150.0


@dataclass(kw_only=True)
class _Kept:
    service: Service
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    not_before: float = 0.0
    pause: float = FIRST_PAUSE_S


class Keeper:
    """Starts services, restarts those that die or hang, stops them all.

    `say` receives one sentence per event; `changed` the pids by name after each start and at the end.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        logs: Path,
        directory: Path,
        say: Callable[[str], None],
        changed: Callable[[Mapping[str, int]], None],
    ) -> None:
        self._kept = [_Kept(service=service) for service in services]
        self._logs = logs
        self._directory = directory
        self._say = say
        self._changed = changed

    def step(self) -> None:
        """One look: bury the dead, end the hanging, start what is due."""
        now = time.monotonic()
        for kept in self._kept:
            self._bury_if_dead(kept, now)
            self._end_if_silent(kept)
            if kept.process is None and now >= kept.not_before:
                self._start(kept, now)

    def next_due_s(self) -> float:
        """Seconds until a paused service is due again; at most one, so that silence is noticed."""
        now = time.monotonic()
        waits = [kept.not_before - now for kept in self._kept if kept.process is None]
        return max(0.0, min([1.0, *waits]))

    def stop(self, grace_s: float = 10.0) -> None:
        """Ask all to end, wait up to `grace_s`, then end whatever is left of their groups."""
        running = [kept.process for kept in self._kept if kept.process is not None]
        for process in running:
            os.kill(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while not all(map(_has_ended, running)) and time.monotonic() < deadline:
            time.sleep(0.02)
        for kept in self._kept:
            if kept.process is not None:
                self._end_group(kept)
        self._changed({})

    def _start(self, kept: _Kept, now: float) -> None:
        service = kept.service
        with (self._logs / f"{service.name}.log").open("ab") as log:
            kept.process = subprocess.Popen(
                service.command,
                cwd=self._directory,
                env={**os.environ, **service.environment, "COOP_SERVICE": service.name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=service.inherit,
                process_group=0,
                preexec_fn=_tie_to(os.getpid(), service.death_signal),  # noqa: PLW1509 - one thread
            )
        kept.started_at = now
        if service.beat is not None:
            service.beat.touch()
        self._changed({k.service.name: k.process.pid for k in self._kept if k.process})

    def _bury_if_dead(self, kept: _Kept, now: float) -> None:
        if kept.process is None or not _has_ended(kept.process):
            return
        lasted = now - kept.started_at
        if lasted >= STEADY_S:
            kept.pause = FIRST_PAUSE_S
        how = _how(self._end_group(kept))
        self._say(
            f"{kept.service.name} ended ({how}) after {lasted:.0f} s; starting it again in {kept.pause:g} s."
            f" Its log: {self._logs / kept.service.name}.log"
        )
        kept.not_before = now + kept.pause
        kept.pause = min(kept.pause * 2, LONGEST_PAUSE_S)

    def _end_if_silent(self, kept: _Kept) -> None:
        """django-q2 can hang for ever while all its processes look alive; only its heartbeat tells."""
        service = kept.service
        if kept.process is None or service.beat is None:
            return
        silence = _silence_s(service.beat)
        if silence > service.beat_limit_s:
            self._say(f"{service.name} gave no sign of life for {silence:.0f} s; ending it.")
            os.killpg(kept.process.pid, signal.SIGKILL)

    def _end_group(self, kept: _Kept) -> int:
        """End all that is left of the group; the leader's return code.

        The leader is collected last: until then the kernel gives its number to nobody else.
        """
        process = kept.process
        assert process is not None  # noqa: S101 - callers have just looked
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        kept.process = None
        return process.wait()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it is dead, without collecting it."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _silence_s(beat: Path) -> float:
    """Seconds since the last beat; a beat file that somebody removed counts from now."""
    try:
        return time.time() - beat.stat().st_mtime
    except FileNotFoundError:
        beat.touch()
        return 0.0


def _tie_to(keeper: int, death_signal: signal.Signals) -> Callable[[], None]:
    """What a child does before exec: die with its keeper, and receive the signals that the keeper blocks."""

    def tie() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != keeper:  # the keeper died before the line above
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())

    return tie


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"exit code {returncode}"
    return f"signal {signal.Signals(-returncode).name}"
