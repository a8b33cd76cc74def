"""The run directory of an attempt: its durable records, its lock, its one claim, and what they prove.

`COOP_HOME/jobs/<job>/{work,output,attempts/<n>/}`. A record is a small JSON file that is complete or absent: a finished
temporary file, fsynced, is renamed (the claim: hard-linked) into place and the directory is fsynced. Nothing here
trusts a clock or a bare pid. Standard library only, because supervisors outlive the service.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jobs.launch import procfs

StrPath = str | os.PathLike[str]
Record = dict[str, Any]

SPEC, LOCK, CLAIM, STARTED, EXIT = "spec", "lock", "claim", "started", "exit"
CONTROL, APPLIED, STUCK, LOG, SIM_USAGE = "control", "applied", "stuck", "log", "sim_usage"

WORKERS = "workers"
"""In a control record that says to stop: only the training's workers are asked, so that they save."""

BY_SUPERVISOR, BY_RECONCILER = "supervisor", "reconciler"

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class BrokenRecordError(Exception):
    """A record exists and cannot be read. Nobody can say what it proves, so nothing may be freed."""


class Observation(NamedTuple):  # not a dataclass: importing those doubles the cost of a fork
    """What the files of an attempt prove at this instant.

    * `unclaimed`: nothing was executed, and nothing will be if the reconciler wins the claim.
    * `revoked`: the reconciler won the claim; nothing was or will be executed.
    * `alive`: a supervisor holds the lock. `started` is None until the command is about to run.
    * `exited`: the tree is empty and `exit` says how it ended.
    * `dead`: the supervisor died without an exit record; its tree has to be reaped, again if that failed.
    * `rebooted`: the machine was restarted since; no process of it can live.
    * `unkillable`: a supervisor tries in vain to end its tree, or a record is damaged: keep what is booked.
    """

    kind: str
    claim: Record | None = None
    started: Record | None = None
    exit: Record | None = None
    applied: Record | None = None
    """The last control that the supervisor carried out: {"seq", "action", "done", "at"}."""


def job_directory(home: StrPath, job_id: str) -> Path:
    """`COOP_HOME/jobs/<job id>`."""
    if not _JOB_ID.fullmatch(job_id):
        raise ValueError(
            f"A job id names a directory, so {job_id!r} is refused: letters, digits, '-' and '_' are allowed. "
            "Give the job's public id."
        )
    return Path(home, "jobs", job_id)


def attempt_directory(home: StrPath, job_id: str, number: int) -> Path:
    """`COOP_HOME/jobs/<job id>/attempts/<number>`."""
    return job_directory(home, job_id) / "attempts" / str(int(number))


def make_job_directories(
    home: StrPath, job_id: str, *, uid: int | None = None, gid: int | None = None
) -> tuple[Path, Path]:
    """Make `work/` and `output/` of a job, owned by the job's user where one is given; return both."""
    top = job_directory(home, job_id)
    _make_passable(top)
    made = (top / "work", top / "output")
    for path in made:
        path.mkdir(mode=0o700, exist_ok=True)
        if uid is not None:
            os.chown(path, uid, -1 if gid is None else gid, follow_symlinks=False)
    return made


def make_attempt_directory(directory: StrPath) -> None:
    """Make the directory of an attempt. Others may pass through it to a file they own, but not look."""
    # Not fsynced upwards: a directory that a power cut takes away reads as "unclaimed", and nothing lives after that.
    path = Path(directory)
    for folder in (path.parent.parent, path.parent, path):
        _make_passable(folder)


def read_record(directory: StrPath, name: str) -> Record | None:
    """The record, or None where there is none. Raises BrokenRecordError if it cannot be understood."""
    try:
        data = procfs.read_file(_path(directory, name))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BrokenRecordError(
            f"The record {name} in {directory} cannot be read: {error}"
        ) from error
    try:
        record = json.loads(data)
    except ValueError as error:
        raise BrokenRecordError(f"The record {name} in {directory} is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise BrokenRecordError(f"The record {name} in {directory} is no JSON object.")
    return record


def write_durably(directory: StrPath, name: str, record: Record) -> None:
    """Write a record that is still there after a power cut, whole or not at all. Raises OSError."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        temporary = _write_temporary(folder, name, record, sync=True)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    finally:
        os.close(folder)


def write_hint(directory: StrPath, name: str, record: Record) -> None:
    """Write a record whose loss in a power cut would not matter, whole or not at all. Raises OSError."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        temporary = _write_temporary(folder, name, record, sync=False)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)


def make_durable(directory: StrPath, name: str) -> None:
    """Put the content of a record that was written as a hint on disk; its name follows with the next durable write."""
    descriptor = os.open(_path(directory, name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def claim(directory: StrPath, by: str) -> bool:
    """Win the attempt for `by`, once and for ever; False if somebody won it before. The only gate to exec."""
    me = procfs.read_process(os.getpid())
    record: Record = {
        "by": by,
        "pid": os.getpid(),
        "start_ticks": me.start_ticks if me else 0,
        "boot_id": procfs.boot_id(),
    }
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        temporary = _write_temporary(folder, CLAIM, record, sync=True)
        try:
            os.link(temporary, CLAIM, src_dir_fd=folder, dst_dir_fd=folder)
            won = True
        except FileExistsError:
            won = False
        os.unlink(temporary, dir_fd=folder)
        os.fsync(folder)
        return won
    finally:
        os.close(folder)


def take_lock(directory: StrPath) -> int | None:
    """Hold the attempt's lock until this process dies; None where another process holds it."""
    descriptor = os.open(_path(directory, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextlib.contextmanager
def lock_is_free(directory: StrPath) -> Iterator[bool]:
    """Whether no supervisor holds the lock; while the block runs, none can come to hold it.

    Shared, so that two observers do not take each other for a supervisor. Ask only about a claimed attempt: before the
    claim a look could cost a supervisor its lock.
    """
    try:
        descriptor = os.open(_path(directory, LOCK), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        free = True
    except BlockingIOError:
        free = False
    try:
        yield free
    finally:
        os.close(descriptor)


def observe(directory: StrPath) -> Observation:
    """What the attempt's files prove now. Never raises for a damaged record, never waits, kills nothing."""
    try:
        return _observe(directory)
    except BrokenRecordError:
        return Observation("unkillable")


def _observe(directory: StrPath) -> Observation:
    won = read_record(directory, CLAIM)
    if won is None:
        return Observation("unclaimed")
    if won.get("by") != BY_SUPERVISOR:
        return Observation("revoked", claim=won)
    kind = _kind_of_claimed(directory, won)
    return Observation(
        kind,
        claim=won,
        started=read_record(directory, STARTED),
        exit=read_record(directory, EXIT) if kind == "exited" else None,
        applied=read_record(directory, APPLIED),
    )


def _kind_of_claimed(directory: StrPath, won: Record) -> str:
    if _has(directory, EXIT):
        return "exited"
    if won.get("boot_id") != procfs.boot_id():
        return "rebooted"
    with lock_is_free(directory) as free:
        # Looked at again under the lock: the supervisor may have finished between the two looks.
        if _has(directory, EXIT):
            return "exited"
        if free:
            return "dead"
        return "unkillable" if _has(directory, STUCK) else "alive"


def _has(directory: StrPath, name: str) -> bool:
    return os.access(_path(directory, name), os.F_OK)


def _path(directory: StrPath, name: str) -> str:
    return f"{os.fspath(directory)}/{name}"


def _make_passable(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    except FileNotFoundError:  # COOP_HOME/jobs itself, the first time
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o711)  # said again, because the umask may have taken it away


def _write_temporary(folder: int, name: str, record: Record, *, sync: bool) -> str:
    # Never an existing file: what a crash left here may be the other name of a claim.
    temporary = f".{name}.{os.urandom(6).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        _write_all(descriptor, json.dumps(record).encode())
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return temporary


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
