"""What this machine can do to share cards and to suspend jobs, and why not the rest: for doctor, pages and API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.utils.translation import gettext as _

from gpus.models import Device, Node
from jobs import mps, swapability
from jobs.jobenv import is_simulated
from jobs.refusals import Refused
from jobs.softcap import FIRST_TORCH, SOFT
from jobs.torchversion import of_trainer
from jobs.trainer import find_trainer

SWAP_OUT, DMEM, MIG = "swap-out", "dmem", "mig"
_CONTROLLERS = Path("/sys/fs/cgroup/cgroup.controllers")


@dataclass(frozen=True, kw_only=True)
class Ability:
    """One mechanism: whether it can be had here, and a sentence about it; `name` as the settings say it."""

    name: str
    can: bool
    why: str


def abilities() -> list[Ability]:
    """All mechanisms, as they are on the machines with cards; the first machine stands for all."""
    node = Node.objects.filter(devices__isnull=False).first()
    if node is None:
        return []
    return list(_abilities(node))


def _abilities(node: Node) -> Iterator[Ability]:
    simulated = _("the cards are simulated") if is_simulated(node) else ""
    yield _ability(SOFT, simulated or _no_soft(), _("PyTorch keeps trainings within their booking"))
    yield _ability(mps.MPS, simulated or _no_mps(), _("a daemon a card keeps jobs on one card"))
    yield _ability(DMEM, simulated or _no_dmem(), "")
    yield _ability(MIG, simulated or _no_mig(node), _("instances are cards of their own"))
    out = _("GPU memory can go to main memory (the setting `swap_out`)")
    yield _ability(SWAP_OUT, swapability.machine_refusal(node), out)


def _ability(name: str, refusal: str, can: str) -> Ability:
    return Ability(name=name, can=not refusal, why=refusal or can)


def _no_soft() -> str:
    try:
        version = of_trainer(find_trainer())
    except Refused as refused:
        return refused.title
    if version is None:
        return _("which PyTorch the trainer imports cannot be told")
    if version >= FIRST_TORCH:
        return ""
    words = {"given": ".".join(map(str, version)), "first": ".".join(map(str, FIRST_TORCH))}
    return _("the trainer's PyTorch is %(given)s; it needs %(first)s or newer") % words


def _no_mps() -> str:
    return "" if mps.has_control() else _("%(name)s is not on PATH") % {"name": mps.CONTROL}


def _no_dmem(controllers: Path = _CONTROLLERS) -> str:
    try:
        there = "dmem" in controllers.read_text().split()
    except OSError:
        there = False
    if not there:
        return _("the kernel offers no dmem controller (Linux 6.14 or newer, cgroup v2)")
    return _("the kernel offers it; llama-coop does not set its limits yet")


def _no_mig(node: Node) -> str:
    if Device.objects.filter(node=node, uuid__startswith="MIG-").exists():
        return ""
    return _("no card is in MIG mode; an admin sets that with nvidia-smi")
