"""Signals to a whole tree of processes, without ever hitting a stranger that inherited a pid."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

from jobs.launch import kernel, procfs

Members = Callable[[], frozenset[int]]

_STOPPED = frozenset("Tt")
_STOP_ROUNDS = 60
_STOP_PAUSE_S = 0.005


def signal_all(members: Members, number: int) -> None:
    """Send a signal to every process that `members` lists before *and* after it was taken hold of.

    A pid that was given to a stranger in between is not in the second list; a process that replaced a dead member is
    not what the descriptor means. So only members are hit.
    """
    handles = {pid: handle for pid in members() if (handle := _take_hold(pid)) is not None}
    try:
        confirmed = members() if handles else frozenset()
        for pid in confirmed & handles.keys():
            with contextlib.suppress(ProcessLookupError):
                kernel.signal_process(handles[pid], number)
    finally:
        for handle in handles.values():
            os.close(handle)


def stop_all(members: Members) -> bool:
    """SIGSTOP the tree until nobody in it runs or forks; False if somebody still does after 0.3 s."""
    for _ in range(_STOP_ROUNDS):
        if all_stopped(members()):
            return True
        signal_all(members, signal.SIGSTOP)
        time.sleep(_STOP_PAUSE_S)
    return False


def all_stopped(pids: frozenset[int]) -> bool:
    """Whether every one of these processes is stopped (or gone)."""
    seen = (procfs.read_process(pid) for pid in pids)
    return all(one.state in _STOPPED for one in seen if one is not None and one.lives)


def _take_hold(pid: int) -> int | None:
    try:
        return kernel.open_process(pid)
    except OSError:
        return None
