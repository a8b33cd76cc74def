"""What one socket is still to be sent: the newest value of each slot and a set of changed jobs, never a backlog.

A server may buffer without bound what a reader does not take (Daphne does), so the reader acknowledges, and nothing
more is handed to the server than a few messages ahead of what was acknowledged.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable

WINDOW = 8  # messages handed to the server before the reader has acknowledged any of them
SLOW_AFTER = (
    5.0  # seconds without an acknowledgement, or for one send, after which a reader is dropped
)

Send = Callable[[str], Awaitable[None]]


class SlowReader(Exception):
    """The reader takes nothing any more; its socket is to be closed."""


class Outbox:
    """Slots of one socket. All methods belong to the event loop of the socket."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._slots: dict[str, str] = {}
        self._changed: set[str] = set()
        self._event = 0
        self._ahead = 0
        self._wake = asyncio.Event()

    def put(self, slot: str, text: str) -> None:
        """Send `text` when the reader is ready; a text that still waits in the same slot is replaced."""
        self._slots[slot] = text
        self._wake.set()

    def add_changes(self, jobs: Iterable[str], event: int) -> None:
        """Tell the reader that something changed: `jobs` are those it may know of, up to event row `event`."""
        self._changed.update(jobs)
        self._event = max(self._event, event)
        self._wake.set()

    def acknowledge(self, count: int) -> None:
        """The reader has taken `count` more messages."""
        self._ahead = max(0, self._ahead - count)
        self._wake.set()

    async def run(self) -> None:
        """Send for as long as the socket lives.

        Raises:
            SlowReader: the reader has not taken anything for `SLOW_AFTER` seconds.
        """
        while True:
            await self._wait_until_ready()
            text = self._next()
            self._ahead += 1
            try:
                await asyncio.wait_for(self._send(text), SLOW_AFTER)
            except TimeoutError as error:
                raise SlowReader from error

    async def _wait_until_ready(self) -> None:
        while not self._has_something():
            self._wake.clear()
            await self._wake.wait()
        while self._ahead >= WINDOW:
            self._wake.clear()
            await self._wait_for_acknowledgement()

    async def _wait_for_acknowledgement(self) -> None:
        ahead = self._ahead
        deadline = asyncio.get_running_loop().time() + SLOW_AFTER
        while (
            self._ahead == ahead
        ):  # a new value in a slot wakes us too, and proves nothing about the reader
            left = deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self._wake.wait(), left)
            except TimeoutError as error:
                raise SlowReader from error
            self._wake.clear()

    def _has_something(self) -> bool:
        return bool(self._slots) or bool(self._event)

    def _next(self) -> str:
        """Changes first: a state must be seen within half a second, a reading is out of date in one."""
        if self._event:
            message = {"k": "changed", "jobs": sorted(self._changed), "event": self._event}
            self._changed, self._event = set(), 0
            return json.dumps(message)
        return self._slots.pop(next(iter(self._slots)))
