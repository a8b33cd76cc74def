"""The text that names cards: `auto`, `nvml`, or `simulated:2xA100-80G,1xRTX4090-24G`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gpus.readings import NVML, SIMULATED
from jobs.core.units import UnitError, parse_size

AUTO = "auto"
DEFAULT_FLEET = "2xA100-80G"  # what `auto` simulates where there is no NVIDIA driver
MOST_CARDS = 1024

_ALLOWED = "Allowed: auto, nvml, or simulated:<count>x<model>-<memory>, for example"
_EXAMPLE = "simulated:2xA100-80G,1xRTX4090-24G"
_PART = re.compile(
    r"(?:(?P<count>\d{1,4})x)?(?P<model>[A-Za-z0-9][A-Za-z0-9 _.-]*)-(?P<memory>[\d.]+[A-Za-z]+)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CardModel:
    """A model of card: the name that NVML would give, its memory, its power limit in watts."""

    name: str
    memory: int
    power_limit: float


class FleetSpecError(ValueError):
    """A text that names no cards; says what was given, what is allowed and what to do."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem} {_ALLOWED} {_EXAMPLE}. Correct COOP_GPUS.")


def source_of(spec: str) -> str:
    """`auto`, `nvml` or `simulated`.

    Raises:
        FleetSpecError: the text is none of them, or names no cards.
    """
    kind, _, fleet = spec.partition(":")
    if kind == SIMULATED and fleet:
        parse_fleet(fleet)
        return SIMULATED
    if spec in {AUTO, NVML}:
        return spec
    raise FleetSpecError(f"COOP_GPUS is {spec!r}, which names no cards.")


def parse_fleet(fleet: str) -> tuple[CardModel, ...]:
    """The cards of `2xA100-80G,1xRTX4090-24G`, in this order.

    Raises:
        FleetSpecError: a part is not `<count>x<model>-<memory>`, or there are too many cards.
    """
    cards = tuple(card for part in fleet.split(",") for card in _cards(part.strip()))
    if not 1 <= len(cards) <= MOST_CARDS:
        raise FleetSpecError(
            f"COOP_GPUS names {len(cards)} cards, but 1 to {MOST_CARDS} are possible."
        )
    return cards


def _cards(part: str) -> list[CardModel]:
    found = _PART.fullmatch(part)
    if found is None:
        raise FleetSpecError(f"COOP_GPUS has the part {part!r}, which names no cards.")
    try:
        memory = parse_size(found["memory"])
    except UnitError as error:
        raise FleetSpecError(f"COOP_GPUS has the part {part!r}: {error}") from error
    if not memory:
        raise FleetSpecError(f"COOP_GPUS has the part {part!r}, a card without memory.")
    return [card_model(found["model"], memory)] * int(found["count"] or 1)


def card_model(model: str, memory: int) -> CardModel:
    """The card as NVML would name it; an unknown model keeps its own name."""
    gib = round(memory / 2**30)
    pattern, power_limit = _KNOWN.get(model.upper().replace(" ", ""), (f"NVIDIA {model}", 300.0))
    return CardModel(name=pattern.format(gib=gib), memory=memory, power_limit=power_limit)


_KNOWN = {
    "A10": ("NVIDIA A10", 150.0),
    "A30": ("NVIDIA A30", 165.0),
    "A40": ("NVIDIA A40", 300.0),
    "A100": ("NVIDIA A100-SXM4-{gib}GB", 400.0),
    "A800": ("NVIDIA A800-SXM4-{gib}GB", 400.0),
    "B200": ("NVIDIA B200", 1000.0),
    "H20": ("NVIDIA H20", 500.0),
    "H100": ("NVIDIA H100 {gib}GB HBM3", 700.0),
    "H200": ("NVIDIA H200", 700.0),
    "H800": ("NVIDIA H800", 700.0),
    "L4": ("NVIDIA L4", 72.0),
    "L40S": ("NVIDIA L40S", 350.0),
    "RTX3090": ("NVIDIA GeForce RTX 3090", 350.0),
    "RTX4090": ("NVIDIA GeForce RTX 4090", 450.0),
    "RTX5090": ("NVIDIA GeForce RTX 5090", 575.0),
    "RTXA6000": ("NVIDIA RTX A6000", 300.0),
    "T4": ("Tesla T4", 70.0),
    "V100": ("Tesla V100-SXM2-{gib}GB", 300.0),
}
