"""The few Linux calls that Python does not offer, through libc. Each raises OSError on failure."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_MS_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8
_MS_PRIVATE_RECURSIVE = 0x40000 | 0x4000
_SYS_PIDFD_SEND_SIGNAL = 424  # the same on every architecture
_SYS_PIDFD_OPEN = 434
_FALLOC_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01

_CLONE_INTO_CGROUP = 0x200000000
_SYS_CLONE3 = 435

_libc = ctypes.CDLL(None, use_errno=True)
_libc_holding_the_gil = ctypes.PyDLL(None, use_errno=True)
_libc_holding_the_gil.syscall.restype = ctypes.c_long
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class _CloneArguments(ctypes.Structure):
    """`struct clone_args` of the kernel."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack",
            "stack_size", "tls", "set_tid", "set_tid_size", "cgroup",
        )
    )  # fmt: skip


def set_parent_death_signal(number: int) -> None:
    """Ask the kernel for signal `number` when the parent dies. Changing the user id forgets the wish."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0))


def become_subreaper() -> None:
    """Become the parent of every descendant whose own parent ends, however it detached itself."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def fork_into_cgroup(group: int) -> int:
    """Fork, as `os.fork`, with the child inside the group of this directory descriptor from its first instruction.

    Moving a process afterwards makes the kernel wait for all processors: some 15 ms, if nobody moved one just before.
    Only for a process without threads, and a child that soon executes something else: libc's fork handlers do not run.
    """
    wish = _CloneArguments(flags=_CLONE_INTO_CGROUP, exit_signal=signal.SIGCHLD, cgroup=group)
    ctypes.pythonapi.PyOS_BeforeFork()
    child: int = _libc_holding_the_gil.syscall(_SYS_CLONE3, ctypes.byref(wish), ctypes.sizeof(wish))
    if child == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    number = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if child < 0:
        raise OSError(number, os.strerror(number))
    return child


def unshare_pids() -> None:
    """Let the next child be the first process of a new PID namespace.

    Without the privilege for it, a user namespace is made around it, in which the user keeps its id.
    """
    try:
        _check(_libc.unshare(_CLONE_NEWPID))
    except PermissionError:
        user, group = os.geteuid(), os.getegid()
        _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWPID))
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")


def mount_own_proc() -> None:
    """Give this process, first of its PID namespace, a /proc that shows that namespace."""
    _check(_libc.unshare(_CLONE_NEWNS))
    _check(_libc.mount(b"none", b"/", None, _MS_PRIVATE_RECURSIVE, None))
    _check(_libc.mount(b"proc", b"/proc", b"proc", _MS_NOSUID_NODEV_NOEXEC, None))


def open_process(pid: int) -> int:
    """A descriptor that means this process and never another one that gets its pid later."""
    descriptor: int = _libc.syscall(_SYS_PIDFD_OPEN, pid, 0)
    if descriptor < 0:
        _check(-1)
    return descriptor


def signal_process(descriptor: int, number: int) -> None:
    """Send a signal to the process of a descriptor from `open_process`."""
    _check(_libc.syscall(_SYS_PIDFD_SEND_SIGNAL, descriptor, number, None, 0))


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Give the blocks of a range of a file back to the file system; the file keeps its length."""
    _check(_libc.fallocate(descriptor, _FALLOC_PUNCH_HOLE_KEEP_SIZE, offset, length))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
