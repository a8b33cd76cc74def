"""The process that runs a policy: `python -m jobs.policies.child`, with a socket as its standard input.

It exists because a policy is the site's own code: it may hang, eat memory or end its process. It is told one policy,
loads it, keeps the waiting jobs as they change, and answers with their order. It knows no database and no secret, and
ends when the service does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gpus.frames import Channel, ChannelClosed
from jobs.core.policy import BadOrder, BasePolicy, ask, in_default_order
from jobs.core.snapshot import JobView
from jobs.policies.loading import PolicyFailed, described, load, place_in
from jobs.policies.source import Source
from jobs.policies.wire import unpack, unpack_rules

MOST_MEMORY = 4 * 2**30  # bytes that a policy may use
NICENESS = 5
PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve until the service is gone."""
    channel = _own_channel()
    _be_modest()
    with contextlib.suppress(ChannelClosed):
        Serving(channel).serve()


class Serving:
    """One policy and the jobs that it is asked about."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._clock = _Clock(channel)
        self._jobs: dict[str, JobView] = {}

    def serve(self) -> None:
        """Load the policy of the first frame, then answer those that follow."""
        policy = self._loaded(self._channel.receive() or {})
        while policy is not None and (frame := self._channel.receive()) is not None:
            for job_id in frame.get("gone", ()):
                self._jobs.pop(job_id, None)
            self._jobs |= {job.id: job for job in map(unpack, frame.get("put", ()))}
            if "now" in frame:
                self._answer(policy, frame)

    def _loaded(self, told: dict[str, Any]) -> BasePolicy | None:
        self._clock.file = Path(told["file"]) if told["file"] else None
        source = Source(name=told["name"], file=self._clock.file)
        with self._clock.limit(told["limit"], "took longer than {seconds:g} s to load") as say:
            try:
                policy = load(source, unpack_rules(told["rules"]))
            except PolicyFailed as failed:
                say({"problem": str(failed)})
                return None
            say({"loaded": True})
        return policy

    def _answer(self, policy: BasePolicy, asked: dict[str, Any]) -> None:
        tasks = in_default_order(self._jobs.values(), policy.rules)
        with self._clock.limit(asked["limit"], "took longer than {seconds:g} s") as say:
            say(_order(policy, tasks, asked["now"], self._clock.file))


class _Clock:
    """Ends this process when the policy takes too long, after saying at which line it was.

    A policy that hangs inside one call of a C library cannot be seen from here; the service ends it from outside.
    """

    def __init__(self, channel: Channel) -> None:
        self.file: Path | None = None
        self._channel = channel
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def limit(self, seconds: float, words: str) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Gives the only way to answer: the first of answer and end counts."""
        main_thread = threading.get_ident()
        answered = False

        def say(frame: dict[str, Any]) -> None:
            nonlocal answered
            with self._lock:
                answered = True
                self._channel.send(frame)

        def end() -> None:
            with self._lock:
                if answered:
                    return
                place = place_in(sys._current_frames().get(main_thread), self.file)  # noqa: SLF001 - the documented way
                with contextlib.suppress(ChannelClosed):
                    self._channel.send({"problem": words.format(seconds=seconds) + place})
                os._exit(1)

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield say
        finally:
            timer.cancel()


def _order(
    policy: BasePolicy, tasks: list[JobView], now: float, file: Path | None
) -> dict[str, Any]:
    try:
        return {"order": [job.id for job in ask(policy, tasks, now=now)]}
    except BadOrder as bad:
        return {"problem": str(bad)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the site's own code
        return {"problem": f"raised {described(error, file)}"}


def _own_channel() -> Channel:
    """The socket, out of the policy's way: it reads nothing from its standard input, and prints into our log."""
    channel = Channel(socket.socket(fileno=os.dup(0)))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return channel


def _be_modest() -> None:
    """Ends with the service, leaves Ctrl-C to it, runs behind it, and is the first to go when memory runs out."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError):  # this account may use less anyhow
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


if __name__ == "__main__":
    main()
