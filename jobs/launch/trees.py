"""Containers without a control group: a PID namespace, or only the process tree with an environment tag."""

from __future__ import annotations

import os
import signal
from typing import NamedTuple

from jobs.launch import kernel, procfs
from jobs.launch.signals import signal_all, stop_all


class Identity(NamedTuple):
    """A process of this boot, for ever the same one."""

    pid: int
    start_ticks: int

    @property
    def lives(self) -> bool:
        return procfs.is_alive(self.pid, self.start_ticks)


class PidNamespace:
    """The processes of a PID namespace. Its first process is ours; when that ends, the kernel ends all others."""

    label = "pidns"

    def __init__(self, first: Identity | None = None) -> None:
        self._first = first

    def fork(self) -> int:
        kernel.unshare_pids()
        child = os.fork()
        if child:
            self._first = _identity(child)
        return child

    def members(self) -> frozenset[int]:
        """The job's processes; the namespace's first process is not one of them."""
        if self._first is None or not self._first.lives:
            return frozenset()
        return procfs.descendants(self._first.pid, procfs.all_processes())

    def signal(self, number: int) -> None:
        signal_all(self.members, number)

    def freeze(self) -> bool:
        return stop_all(self.members)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        signal_all(self._living_first, signal.SIGKILL)

    def empty(self) -> bool:
        # The kernel lets the first process end only after all others of the namespace have ended.
        return self._first is None or not self._first.lives

    def out_of_memory(self) -> bool | None:
        return None

    def remove(self) -> None:
        """Nothing stays behind."""

    def _living_first(self) -> frozenset[int]:
        return frozenset({self._first.pid}) if self._first and self._first.lives else frozenset()


class Tag:
    """The processes below a supervisor; when that was killed, those that carry the tag and their sessions.

    Honest limit: while the supervisor lives, nothing escapes, because whatever loses its parent becomes its child. Once
    it was killed, a process that left the session *and* cleaned its environment is not found.
    """

    label = "tag"

    def __init__(self, token: str, supervisor: Identity, leader: Identity | None = None) -> None:
        self._token = token
        self._supervisor = supervisor
        self._leader = leader

    def fork(self) -> int:
        child = os.fork()  # nothing to make: the supervisor is the subreaper already
        if child:
            self._leader = _identity(child)
        return child

    def members(self) -> frozenset[int]:
        table = procfs.all_processes()
        if self._supervisor.lives:
            return procfs.descendants(self._supervisor.pid, table)
        sure = procfs.tagged(self._token, table) | self._living_leader()
        # A session belongs to us as long as one sure member is in it; its number alone may have been used again.
        sessions = {table[pid].session for pid in sure if pid in table}
        ours = {pid for pid, process in table.items() if process.session in sessions}
        return sure.union(ours, *(procfs.descendants(pid, table) for pid in sure))

    def signal(self, number: int) -> None:
        signal_all(self.members, number)

    def freeze(self) -> bool:
        return stop_all(self.members)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def empty(self) -> bool:
        if self._supervisor.pid == os.getpid():
            return (
                not has_children()
            )  # the same question, without reading all processes of the machine
        return not self.members()

    def out_of_memory(self) -> bool | None:
        return None

    def remove(self) -> None:
        """Nothing stays behind."""

    def _living_leader(self) -> frozenset[int]:
        return frozenset({self._leader.pid}) if self._leader and self._leader.lives else frozenset()


def has_children() -> bool:
    """Whether this process has a child, a zombie too."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def own_identity() -> Identity:
    """This process."""
    return _identity(os.getpid())


def _identity(pid: int) -> Identity:
    process = procfs.read_process(pid)
    return Identity(pid, process.start_ticks if process else 0)
