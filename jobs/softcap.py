"""The soft cap: PyTorch's own allocator refuses what goes beyond the booking, by two environment variables.

From 2.10 on it reads `per_process_memory_fraction` from its environment (pytorch/pytorch#161035); older ones end at the
unknown word, so nothing is set unless the version is known. The fraction counts what the allocator takes; the CUDA
context and libraries lie beside it, so room is left for them. Whoever leaves PyTorch aside is only watched.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gpus.models import Device
from jobs import jobenv, sitesettings, torchversion
from jobs.core.jobspec import JobSpec
from jobs.core.llamafactory import needs_torchrun
from jobs.core.units import GIB
from jobs.models import Allocation, Attempt
from jobs.torchversion import Version
from jobs.trainer import Trainer

SOFT = "soft"
FIRST_TORCH: Version = (2, 10)
CONTEXT = 7 * GIB // 10
"""Bytes of a booking that are left for the CUDA context and libraries, which the allocator does not count."""

VARIABLES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
"""The first one wins where both are set, and older releases know only that one; so both say the same."""

_FRACTION = "per_process_memory_fraction"
_SEGMENTS = "expandable_segments"


def variables(
    attempt: Attempt, spec: JobSpec, env: Mapping[str, str], *, trainer: Trainer | None, cwd: Path
) -> dict[str, str]:
    """What is added to the environment `env` of an attempt; nothing where the cap does not hold or is not wanted."""
    booked = list(attempt.allocations.open().select_related("device"))
    if not _is_wanted(attempt, booked):
        return {}
    if trainer is not None:
        version = torchversion.of_trainer(trainer)
    else:
        version = torchversion.of_command(spec.command or "", path=env.get("PATH", ""), cwd=cwd)
    if version is None or version < FIRST_TORCH:
        return {}
    share = min(fraction(each.booked, each.device.memory_total) for each in booked)
    words = allocator_words(next((env[name] for name in VARIABLES if env.get(name)), ""), share)
    return dict.fromkeys(VARIABLES, words) | _for_torchrun(spec, env, len(booked))


def fraction(booked: int, total: int) -> float:
    """The share of a card that the allocator may take; at least half of the booking, which also is never exceeded."""
    return int(max(booked - CONTEXT, booked // 2) / total * 10_000) / 10_000


def allocator_words(given: str, share: float) -> str:
    """What the allocator is told: what the task said, expandable segments unless it said otherwise, and the cap."""
    kept = [word for word in given.split(",") if word and word.split(":")[0].strip() != _FRACTION]
    if not any(word.split(":")[0].strip() == _SEGMENTS for word in kept):
        kept.append(f"{_SEGMENTS}:True")
    return ",".join([*kept, f"{_FRACTION}:{share:.4f}"])


def _is_wanted(attempt: Attempt, booked: list[Allocation]) -> bool:
    """Also where MPS is wanted and cannot be had.

    Not for whole cards, not where bookings are to grow with what is used, not on cards that are none.
    """
    values = sitesettings.current()
    if values.cap == "none" or not booked or jobenv.is_simulated(attempt.node):
        return False
    modes = {each.device.mode or values.mode for each in booked}
    return not attempt.job.exclusive and Device.Mode.DYNAMIC_SHARDING not in modes


def _for_torchrun(spec: JobSpec, env: Mapping[str, str], cards: int) -> dict[str, str]:
    """LLaMA-Factory writes the first variable anew when it starts torchrun, unless OPTIM_TORCH is off.

    That also leaves out its other setting, which is given here as it would have been.
    """
    config = spec.llamafactory
    forced = isinstance(config, dict) and needs_torchrun(config)
    if not (forced or cards > 1 or env.get("FORCE_TORCHRUN", "0").lower() in {"1", "true", "y"}):
        return {}
    if env.get("OPTIM_TORCH", "1").lower() not in {"1", "true", "y"}:
        return {"OPTIM_TORCH": "0"}
    avoid = env.get("TORCH_NCCL_AVOID_RECORD_STREAMS", "1")
    return {"OPTIM_TORCH": "0", "TORCH_NCCL_AVOID_RECORD_STREAMS": avoid}
