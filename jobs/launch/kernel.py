"""The few Linux calls that Python does not offer, through libc. Each raises OSError on failure."""

from __future__ import annotations

import ctypes
import os

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

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def set_parent_death_signal(number: int) -> None:
    """Ask the kernel for signal `number` when the parent dies. Changing the user id forgets the wish."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0))


def become_subreaper() -> None:
    """Become the parent of every descendant whose own parent ends, however it detached itself."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


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
