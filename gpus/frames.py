"""Length-prefixed JSON between the agent and the process that asks the cards."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

LARGEST_FRAME = 16 * 2**20
_LENGTH = struct.Struct("!I")


class ChannelClosed(Exception):
    """The other side is gone."""


class Channel:
    """One end of a stream socket that carries frames; no call waits longer than it is told."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._received = bytearray()

    def send(self, message: dict[str, Any], patience: float | None = None) -> None:
        """Write one frame within `patience` seconds (None: however long it takes).

        Raises:
            ChannelClosed: the other side is gone, or does not take the frame in time.
        """
        data = json.dumps(message, separators=(",", ":")).encode()
        try:
            self._stream.settimeout(patience)
            self._stream.sendall(_LENGTH.pack(len(data)) + data)
        except OSError as error:
            raise ChannelClosed(str(error)) from error

    def receive(self, patience: float | None = None) -> dict[str, Any] | None:
        """The next frame, or None when it is not there within `patience` seconds (None: waits).

        Raises:
            ChannelClosed: the other side is gone.
        """
        deadline = None if patience is None else time.monotonic() + patience
        while (frame := self._taken()) is None:
            if not self._fill(deadline):
                return None
        return json.loads(frame)

    def close(self) -> None:
        """Close this end; the other one sees it."""
        self._stream.close()

    def _taken(self) -> bytes | None:
        if len(self._received) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._received)
        if length > LARGEST_FRAME:
            raise ChannelClosed(
                f"a frame of {length} bytes is more than the {LARGEST_FRAME} allowed"
            )
        end = _LENGTH.size + length
        if len(self._received) < end:
            return None
        frame = bytes(self._received[_LENGTH.size : end])
        del self._received[:end]
        return frame

    def _fill(self, deadline: float | None) -> bool:
        """Take in what is there; False when nothing came before the deadline."""
        try:
            self._stream.settimeout(
                None if deadline is None else max(0, deadline - time.monotonic())
            )
            data = self._stream.recv(2**18)
        except (TimeoutError, BlockingIOError):
            return False
        except OSError as error:
            raise ChannelClosed(str(error)) from error
        if not data:
            raise ChannelClosed("the other side has closed")
        self._received += data
        return True
