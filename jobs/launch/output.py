"""Where the output of a command goes: through a pump that bounds the log, or straight into the file."""

from __future__ import annotations

import os

from jobs.launch.logpump import LogPump


class Output:
    """The log of one attempt, seen by its supervisor.

    With a cap the command writes to a pipe, because nothing can bound a file that somebody else appends to. Without one
    it writes the file itself, and costs the supervisor nothing.
    """

    def __init__(self, path: str, cap: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (0 if cap else os.O_APPEND)
        self._log = os.open(path, flags, 0o600)
        self.source: int | None = None
        """The pipe to wait for; None when there is nothing (more) to copy."""
        self.sink = self._log
        """What the command gets as stdout and stderr."""
        self._pump: LogPump | None = None
        if cap:
            self.source, self.sink = os.pipe()
            os.set_blocking(self.source, False)
            self._pump = LogPump(self.source, self._log, cap)

    def give_to(self, uid: int | None) -> None:
        """Let the job's user open /dev/stdout, which for a pipe asks for the owner."""
        if uid is not None and self._pump is not None:
            os.fchown(self.sink, uid, -1)

    def command_has_it(self) -> None:
        """Close our own copy of the sink, so that the pipe ends when its last writer ends."""
        if self.sink != self._log:
            os.close(self.sink)
            self.sink = self._log

    def copy(self) -> None:
        """Copy what the command has written, for a bounded time."""
        if self._pump is not None and self.source is not None and not self._pump.pump():
            os.close(self.source)
            self.source = None

    def pause_s(self) -> float:
        """Seconds for which not to copy, because the command floods its log."""
        return self._pump.pause_s() if self._pump else 0.0

    def copy_rest(self) -> None:
        """Copy what is left in the pipe when every writer is known to have ended."""
        if self._pump is None:
            return
        if self.source is not None:
            self._pump.drain()
        self._pump.finish()

    def note(self, sentence: str) -> None:
        """Add a line of our own. A full disk loses it."""
        line = f"llama-coop: {sentence}\n".encode()
        if self._pump is not None:
            self._pump.append(line)
            return
        try:
            os.write(self._log, line)
        except OSError:
            return
