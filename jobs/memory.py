"""The memory that a job will need, said before it runs: measured runs of its kind first, then the formula."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db.models import F, Max, Q
from django.utils import timezone

from jobs.core.constraints import Need, is_of_type
from jobs.core.estimate.answer import Estimate, Peaks, above, corrected, estimate_of
from jobs.core.estimate.kind import memory_kind_of
from jobs.core.estimate.problems import CannotEstimate
from jobs.core.jobspec import JobSpec
from jobs.core.outofmemory import OF_A_CARD
from jobs.core.snapshot import DeviceView, JobView
from jobs.core.states import Outcome
from jobs.core.template import template_of
from jobs.core.units import GIB
from jobs.history import REMEMBERED, RUNS
from jobs.models import Allocation

LONG_ENOUGH = timedelta(minutes=5)
"""After which a run's peak tells what it needs, even if it did not succeed."""

_LARGEST_CONFIG = 1024 * 1024


def estimate_for(spec: JobSpec) -> Estimate:
    """What the job will need on each card; `spec` names its project.

    Raises:
        CannotEstimate: no run of its kind was measured, and the formula knows too little.
    """
    same = Peaks.of(_measured(template=template_of(spec)))
    peaks = same or Peaks.of(_measured(memory_kind=memory_kind_of(spec)), other_data=True)
    try:
        formula = _formula(spec)
    except CannotEstimate:
        if peaks is None:
            raise
        formula = None
    told = formula if peaks is None and formula else corrected(formula, peaks or Peaks())
    return above(told, _ran_out_at(memory_kind_of(spec)))


def booking(estimate: Estimate, view: JobView, cards: Iterable[DeviceView]) -> int:
    """Bytes to book on each card: the upper end, or a whole card where only what is likely fits one."""
    need = Need.of(view)
    room = max((card.total - card.safety for card in cards if is_of_type(need, card)), default=0)
    largest = room // GIB * GIB
    return largest if estimate.likely <= largest < estimate.min_memory else estimate.min_memory


def local_config(model: object) -> Mapping[str, Any] | None:
    """The `config.json` in a folder of this machine; None where there is none that describes a model."""
    if not isinstance(model, str) or not Path(model).is_absolute():
        return None
    try:
        found = json.loads(_read(Path(model) / "config.json"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "model_type" in found else None


def _formula(spec: JobSpec) -> Estimate:
    config, resources = spec.llamafactory, spec.resources
    if not isinstance(config, dict):
        raise CannotEstimate(
            "command", "a command is never read", "write min_memory below resources"
        )
    cards = resources.gpus * resources.nodes
    return estimate_of(config, cards=cards, model=local_config(config.get("model_name_or_path")))


def _measured(**kind: str) -> list[int]:
    """The peaks of the newest runs of a kind, each on the card where it was largest."""
    told = Q(attempt__outcome=Outcome.SUCCEEDED) | Q(
        attempt__ended_at__gte=F("attempt__started_at") + LONG_ENOUGH
    )
    runs = (
        Allocation.objects.filter(
            told,
            attempt__ended_at__gte=timezone.now() - REMEMBERED,
            attempt__started_at__isnull=False,
            peak__gt=0,
            **{f"attempt__job__{name}": value for name, value in kind.items()},
        )
        .exclude(attempt__reason__in=OF_A_CARD)
        .order_by("-attempt")
        .values_list("attempt")
        .annotate(most=Max("peak"))
    )
    return [peak for _attempt, peak in runs[:RUNS]]


def _ran_out_at(memory_kind: str) -> int:
    """The largest peak at which a run ran out of GPU memory: the next one needs more. 0 where none did."""
    runs = Allocation.objects.filter(
        attempt__reason__in=OF_A_CARD,
        attempt__job__memory_kind=memory_kind,
        attempt__ended_at__gte=timezone.now() - REMEMBERED,
    )
    return runs.aggregate(peak=Max("peak"))["peak"] or 0


def _read(path: Path) -> bytes:
    """A small plain file; anything else at this place, such as a pipe, is no file."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_CONFIG:
            raise OSError(f"{path} is no small file")
        return os.read(handle, _LARGEST_CONFIG)
    finally:
        os.close(handle)
