"""The child's side of a launch: from the fork to the exec of the command, or to one sentence that says why not."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from jobs.launch import kernel, procfs
from jobs.launch.crashpoints import crash_point

CANNOT_RUN, NOT_FOUND = 126, 127  # what a shell answers in these cases

_NEW_DIRECTORY_MASK = 0o077


class Lines(NamedTuple):
    """The child's ends of its pipes."""

    go: int
    """One byte releases the child; the supervisor's end stays open as long as the supervisor lives."""
    report: int
    """Closed by a successful exec; else it carries `<exit code> <sentence>`."""
    output: int
    """Where stdout and stderr go."""
    status: int
    """Used in a PID namespace: carries the command's wait status from the namespace's first process."""


def run_command(spec: dict[str, Any], lines: Lines) -> NoReturn:
    """Become the command. Never returns: what goes wrong is reported, and the process ends."""
    code = CANNOT_RUN
    try:
        _detach(lines.output)
        _close_everything_but(lines.go, lines.report)
        problem = _problem_of_settling(spec)
        kernel.set_parent_death_signal(signal.SIGKILL)  # only now: changing the user forgets it
        if _released(lines.go):
            if problem is not None:
                raise problem  # not before the start record is written, which is about this process
            crash_point("child.before_exec")
            _execute(spec)
    except OSError as error:
        code = NOT_FOUND if error.errno == errno.ENOENT else CANNOT_RUN
        os.write(lines.report, f"{code} {error.strerror}".encode())
    finally:
        os._exit(code)


def be_first_of_namespace(spec: dict[str, Any], lines: Lines) -> NoReturn:
    """Be the first process of a PID namespace: start the command, bury the dead, end with the last of them.

    The command is not this process itself, because the kernel keeps most signals from the first one.
    """
    try:
        kernel.set_parent_death_signal(signal.SIGKILL)
        kernel.mount_own_proc()
        leader = os.fork()
        if leader == 0:
            run_command(spec, lines)
        _close_everything_but(lines.status)
        for pid, status in _endings():
            if pid == leader:
                os.write(lines.status, str(status).encode())
    except OSError as error:
        os.write(lines.report, f"{CANNOT_RUN} {error.strerror}".encode())
    finally:
        os._exit(0)


def _endings() -> Iterator[tuple[int, int]]:
    while True:
        try:
            yield os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _detach(output: int) -> None:
    os.setsid()
    for number in range(1, signal.NSIG):
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            _reset(number)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.umask(_NEW_DIRECTORY_MASK)


def _reset(number: int) -> None:
    try:
        signal.signal(number, signal.SIG_DFL)
    except (OSError, ValueError):  # numbers that libc keeps for itself
        return


def _close_everything_but(*kept: int) -> None:
    """Close all descriptors but the standard three and these: neither the lock nor a pipe may live on in here."""
    with os.scandir("/proc/self/fd") as entries:
        descriptors = [int(entry.name) for entry in entries]
    for descriptor in descriptors:
        if descriptor > 2 and descriptor not in kept:
            with contextlib.suppress(OSError):  # the scan's own one is closed already
                os.close(descriptor)


def _problem_of_settling(spec: dict[str, Any]) -> OSError | None:
    try:
        _become_user(spec)
        _enter(spec["cwd"])
    except OSError as error:
        return error
    return None


def _become_user(spec: dict[str, Any]) -> None:
    if spec.get("uid") is None:
        return
    os.setgroups(spec.get("groups") or [])
    if spec.get("gid") is not None:
        os.setgid(spec["gid"])
    os.setuid(spec["uid"])


def _enter(directory: str) -> None:
    try:
        os.chdir(directory)
    except OSError as error:
        # The code of a missing directory must not read like that of a missing command.
        raise OSError(
            errno.EACCES,
            f"The working directory {directory!r} cannot be entered ({error.strerror}). "
            "It has to exist on this machine and be open to the user of the job. Correct `workdir`.",
        ) from error


def _released(go: int) -> bool:
    """Wait for the go; False if the supervisor died, be it just after it gave the go."""
    if os.read(go, 1) != b"g":
        return False
    poller = select.poll()
    poller.register(go, 0)
    return not poller.poll(0)


def _execute(spec: dict[str, Any]) -> NoReturn:
    argv, env = spec["argv"], {**spec["env"], procfs.TAG_VARIABLE: spec["token"]}
    denied: OSError | None = None
    for path in _places(argv[0], env.get("PATH", os.defpath)):
        try:
            os.execve(path, argv, env)  # noqa: S606 - there is no shell on purpose
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            denied = error
    raise _no_command(argv[0], env.get("PATH", os.defpath), denied)


def _places(command: str, path: str) -> list[str]:
    if "/" in command:
        return [command]
    return [f"{folder or '.'}/{command}" for folder in path.split(os.pathsep)]


def _no_command(command: str, path: str, denied: OSError | None) -> OSError:
    if denied is not None:
        return OSError(
            denied.errno,
            f"The command {command!r} cannot be executed ({denied.strerror}). "
            "It has to be a program that the user of the job may execute. Check its permissions and its first line.",
        )
    if "/" in command:
        return OSError(
            errno.ENOENT,
            f"The command {command!r} does not exist, or the interpreter that its first line names does not. "
            "It has to be a program on this machine. Correct the path.",
        )
    return OSError(
        errno.ENOENT,
        f"The command {command!r} was not found in PATH={path}. "
        "Give its full path, or have its directory added to the site's COOP_JOB_PATH.",
    )
