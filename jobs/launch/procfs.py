"""Who runs on this machine: processes by pid, parent, session, start time and environment tag.

A pid alone names nobody, because pids are used again: a process is known by boot id, pid and start ticks.
"""

from __future__ import annotations

import os
from typing import NamedTuple

BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"
TAG_VARIABLE = "LLAMA_COOP_ATTEMPT"
"""Set in the environment of every job process to the attempt's token."""

_GONE = frozenset("ZX")


class Process(NamedTuple):
    """One row of the process table; `start_ticks` are clock ticks since boot."""

    pid: int
    parent: int
    session: int
    state: str
    start_ticks: int

    @property
    def lives(self) -> bool:
        """False for a zombie: it holds nothing and can do nothing."""
        return self.state not in _GONE


def boot_id() -> str:
    """The kernel's random name of this boot; another one after every restart of the machine."""
    return read_file(BOOT_ID_FILE).decode().strip()


def read_process(pid: int) -> Process | None:
    """The process with this pid, or None where there is none."""
    try:
        line = read_file(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command in parentheses may itself hold spaces and parentheses.
    fields = line[line.rindex(b")") + 2 :].split()
    return Process(
        pid=pid,
        state=fields[0].decode(),
        parent=int(fields[1]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
    )


def is_alive(pid: int, start_ticks: int) -> bool:
    """Whether exactly this process lives; another one with the same pid is not it."""
    process = read_process(pid)
    return process is not None and process.start_ticks == start_ticks and process.lives


def all_processes() -> dict[int, Process]:
    """Every living process of this machine (of this PID namespace) by pid."""
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    found = map(read_process, pids)
    return {process.pid: process for process in found if process is not None and process.lives}


def descendants(root: int, table: dict[int, Process]) -> frozenset[int]:
    """The living processes below `root`, itself not among them."""
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    ahead = list(children.get(root, ()))
    while ahead:
        pid = ahead.pop()
        if pid not in found:
            found.add(pid)
            ahead += children.get(pid, ())
    return frozenset(found)


def tagged(token: str, table: dict[int, Process]) -> frozenset[int]:
    """The processes whose environment says that they belong to the attempt `token`."""
    mark = f"{TAG_VARIABLE}={token}".encode()
    return frozenset(pid for pid in table if mark in _environment(pid))


def has_variable(pid: int, name: str) -> bool:
    """Whether the process was started with this environment variable; False where nobody may tell."""
    return any(each.startswith(f"{name}=".encode()) for each in _environment(pid))


def _environment(pid: int) -> list[bytes]:
    try:
        return read_file(f"/proc/{pid}/environ").split(b"\0")
    except OSError:  # gone, or somebody else's
        return []


def read_file(path: str) -> bytes:
    """The whole of a small file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(descriptor, 65536)]
        while parts[-1]:
            parts.append(os.read(descriptor, 65536))
        return b"".join(parts)
    finally:
        os.close(descriptor)


def out_of_memory_kills() -> int:
    """How often the kernel has killed a process of this machine for lack of memory; 0 where it does not say."""
    try:
        lines = read_file("/proc/vmstat").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(b"oom_kill ")), 0)
