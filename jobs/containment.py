"""What holds the processes of an attempt together, so that all of them can be counted, frozen and ended.

Three kinds, the best one first; `started` records which one an attempt got, and the docs say what each promises:

* `cgroup`: a control group of version 2. Nothing escapes, whoever dies.
* `pidns`: a PID namespace. Nothing escapes, whoever dies.
* `tag`: the process tree, the session and a tag in the environment. A process that detaches itself *and* cleans its
  environment escapes if the supervisor is killed.
"""

from __future__ import annotations

import os
from typing import Protocol

from jobs import rundir
from jobs.launch import cgroup, kernel
from jobs.launch.cgroup import Cgroup
from jobs.launch.trees import Identity, PidNamespace, Tag, own_identity

AUTO = "auto"
KINDS = ("cgroup", "pidns", "tag")


class Container(Protocol):
    """The processes of one attempt."""

    label: str
    """As `started` records it: `cgroup:<path>`, `pidns` or `tag`."""

    def fork(self) -> int:
        """Make it and fork its first process into it, as `os.fork`. Raises OSError."""
        ...

    def members(self) -> frozenset[int]:
        """The pids of the living processes, as this process's PID namespace numbers them."""
        ...

    def signal(self, number: int) -> None:
        """Send a signal to every member."""

    def freeze(self) -> bool:
        """Take the processor from every member; False if some could not be stopped yet."""
        ...

    def thaw(self) -> None:
        """Let every member run again."""

    def kill(self) -> None:
        """End every member. Ask `empty` whether they have ended."""

    def empty(self) -> bool:
        """Whether no member is left."""
        ...

    def out_of_memory(self) -> bool | None:
        """Whether the kernel has killed a member for lack of memory; None where nobody counts that."""
        ...

    def remove(self) -> None:
        """Clear away an empty container. Raises OSError if it is not empty."""


class NotPossibleError(Exception):
    """The kind of containment that was asked for cannot be had here."""


_possible: dict[str, str] = {}
"""The kinds that work here, each with what it needs to know. Empty until `find_possible` has looked."""


def find_possible() -> tuple[str, ...]:
    """The kinds that can be had here, the best first. Looks once, by doing; a launcher looks before it forks.

    Where control groups can be had, this process is moved into the group of the supervisors.
    """
    if not _possible:
        group = cgroup.find_group()
        if group is not None:
            _possible["cgroup"] = group
        if _can_have_pid_namespace():
            _possible["pidns"] = ""
        _possible["tag"] = ""
    return tuple(_possible)


def choose(wanted: str, token: str) -> Container:
    """A container of the wanted kind (`auto`: the best one) for the attempt that this process supervises."""
    possible = find_possible()
    kind = possible[0] if wanted == AUTO else wanted
    if kind not in possible:
        raise NotPossibleError(
            f"The containment {wanted!r} cannot be had on this machine; possible are: auto, {', '.join(possible)}. "
            "Choose one of these, or give the service the right to make it."
        )
    if kind == "cgroup":
        return Cgroup(f"{_possible[kind]}/{token}")
    return PidNamespace() if kind == "pidns" else Tag(token, own_identity())


def recorded(token: str, started: rundir.Record) -> Container:
    """The container that a `started` record names, as seen by somebody else than its supervisor."""
    label = str(started["containment"])
    leader = Identity(int(started["pid"]), int(started["pid_start_ticks"]))
    if label.startswith("cgroup:"):
        return Cgroup(label.removeprefix("cgroup:"))
    if label == PidNamespace.label:
        return PidNamespace(leader)
    supervisor = Identity(int(started["supervisor_pid"]), int(started["supervisor_start_ticks"]))
    return Tag(token, supervisor, leader)


def _can_have_pid_namespace() -> bool:
    """Whether a PID namespace with its own /proc can be made; tried out in a child that ends at once."""
    child = os.fork()
    if child == 0:
        _try_pid_namespace()
    return os.waitpid(child, 0)[1] == 0


def _try_pid_namespace() -> None:
    status = 1
    try:
        kernel.unshare_pids()
        first = os.fork()
        if first == 0:
            kernel.mount_own_proc()
            os._exit(0)
        status = 1 if os.waitpid(first, 0)[1] else 0
    finally:
        os._exit(status)
