"""The log of an attempt: from the job's pipe to a file that never takes more disk than its cap.

The file's offsets are those of the output itself. When the output outgrows the cap, the first half of the cap is kept
and the last half follows the job; the blocks between are given back to the file system (a hole), and a line before the
hole says so. A reader at the end never notices; a reader of the whole skips the hole. An output of very many caps is no
longer followed, so that nobody has to read a file without end: only its last part is kept, and added when it is over.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque

from jobs.launch import kernel

_BLOCK = 4096
_CHUNK = 65536
_CHUNKS_PER_TURN = 16
_SMALLEST_CAP = 16 * _BLOCK
_PUNCH_EVERY = 2**20
_FOLLOWED_CAPS = 16
_LAST_PART = 2**20
_BYTES_PER_SECOND = 32 * 2**20
"""More output than any training writes: beyond it the job waits, so that a flood leaves the machine usable."""


class LogPump:
    """Copies one job's output into its log file. Not for a cap of 0: then the job writes the file itself."""

    def __init__(self, source: int, log: int, cap: int) -> None:
        cap = max(cap, _SMALLEST_CAP)
        self._source = source
        self._log = log
        self._cap = cap
        self._head = cap // 2 // _BLOCK * _BLOCK
        self._tail = cap - self._head
        self._slack = min(_PUNCH_EVERY, cap // 4)
        self._size = os.lseek(log, 0, os.SEEK_END)
        self._dropped_to = self._head
        self._followed = cap * _FOLLOWED_CAPS
        self._dropped = 0
        self._last: deque[bytes] = deque()
        self._last_size = 0
        self._second = 0.0
        self._copied_in_second = 0

    def pump(self) -> bool:
        """Copy what is there, for a bounded time; False when the output has come to its end."""
        for _ in range(_CHUNKS_PER_TURN):
            data = self._read()
            if not data:
                return data is None
            self.append(data)
            self._copied_in_second += len(data)
        return True

    def drain(self) -> None:
        """Copy all that is there. Bounded by the pipe: ask only when nobody writes any more."""
        while data := self._read():
            self.append(data)

    def finish(self) -> None:
        """Add the last part of an output that was no longer followed."""
        if self._last:
            self._write(self._line(f"{self._dropped} bytes are dropped here; the last ones follow"))
            self._write(b"".join(self._last)[-_LAST_PART:])

    def pause_s(self) -> float:
        """Seconds for which the pipe should be left alone, because the job floods its log."""
        now = time.monotonic()
        if now - self._second >= 1:
            self._second, self._copied_in_second = now, 0
        if self._copied_in_second < _BYTES_PER_SECOND:
            return 0.0
        return self._second + 1 - now

    def append(self, data: bytes) -> None:
        """Write to the end of the log; a full disk loses the data and does not stop the job."""
        if self._size >= self._followed:
            self._keep_for_the_end(data)
            return
        self._write(data)
        if self._size - self._tail - self._dropped_to >= self._slack:
            self._drop_the_middle()
        if self._size >= self._followed:
            self._write(self._line("the rest is not followed; its last part is added at the end"))

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._size += os.pwrite(self._log, data, self._size)

    def _keep_for_the_end(self, data: bytes) -> None:
        self._last.append(data)
        self._last_size += len(data)
        while self._last_size - len(self._last[0]) >= _LAST_PART:
            gone = len(self._last.popleft())
            self._last_size -= gone
            self._dropped += gone

    def _read(self) -> bytes | None:
        """The next piece; empty at the end, None where nothing is there now."""
        try:
            return os.read(self._source, _CHUNK)
        except BlockingIOError:
            return None

    def _drop_the_middle(self) -> None:
        end = (self._size - self._tail) // _BLOCK * _BLOCK
        try:
            kernel.punch_hole(self._log, self._dropped_to, end - self._dropped_to)
        except OSError:  # a file system without holes: then the cap is as far as it can be followed
            self._followed = self._size
            return
        if self._dropped_to == self._head:
            line = self._line("the middle is dropped")
            os.pwrite(self._log, line, self._head - len(line))
        self._dropped_to = end

    def _line(self, what: str) -> bytes:
        return f"\n[llama-coop: the output is larger than {self._cap} bytes; {what}]\n".encode()


def read_log(path: str | os.PathLike[str], offset: int, limit: int) -> bytes:
    """At most `limit` bytes from `offset`, up to the dropped middle; empty at the end and without a log."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, max(0, limit), max(0, offset))
    finally:
        os.close(descriptor)


def skip_dropped(path: str | os.PathLike[str], offset: int) -> int:
    """The first offset from `offset` on at which the log has bytes; `offset` itself where nothing was dropped."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return offset
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError:  # at the end, or a file system that does not tell
        return offset
    finally:
        os.close(descriptor)
