"""Swapping a job out and in, step by step, as the reconciler comes by; a helper process does the work.

    order -> helper: lock, checkpoint -> stop the tree -> a new reading shows the memory gone -> bookings freed
    its card has room -> bookings made -> let the tree run -> helper: restore, unlock -> running

Each step is seen in a record or a row before the next, so a new dispatcher goes on where the old one was. A step that
fails falls to the next rung of the ladder: to a checkpoint, or to a new start.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from jobs import lifecycle, rundir, sitesettings, suspension, swapability, swaphelper
from jobs.core.states import JobState
from jobs.engines.base import FREEZE, STOP, THAW, Engine
from jobs.launch import procfs
from jobs.models import Attempt, Swap
from jobs.refs import ref_of
from jobs.rundir import Observation

PROOF = timedelta(seconds=15)
"""For a reading to show that the memory is gone, counted from the end of the helper's work."""

NOTHING = 64 * 2**20
"""Bytes that may still be measured of a process whose memory has moved away."""

LIMIT_S = 600.0
"""For a helper, whose calls may hang in the driver."""

_ROOT = Path(__file__).resolve().parents[1]

log = logging.getLogger(__name__)
_helpers: dict[str, subprocess.Popen[bytes]] = {}


def steers(engine: Engine, attempt: Attempt, seen: Observation) -> bool:
    """Do the next step of a swap; whether there is one, so that the attempt is told nothing else."""
    match JobState(attempt.job.state):
        case JobState.SUSPENDING:
            return _out(engine, attempt)
        case JobState.STARTING if attempt.swap == Swap.BACK:
            _back(engine, attempt, seen)
            return True
        case JobState.STARTING | JobState.QUEUED if attempt.swap == Swap.BROKEN:
            engine.control(ref_of(attempt), STOP)
            return True
        case JobState.QUEUED | JobState.HELD | JobState.SUSPENDED:
            if attempt.swap == Swap.SWAPPED:
                engine.control(ref_of(attempt), FREEZE)
                return True
    return False


def note_return(attempt: Attempt) -> None:
    """Say that a job runs again whose memory is back, before its end is looked at."""
    if attempt.swap == Swap.BACK and attempt.job.state == JobState.STARTING:
        record = _record(attempt)
        if record and (record["way"], record["state"]) == (swaphelper.BACK, swaphelper.DONE):
            lifecycle.swapped_back(attempt)


def _out(engine: Engine, attempt: Attempt) -> bool:
    if attempt.swap == Swap.NO and not _begins(attempt):
        return False
    if attempt.swap == Swap.OUT:
        return _moving_out(engine, attempt)
    if attempt.swap == Swap.UNDO:
        return _undoing(engine, attempt)
    return False


def _begins(attempt: Attempt) -> bool:
    """Decide once whether this suspension is tried by a swap."""
    if not sitesettings.current().swap_out or _was_told_to_stop(attempt):
        return False
    why = swapability.refusal(attempt.job, attempt)
    _note(attempt, Swap.FAILED if why else Swap.OUT)
    if why:
        log.info("%s is not swapped out: %s.", attempt.job, why)
    return not why


def _note(attempt: Attempt, swap: Swap) -> None:
    Attempt.objects.open().filter(pk=attempt.pk).update(swap=swap)
    attempt.swap = swap


def _was_told_to_stop(attempt: Attempt) -> bool:
    control = rundir.read_record(_directory(attempt), rundir.CONTROL)
    return control is not None and control["action"] == STOP


def _moving_out(engine: Engine, attempt: Attempt) -> bool:
    record = _progress(engine, attempt, swaphelper.OUT)
    if record is None:
        return True
    if record["state"] == swaphelper.FAILED:
        return _falls(attempt, record["error"])
    if record["state"] == swaphelper.BEGUN:  # its helper has died on the way
        _note(attempt, Swap.UNDO)
        return True
    engine.control(ref_of(attempt), FREEZE)
    moved_at = datetime.fromtimestamp(record["at"], UTC)
    if _is_gone(attempt, moved_at):
        lifecycle.swapped_out(attempt, str(_("Its memory lies in the machine's main memory.")))
    elif timezone.now() - moved_at > PROOF:
        _note(attempt, Swap.UNDO)
    return True


def _is_gone(attempt: Attempt, moved_at: datetime) -> bool:
    """Whether readings from after the move show, on all its cards, that nothing is left of it."""
    held = list(attempt.allocations.open())
    return bool(held) and all(
        each.measured_at is not None
        and each.measured_at > moved_at
        and each.measured is not None
        and each.measured <= NOTHING
        for each in held
    )


def _undoing(engine: Engine, attempt: Attempt) -> bool:
    """The card has not been seen free: bring the memory back, so that the next rung can save."""
    engine.control(ref_of(attempt), THAW)
    record = _progress(engine, attempt, swaphelper.BACK)
    if record is None:
        return True
    why = record["error"] or _("no reading showed that its memory was free")
    return _falls(attempt, why, is_broken=record["state"] != swaphelper.DONE)


def _falls(attempt: Attempt, why: str, *, is_broken: bool = False) -> bool:
    """To the next rung. A job that has none, and is as it was, runs on. Whether it does."""
    log.warning("%s could not be swapped out: %s", attempt.job, why)
    _note(attempt, Swap.FAILED)
    if is_broken or suspension.way_of(attempt.job, attempt) is not suspension.Way.NONE:
        return False
    detail = _("It could not be swapped out (%(why)s), and runs on.") % {"why": why}
    lifecycle.keep_running(attempt, detail)
    return True


def _back(engine: Engine, attempt: Attempt, seen: Observation) -> None:
    applied = seen.applied or {}
    if applied.get("action") != THAW or not applied.get("done"):
        engine.control(ref_of(attempt), THAW)  # its own thread does the restoring
        return
    record = _progress(engine, attempt, swaphelper.BACK)
    if record is None:
        return
    if record["state"] == swaphelper.DONE:
        lifecycle.swapped_back(attempt)
        return
    log.warning("The memory of %s did not come back: %s", attempt.job, record["error"])
    _note(attempt, Swap.BROKEN)


def _progress(engine: Engine, attempt: Attempt, way: str) -> dict[str, Any] | None:
    """The record of this way; None while a helper is at it, which is started where there is none."""
    record = _record(attempt)
    if record is None or record["way"] != way:
        _start_helper(engine, attempt, way, record)
        return None
    if record["state"] == swaphelper.BEGUN and _lives(record):
        if time.time() - record["at"] < LIMIT_S:
            return None
        os.kill(record["helper"], signal.SIGKILL)
    return record


def _lives(record: dict[str, Any]) -> bool:
    same_boot = record["boot_id"] == procfs.boot_id()
    return same_boot and procfs.is_alive(record["helper"], record["start_ticks"])


def _start_helper(
    engine: Engine, attempt: Attempt, way: str, record: dict[str, Any] | None
) -> None:
    running = _helpers.get(attempt.token)
    if running is not None and running.poll() is None:
        return
    for token in [each for each, helper in _helpers.items() if helper.poll() is not None]:
        del _helpers[token]
    members = engine.pids(ref_of(attempt))
    target = record["target"] if record else 0
    pids = {target} & members or members  # who was moved out is who comes back
    _helpers[attempt.token] = subprocess.Popen(
        [sys.executable, "-m", "jobs.swaphelper", way, str(_directory(attempt)), *map(str, pids)],
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _record(attempt: Attempt) -> dict[str, Any] | None:
    return rundir.read_record(_directory(attempt), swaphelper.SWAP)


def _directory(attempt: Attempt) -> Path:
    return rundir.attempt_directory(settings.COOP_HOME, attempt.job_id, attempt.number)
