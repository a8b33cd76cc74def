"""The command of an attempt and its tree, seen by the supervisor: from the fork to the last process."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any, NamedTuple

from jobs.containment import Container
from jobs.launch import child, procfs
from jobs.launch.trees import PidNamespace, has_children


class Ended(NamedTuple):
    """How the command ended; `error` says why it could not be started at all."""

    code: int | None = None
    signal: int | None = None
    error: str | None = None
    oom_kill: bool = False
    """Whether the kernel is known to have killed something of it for lack of memory."""


class Command:
    """One child in its container. It waits until it is released; `ended` is set when it is over."""

    def __init__(self, spec: dict[str, Any], container: Container) -> None:
        self._spec = spec
        self._container = container
        self._in_namespace = container.label == PidNamespace.label
        self._report, self._report_end = os.pipe()
        self._status, self._status_end = os.pipe()
        self._go_end, self._go = os.pipe()
        self.root = 0
        """The pid of the first process of the tree."""
        self.ended: Ended | None = None
        self._kills_before = procfs.out_of_memory_kills()

    def fork(self, output: int) -> None:
        """Make the child, inside its container, waiting. Raises OSError; then `abandon` clears up."""
        lines = child.Lines(self._go_end, self._report_end, output, self._status_end)
        self.root = self._container.fork()
        if self.root == 0:
            if self._in_namespace:
                child.be_first_of_namespace(self._spec, lines)
            child.run_command(self._spec, lines)
        for descriptor in (self._go_end, self._report_end, self._status_end):
            os.close(descriptor)

    def release(self) -> None:
        """Let the child execute the command. The pipe stays open: its end would say that we died."""
        with contextlib.suppress(BrokenPipeError):  # it has ended already, and its report says why
            os.write(self._go, b"g")

    def abandon(self) -> None:
        """End a child that was not released, and wait for it."""
        os.close(self._go)
        self._container.kill()
        while has_children():
            os.waitpid(-1, 0)
        self._container.remove()

    def bury(self) -> None:
        """Take note of the children that have ended, the command itself among them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == self.root and not self._in_namespace:
                self._note_end(status)
        if self._in_namespace and self.ended is None:
            self._look_into_namespace()

    def gone(self) -> bool:
        """Whether the command and everything it left behind have ended, and the container is cleared away."""
        if self.ended is None or has_children() or not self._container.empty():
            return False
        self.ended = self.ended._replace(oom_kill=self._ran_out_of_memory(self.ended))
        try:
            self._container.remove()
        except OSError:
            return False
        return True

    @property
    def status_source(self) -> int | None:
        """A pipe that becomes readable when the command ends, where no signal tells."""
        return self._status if self._in_namespace and self.ended is None else None

    def _ran_out_of_memory(self, ended: Ended) -> bool:
        """By its container's count; where there is none, it was killed while the kernel killed for lack of memory."""
        counted = self._container.out_of_memory()
        if counted is not None:
            return counted
        killed = ended.signal == signal.SIGKILL or ended.code == 128 + signal.SIGKILL
        return killed and procfs.out_of_memory_kills() > self._kills_before

    def _look_into_namespace(self) -> None:
        os.set_blocking(self._status, False)
        try:
            text = os.read(self._status, 32)
        except BlockingIOError:
            return
        # An end without a word: the namespace's first process was killed, and with it all others.
        self._note_end(int(text) if text else 9)

    def _note_end(self, status: int) -> None:
        report = os.read(self._report, 4096).decode(
            errors="replace"
        )  # exec or exit has closed the other end
        if report:
            code, _, sentence = report.partition(" ")
            self.ended = Ended(code=int(code), error=sentence)
            return
        code_or_signal = os.waitstatus_to_exitcode(status)
        if code_or_signal < 0:
            self.ended = Ended(signal=-code_or_signal)
        else:
            self.ended = Ended(code=code_or_signal)
