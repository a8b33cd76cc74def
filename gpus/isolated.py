"""A probe that asks the cards in a process of its own, because a driver call can hang for ever.

A card that does not answer within the time-out takes its process with it: that process is killed and
abandoned (a call stuck in the kernel outlives even SIGKILL), a new one reads the other cards, and the
card is tried again later, last in the round. The caller never waits longer than its patience.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpus.cards import to_request
from gpus.frames import Channel, ChannelClosed
from gpus.readings import NVML, SIMULATED, DeviceReading, FleetReading, Holding

log = logging.getLogger(__name__)

MOST_ABANDONED = 1  # processes that are stuck in the kernel while a new one may start
_PACKAGES = str(Path(__file__).resolve().parent.parent)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long what may take, in seconds."""

    call: float = 0.8  # one `read`; less than the second between two of them
    answer: float = 2.5  # one round of readings, before the card under way counts as stuck
    start: float = 30.0  # a driver without persistence mode takes seconds for each card
    first_retry: float = 10.0  # of a card that did not answer; the wait doubles each time
    longest_retry: float = 600.0
    first_restart: float = 1.0  # of a process that ended; the wait doubles each time
    longest_restart: float = 60.0


DEFAULT_PATIENCE = Patience()


class Backoff:
    """Doubles the wait with every failure in a row."""

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self._failures = 0
        self.until = 0.0  # on the monotonic clock

    def fail(self, now: float) -> None:
        """Note a failure."""
        self.until = now + min(self._first * 2.0 ** min(self._failures, 16), self._longest)
        self._failures += 1

    def succeed(self) -> None:
        """Forget the failures."""
        self._failures, self.until = 0, 0.0


@dataclass(kw_only=True, slots=True)
class _Suspect:
    """A card that took a process with it."""

    backoff: Backoff
    child: _Child  # not read again while the process that hangs on it lives


@dataclass(kw_only=True, slots=True, eq=False)
class _Child:
    """One process that asks the cards."""

    process: subprocess.Popen[bytes]
    channel: Channel
    since: float  # when it was started, or was sent the request that it has not answered yet
    greeted: bool = False  # has it said hello? A driver may take its time for that each time
    waiting: bool = True  # for its hello, or for the end of a round
    order: list[str] = field(default_factory=list)  # the cards of the round that are still to come

    def kill(self) -> None:
        self.channel.close()
        self.process.kill()

    def is_alive(self) -> bool:
        return self.process.poll() is None


class IsolatedProbe:
    """Implements `gpus.readings.Probe` around `command`, which speaks the frames of `gpus/cards.py`."""

    def __init__(
        self,
        command: Sequence[str],
        holdings: Callable[[], Iterable[Holding]],
        patience: Patience = DEFAULT_PATIENCE,
    ) -> None:
        self._command = list(command)
        self._holdings = holdings
        self._patience = patience
        self._child: _Child | None = None
        self._abandoned: list[_Child] = []
        self._suspects: dict[str, _Suspect] = {}
        self._restart = Backoff(patience.first_restart, patience.longest_restart)
        self._known: list[str] | None = None  # no card has been listed yet
        self._fresh: dict[str, DeviceReading] = {}
        self._labels: dict[str, str] = {}
        self._source, self._driver = "", None
        self._notice: str | None = None
        self._trouble: str | None = None

    def read(self) -> FleetReading:
        """What the cards answered since the last call, waiting for at most `patience.call` seconds."""
        deadline = time.monotonic() + self._patience.call
        self._fresh = {}
        self._abandoned = [child for child in self._abandoned if child.is_alive()]
        try:
            self._converse(deadline)
        except ChannelClosed:
            self._lose("The process that asks the cards has ended.")
        return FleetReading(
            at=time.time(),
            devices=tuple(self._fresh.values()),
            driver=self._driver,
            source=self._source,
            silent=tuple(uuid for uuid in self._known or () if uuid not in self._fresh),
            listed=self._known is not None,
            notice=" ".join(filter(None, (self._trouble, self._notice))) or None,
        )

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.kill()
            self._abandoned.append(self._child)
            self._child = None
        for child in self._abandoned:
            try:
                child.process.wait(timeout=self._patience.answer)
            except subprocess.TimeoutExpired:
                log.warning(
                    "The process %d hangs in the driver and is left behind.", child.process.pid
                )

    def _converse(self, deadline: float) -> None:
        """Start, ask, and take in answers until a round is complete or the deadline has come.

        Whoever says nothing for too long is given up at that moment, so that a new process can go on in the same call.
        """
        asked: _Child | None = None
        while (child := self._child or self._start()) is not None:
            if not child.waiting:
                if asked is child:
                    return
                self._ask(child, deadline)
                asked = child
            allowed = self._patience.answer if child.greeted else self._patience.start
            limit = child.since + allowed
            frame = child.channel.receive(max(0.0, min(deadline, limit) - time.monotonic()))
            if frame is not None:
                self._take(child, frame)
            elif time.monotonic() >= limit:
                self._give_up(child)
            else:
                return

    def _start(self) -> _Child | None:
        """A new process, unless it is too early or too many are stuck already."""
        if len(self._abandoned) > MOST_ABANDONED or time.monotonic() < self._restart.until:
            return None
        ours, theirs = socket.socketpair()
        path = os.pathsep.join(filter(None, [_PACKAGES, os.environ.get("PYTHONPATH")]))
        with theirs:
            process = subprocess.Popen(
                self._command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": path},
            )
        self._child = _Child(process=process, channel=Channel(ours), since=time.monotonic())
        return self._child

    def _ask(self, child: _Child, deadline: float) -> None:
        now = time.monotonic()
        due = {uuid for uuid, suspect in self._suspects.items() if self._is_due(suspect, now)}
        holdings = self._holdings() if self._source == SIMULATED else ()
        request = to_request(holdings, skip=sorted(self._suspects.keys() - due), last=sorted(due))
        child.waiting, child.since, child.order = True, now, []
        child.channel.send(request, patience=max(0.05, deadline - now))

    def _is_due(self, suspect: _Suspect, now: float) -> bool:
        return now >= suspect.backoff.until and not suspect.child.is_alive()

    def _take(self, child: _Child, frame: dict[str, Any]) -> None:
        """Let one frame change what is known."""
        if "card" in frame:
            device = DeviceReading.from_wire(frame["card"])
            self._fresh[device.uuid] = device
            self._labels[device.uuid] = f"gpu{device.index} ({device.uuid})"
            self._suspects.pop(device.uuid, None)
            child.order.remove(device.uuid)
        elif "order" in frame:
            self._known, child.order = frame["cards"], frame["order"]
        elif "notice" in frame:
            self._notice, child.waiting = frame["notice"], False
            self._restart.succeed()
            self._trouble = self._trouble if self._suspects else None
        elif "source" in frame:
            self._source, self._driver = frame["source"], frame["driver"]
            child.greeted, child.waiting = True, False
        else:
            self._source = self._source or NVML
            self._lose(frame["unavailable"])

    def _give_up(self, child: _Child) -> None:
        """On a process that has said nothing for too long."""
        card = self._labels.get(child.order[0], child.order[0]) if child.order else ""
        who = f"The card {card}" if card else "The NVIDIA driver"
        what = "on it; it is tried" if card else "here; it is asked"
        self._lose(f"{who} does not answer. Nothing new is placed {what} again by itself.")

    def _lose(self, why: str) -> None:
        """Kill and abandon the process; when it was reading a card, go on at once with the others."""
        child, self._child = self._child, None
        if child is None:
            return
        self._trouble = why
        child.kill()
        self._abandoned.append(child)
        if child.order:
            self._suspect(child.order[0], child)
            self._start()
        else:
            self._restart.fail(time.monotonic())

    def _suspect(self, uuid: str, child: _Child) -> None:
        before = self._suspects.get(uuid)
        patience = self._patience
        backoff = (
            before.backoff if before else Backoff(patience.first_retry, patience.longest_retry)
        )
        backoff.fail(time.monotonic())
        self._suspects[uuid] = _Suspect(backoff=backoff, child=child)


def cards_command(spec: str, node: str, scenario: Path | None) -> list[str]:
    """The command line of the process that asks the cards of `spec`."""
    command = [sys.executable, "-P", "-m", "gpus.cards", spec, node]
    return [*command, str(scenario)] if scenario else command
