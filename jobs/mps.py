"""The MPS cap: one daemon of NVIDIA's Multi-Process Service a card, which gives each job a hard limit of memory.

The daemon belongs to the account that jobs run as, so no root is needed. A job that is told a wrong directory runs
without MPS and without a limit, and nothing says so: the daemon is asked whether it really serves the job.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from gpus.models import Device
from jobs import jobenv, lifecycle, sitesettings
from jobs.account import job_account
from jobs.engines.base import Engine
from jobs.models import Allocation, Attempt
from jobs.refs import ref_of

MPS, TRIED = "mps", "mps?"
"""A cap that has been seen to hold, and one that has not yet."""

CONTROL = "nvidia-cuda-mps-control"
PATIENCE_S = 30.0
"""After the first memory of a job was measured, for the daemon to know it."""

_ASK_S = 5.0
_MIB = 2**20

log = logging.getLogger(__name__)


def has_control() -> bool:
    """Whether the driver's program for it is there."""
    return shutil.which(CONTROL) is not None


def variables(attempt: Attempt) -> dict[str, str]:
    """What is added to the environment of an attempt; nothing where MPS is not wanted or cannot be had.

    One card only: a process finds a single daemon, and each card has its own.
    """
    booked = list(attempt.allocations.open().select_related("device"))
    if sitesettings.current().cap != MPS or jobenv.is_simulated(attempt.node) or len(booked) != 1:
        return {}
    device = booked[0].device
    if attempt.job.exclusive or device.uuid.startswith("MIG-") or not _serve(device):
        return {}
    # Only this card is named: with one that the job does not see, all its limits would be dropped.
    limit = f"{device.uuid}={booked[0].booked // _MIB}M"
    return _places(device) | {"CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": limit}


def look(engine: Engine) -> None:
    """Ask the daemons whether they serve the jobs that are to be limited by them, and end those of no use."""
    tried = Attempt.objects.open().filter(cap=TRIED).select_related("job")
    for attempt in tried:
        _verify(engine, attempt)
    if sitesettings.current().cap != MPS:
        _end_unused()


def clients(device: Device) -> frozenset[int]:
    """The processes that the card's daemon serves."""
    found: set[int] = set()
    for server in _numbers(_ask(device, "get_server_list")):
        found |= _numbers(_ask(device, f"get_client_list {server}"))
    return frozenset(found)


def _verify(engine: Engine, attempt: Attempt) -> None:
    booking = attempt.allocations.open().select_related("device").first()
    if booking is None:
        return
    if clients(booking.device) & engine.pids(ref_of(attempt)):
        _note(attempt, MPS)
    elif _should_be_known(booking):
        _note(attempt, "")
        detail = _(
            "It runs beside MPS, so nothing keeps it within its booking; it is only watched."
        )
        lifecycle.warn_over_memory(attempt, detail)
        log.warning("%s: %s", attempt.job, detail)


def _should_be_known(booking: Allocation) -> bool:
    """Whether it has long used the card: without memory on it, a process is nobody's client yet."""
    begun = booking.attempt.started_at
    old = begun is not None and (timezone.now() - begun).total_seconds() > PATIENCE_S
    return old and bool(booking.peak)


def _note(attempt: Attempt, cap: str) -> None:
    Attempt.objects.filter(pk=attempt.pk).update(cap=cap)


def _serve(device: Device) -> bool:
    """Whether the card's daemon answers, which is started where it does not."""
    if _answers(device):
        return True
    if not has_control():
        return False
    account = job_account()
    for place in _places(device).values():
        Path(place).mkdir(mode=0o700, parents=True, exist_ok=True)
        if account is not None:
            os.chown(place, account.uid, account.gid)
    if account is not None:
        for above in (_folder(device), _folder(device).parent):
            above.chmod(0o711)
    _run(device, ["-d"])
    if _answers(device):
        return True
    log.warning("The MPS daemon of %s does not answer; its jobs are not limited by it.", device)
    return False


def _answers(device: Device) -> bool:
    return _folder(device).exists() and _ask(device, "get_server_list") is not None


def _ask(device: Device, question: str) -> str | None:
    """The daemon's answer; None without one."""
    return _run(device, [], question=f"{question}\n")


def _run(device: Device, arguments: list[str], *, question: str = "") -> str | None:
    """As the account that jobs run as: the daemon serves its own account only."""
    account, who = job_account(), dict[str, Any]()
    if account is not None:
        who = {"user": account.uid, "group": account.gid, "extra_groups": []}
    try:
        done = subprocess.run(
            [CONTROL, *arguments],
            input=question,
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            cwd="/",
            env={
                "PATH": os.environ.get("PATH", ""),
                "CUDA_VISIBLE_DEVICES": device.uuid,
                **_places(device),
            },
            check=True,
            **who,
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.info("%s of %s: %s", CONTROL, device, error)
        return None
    return done.stdout


def _places(device: Device) -> dict[str, str]:
    folder = _folder(device)
    return {
        "CUDA_MPS_PIPE_DIRECTORY": str(folder / "pipe"),
        "CUDA_MPS_LOG_DIRECTORY": str(folder / "log"),
    }


def _folder(device: Device) -> Path:
    return Path(settings.COOP_HOME) / "mps" / device.uuid


def _numbers(answer: str | None) -> set[int]:
    return {int(each) for each in re.findall(r"^\s*(\d+)\s*$", answer or "", re.MULTILINE)}


def _end_unused() -> None:
    """Daemons of cards on which nobody is limited by them any more."""
    top = Path(settings.COOP_HOME) / "mps"
    if not top.exists():
        return
    served = Allocation.objects.open().filter(attempt__cap__in=(MPS, TRIED))
    in_use = set(served.values_list("device__uuid", flat=True))
    for folder in top.iterdir():
        device = Device.objects.filter(uuid=folder.name).first()
        if device is not None and folder.name not in in_use:
            _ask(device, "quit")
            shutil.rmtree(folder, ignore_errors=True)
