"""Whether a job's memory may be moved to main memory: the site wants it, the machine can, the job is of that kind."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from django.utils.translation import gettext as _

from gpus.models import Node
from gpus.readings import NVML
from jobs import sitesettings
from jobs.core.llamafactory import needs_torchrun
from jobs.core.units import GIB, format_size
from jobs.models import Attempt, Job, Swap

FIRST_DRIVER = 570
HOST_MARGIN = 2 * GIB
"""Main memory that must be left beside what is moved there."""


def machine_refusal(node: Node) -> str:
    """Why nothing can be swapped out on this machine; empty where it can."""
    if node.source != NVML:
        return _("the cards are simulated")
    major = re.match(r"\d+", node.driver)
    if major is None or int(major[0]) < FIRST_DRIVER:
        return _("it needs an NVIDIA driver from %(first)s on, and this one is %(given)s") % {
            "first": FIRST_DRIVER,
            "given": node.driver or _("unknown"),
        }
    if not _has_cuda_core():
        return _("the Python package cuda-core is not installed beside the service")
    return ""


def refusal(job: Job, attempt: Attempt) -> str:
    """Why this job cannot be swapped out now; empty where it can."""
    return next((why for why in _refusals(job, attempt) if why), "")


def available_memory(path: Path = Path("/proc/meminfo")) -> int:
    """Bytes of main memory that programs could take now; 0 where the kernel does not tell."""
    try:
        match = re.search(r"^MemAvailable:\s+(\d+) kB", path.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) * 1024 if match else 0


def _refusals(job: Job, attempt: Attempt) -> Iterator[str]:
    if not sitesettings.current().swap_out:
        yield _("the site does not want it (`swap_out`)")
    yield machine_refusal(attempt.node)
    yield _("it has failed before in this attempt") if attempt.swap == Swap.FAILED else ""
    yield "" if _is_single(job) else _("it is not a single process on a single card")
    yield _("it runs by MPS") if attempt.cap.startswith("mps") else ""
    yield _host_refusal(attempt)


def _is_single(job: Job) -> bool:
    config = job.spec.get("llamafactory")
    torchrun = isinstance(config, dict) and needs_torchrun(config)
    forced = str((job.spec.get("env") or {}).get("FORCE_TORCHRUN", "0")).lower()
    return job.gpus * job.nodes == 1 and not torchrun and forced not in {"1", "true", "y"}


def _host_refusal(attempt: Attempt) -> str:
    held = list(attempt.allocations.open().select_related("device"))
    if any(each.device.uuid.startswith("MIG-") for each in held):
        return _("a part of a card (MIG) cannot be swapped out")
    needed = sum(max(each.booked, each.peak or 0) for each in held) + HOST_MARGIN
    there = available_memory()
    if there >= needed:
        return ""
    return _("it needs %(needed)s of main memory, and %(there)s is available") % {
        "needed": format_size(needed),
        "there": format_size(there),
    }


def _has_cuda_core() -> bool:
    try:
        return importlib.util.find_spec("cuda.core") is not None
    except ImportError:
        return False
