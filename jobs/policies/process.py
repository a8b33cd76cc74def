"""The service's side of the process that runs a policy: start it, tell it the waiting jobs, take its answer, end it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpus.frames import Channel, ChannelClosed
from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import JobView
from jobs.policies.loading import PolicyFailed
from jobs.policies.source import Source
from jobs.policies.wire import pack, pack_rules

PASSED_ON = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "TZ")
"""Variables of the service that a policy gets as well. All others stay behind: secrets and the database's address."""

_PACKAGES = str(Path(__file__).resolve().parents[2])
_COMMAND = (sys.executable, "-P", "-m", "jobs.policies.child")
_AT_ONCE = 2000  # jobs in one frame
_GRACE = (
    1.0  # seconds beyond a limit that the process keeps itself, before it is ended from outside
)
_LAST_WAIT = 2.0  # seconds until a killed process counts as one that hangs in the kernel


class PolicyProcess:
    """One process with one policy, for one thread; only `interrupt` is for others.

    Raises:
        PolicyFailed: the process could not be started.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._told: dict[str, JobView] = {}
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    _COMMAND,
                    stdin=theirs.fileno(),
                    cwd=source.file.parent if source.file else "/",
                    env=_environment(),
                    process_group=0,
                )
            except OSError as error:
                ours.close()
                raise PolicyFailed(f"cannot be started: {error}") from error
        self._socket = ours
        self._channel = Channel(ours)
        self.has_ended = self.loaded = False

    def load(self, rules: Rules, limit: float) -> None:
        """Have the policy loaded within `limit` seconds.

        Raises:
            PolicyFailed: it cannot be loaded, or not in time.
        """
        file = str(self._source.file) if self._source.file else None
        told = {"name": self._source.name, "file": file, "rules": pack_rules(rules), "limit": limit}
        self._asked([told], limit, "took longer than {seconds:g} s to load")
        self.loaded = True

    def order(self, tasks: Sequence[JobView], now: float, limit: float) -> list[str]:
        """The ids of the tasks in the policy's order, within `limit` seconds; only what has changed is sent.

        Raises:
            PolicyFailed: it raised, hung, ended its process, or returned something else.
        """
        frames = [*self._changes(tasks), {"now": now, "limit": limit}]
        answer = self._asked(frames, limit, "took longer than {seconds:g} s").get("order")
        # The process checks too, and says more; but it is not to be trusted.
        if not isinstance(answer, list) or len(answer) != len(self._told):
            raise PolicyFailed("answered with something that is not an order of its tasks")
        if any(type(each) is not str for each in answer) or set(answer) != self._told.keys():
            raise PolicyFailed("answered with other tasks than it was given")
        return answer

    def knows(self, tasks: Sequence[JobView]) -> bool:
        """Whether it has been told exactly these tasks, as they are now."""
        return len(tasks) == len(self._told) and not any(self._news_of(task) for task in tasks)

    def interrupt(self) -> None:
        """Let whoever waits for its answer get PolicyFailed at once; it is still to be ended."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def end(self) -> int | None:
        """End it and all that it has started; its exit code, None where it hangs in the kernel.

        The leader of the group is collected last: until then the kernel gives its number to nobody else. A code that it
        had already ended with is not changed by the signal.
        """
        if not self.has_ended:
            self.has_ended = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=_LAST_WAIT)
        return None

    def _changes(self, tasks: Sequence[JobView]) -> Iterator[dict[str, Any]]:
        now = {task.id: task for task in tasks}
        put = [task for task in tasks if self._news_of(task)]
        gone = [job_id for job_id in self._told if job_id not in now]
        self._told = now
        if gone:
            yield {"gone": gone}
        for start in range(0, len(put), _AT_ONCE):
            yield {"put": [pack(task) for task in put[start : start + _AT_ONCE]]}

    def _news_of(self, task: JobView) -> bool:
        told = self._told.get(task.id)
        return told is not task and told != task

    def _asked(
        self, frames: Sequence[Mapping[str, Any]], limit: float, words: str
    ) -> dict[str, Any]:
        deadline = time.monotonic() + limit + _GRACE
        try:
            for frame in frames:
                self._channel.send(dict(frame), max(0.01, deadline - time.monotonic()))
            answer = self._channel.receive(max(0.01, deadline - time.monotonic()))
        except (ChannelClosed, ValueError) as closed:
            raise PolicyFailed(self._how_it_ended()) from closed
        if answer is None:
            self.end()
            raise PolicyFailed(words.format(seconds=limit))
        if isinstance(problem := answer.get("problem"), str):
            raise PolicyFailed(problem)
        return answer

    def _how_it_ended(self) -> str:
        code = self.end()
        if code is None:
            return "hangs in the kernel"
        if code < 0:
            return f"was ended by signal {signal.Signals(-code).name}"
        return f"ended its process with exit code {code}"


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {
        **passed,
        "PYTHONPATH": _PACKAGES,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
