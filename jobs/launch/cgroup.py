"""A control group of version 2 as the container of an attempt: nothing escapes from it, and one write ends it all."""

from __future__ import annotations

import errno
import os
import signal
import time

from jobs.launch import kernel, procfs
from jobs.launch.signals import signal_all

GROUP = "llama-coop"
SUPERVISORS = "supervisors"

_FREEZE_WAIT_S = 0.5


def find_group() -> str | None:
    """Join `llama-coop/supervisors` below the highest usable group; the path of `llama-coop`, or None.

    Joining is the only true test of the right to move processes, and it takes supervisors out of the service's own
    group, so that stopping or restarting the service does not end them.
    """
    for base in _candidates():
        group = f"{base}/{GROUP}"
        if _can_join(f"{group}/{SUPERVISORS}"):
            _offer_controllers(group)
            return group
    return None


class Cgroup:
    """The processes of one control group and of the groups below it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.label = f"cgroup:{path}"

    def fork(self) -> int:
        _make(self.path)
        group = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return kernel.fork_into_cgroup(group)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            return self._fork_and_move()  # some sandboxes know no clone3
        finally:
            os.close(group)

    def members(self) -> frozenset[int]:
        return frozenset(_processes_below(self.path))

    def signal(self, number: int) -> None:
        signal_all(self.members, number)

    def freeze(self) -> bool:
        _write_if_there(f"{self.path}/cgroup.freeze", "1")
        deadline = time.monotonic() + _FREEZE_WAIT_S
        while not self._event("frozen") and time.monotonic() < deadline:
            time.sleep(0.002)
        return self._event("frozen")

    def thaw(self) -> None:
        _write_if_there(f"{self.path}/cgroup.freeze", "0")
        # A job may have stopped its own processes, or an older supervisor may have used the signal.
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        _write_if_there(f"{self.path}/cgroup.kill", "1")

    def empty(self) -> bool:
        return not self._event("populated")

    def out_of_memory(self) -> bool | None:
        """Whether the kernel killed something in here for lack of memory; None where nobody counts."""
        killed = _read_pairs(f"{self.path}/memory.events").get("oom_kill")
        return None if killed is None else killed > 0

    def remove(self) -> None:
        """Remove the group; an OSError says that it is not empty."""
        _remove_tree(self.path)

    def _fork_and_move(self) -> int:
        child = os.fork()
        if child:
            _write(
                f"{self.path}/cgroup.procs", str(child)
            )  # it still waits, so nothing of it is left outside
        return child

    def _event(self, name: str) -> bool:
        return _read_pairs(f"{self.path}/cgroup.events").get(name, 0) > 0


def _candidates() -> list[str]:
    """This process's own group and those above it that it may write to, the highest first."""
    mount, own = _mount_point(), _own_group()
    if mount is None or own is None or ".." in own:
        return []
    paths, here = [mount], mount
    for part in filter(None, own.split("/")):
        here = f"{here}/{part}"
        paths.append(here)
    return [path for path in paths if os.access(f"{path}/cgroup.procs", os.W_OK)]


def _mount_point() -> str | None:
    for line in procfs.read_file("/proc/self/mounts").decode().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return where
    return None


def _own_group() -> str | None:
    for line in procfs.read_file("/proc/self/cgroup").decode().splitlines():
        if line.startswith("0::"):
            return line[3:]
    return None


def _can_join(path: str) -> bool:
    try:
        _make(path)
        _write(f"{path}/cgroup.procs", "0")
    except OSError:
        return False
    return os.access(f"{path}/cgroup.kill", os.W_OK)  # Linux 5.14 and later


def _offer_controllers(group: str) -> None:
    for controller in ("+memory", "+pids"):
        try:
            _write(f"{group}/cgroup.subtree_control", controller)
        except (
            OSError
        ):  # not given to us from above: then nobody counts, and nothing else depends on it
            continue


def _make(path: str) -> None:
    os.makedirs(path, mode=0o755, exist_ok=True)  # noqa: PTH103 - a path of the kernel, not of a user


def _processes_below(path: str) -> set[int]:
    try:
        found = {int(pid) for pid in procfs.read_file(f"{path}/cgroup.procs").split()}
        with os.scandir(path) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, OSError):
        return set()
    return found.union(*map(_processes_below, below)) - {0}


def _remove_tree(path: str) -> None:
    try:
        with os.scandir(path) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        for child in below:
            _remove_tree(child)
        os.rmdir(path)  # noqa: PTH106 - as above
    except FileNotFoundError:
        return


def _read_pairs(path: str) -> dict[str, int]:
    try:
        lines = procfs.read_file(path).decode().splitlines()
    except OSError:  # the group is gone, or the controller is off
        return {}
    return {name: int(value) for name, value in (line.split() for line in lines)}


def _write_if_there(path: str, text: str) -> None:
    try:
        _write(path, text)
    except FileNotFoundError:
        return


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
