"""Moves the memory of a CUDA process between card and main memory: `python -m jobs.swaphelper out|back DIR PID...`.

A process of its own, because the driver's calls take long and may hang. What it does stands in the record `swap` of the
attempt's directory, before and after. Needs the package cuda-core; nothing of it is imported elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from jobs import rundir
from jobs.launch import procfs

OUT, BACK = "out", "back"
BEGUN, DONE, FAILED = "begun", "done", "failed"
SWAP = "swap"
"""The name of the record: {"way", "state", "target", "error", "at", "helper", "start_ticks", "boot_id"}."""

_LOCK_MS = 10_000  # for the process to finish the calls that it has under way
_LOCK_FILE = "swap.lock"


def main() -> None:
    """Do it once, unless another helper of this attempt is at it."""
    way, directory, *pids = sys.argv[1:]
    lock = os.open(Path(directory, _LOCK_FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    known = rundir.read_record(directory, SWAP)
    if known is not None and (known["way"], known["state"]) == (way, DONE):
        return  # another helper has just done it
    target = None
    _note(directory, way, BEGUN)
    try:
        target = _only_one(way, [int(pid) for pid in pids])
        _note(directory, way, BEGUN, target.pid)
        _move_out(target) if way == OUT else _move_back(target)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told to who waits for it
        _note(directory, way, FAILED, target.pid if target else 0, f"{error}")
        return
    _note(directory, way, DONE, target.pid)


def _only_one(way: str, pids: list[int]) -> Any:
    """The process that uses a card. Several would have to be locked together, with help from the program."""
    checkpoint = importlib.import_module("cuda.core.checkpoint")
    using = []
    for pid in pids:
        process = checkpoint.Process(pid)
        with contextlib.suppress(Exception):  # the driver's way to say that it has no context
            if process.state:
                using.append(process)
    if len(using) != 1:
        raise RuntimeError(f"{len(using)} of its processes use a card; swapping takes exactly one.")
    if way == OUT and using[0].state != "running":
        found = using[0].state
        _move_back(using[0])
        raise RuntimeError(f"Its process was {found!r}, and must be 'running'.")
    return using[0]


def _move_out(process: Any) -> None:
    process.lock(timeout_ms=_LOCK_MS)
    try:
        process.checkpoint()
    except Exception:
        process.unlock()
        raise


def _move_back(process: Any) -> None:
    """From wherever an earlier try has left it."""
    if process.state == "checkpointed":
        process.restore()
    if process.state == "locked":
        process.unlock()
    if process.state != "running":
        raise RuntimeError(f"Its process is {process.state!r} and cannot be brought back.")


def _note(directory: str, way: str, state: str, target: int = 0, error: str = "") -> None:
    me = procfs.read_process(os.getpid())
    record = {
        "way": way,
        "state": state,
        "target": target,
        "error": error,
        "at": time.time(),
        "helper": os.getpid(),
        "start_ticks": me.start_ticks if me else 0,
        "boot_id": procfs.boot_id(),
    }
    rundir.write_hint(directory, SWAP, record)


if __name__ == "__main__":
    main()
