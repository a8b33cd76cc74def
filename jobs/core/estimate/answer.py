"""An estimate as a person gets it: a range, where it comes from, and what was counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.core.estimate.families import architecture_of
from jobs.core.estimate.known import known_config
from jobs.core.estimate.memory import Part, memory_of, trained_parameters
from jobs.core.estimate.problems import CannotEstimate
from jobs.core.estimate.recipe import Recipe, recipe_of
from jobs.core.problems import shortened
from jobs.core.units import GIB, LARGEST_SIZE

SPREAD = 0.2
"""How far a run may be off the formula, either way; docs/estimates.md shows that measured runs are not further off."""

MARGIN = 1.1
"""What is likely, times the largest peak that runs of the same kind have had."""

FORMULA, LEARNED = "formula", "learned"


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Bytes on each card: at least, likely, and at most."""

    low: int
    likely: int
    high: int
    source: str  # FORMULA or LEARNED
    runs: int = 0  # that were measured
    peak: int = 0  # the largest of them, bytes
    least: int = 0  # the smallest of them, bytes
    other_data: bool = False  # they differ in their data, and in nothing else that matters
    ran_out: int = (
        0  # with which a run of the same kind ran out of memory, where that raised the lower end
    )
    model: str = ""  # as the config names it, without its folders
    method: str = ""  # LoRA, QLoRA, freeze, OFT or full
    parameters: int = 0
    trained: int = 0
    parts: tuple[Part, ...] = ()  # of the formula
    family: str = ""  # the model_type of its config.json
    assumptions: tuple[str, ...] = ()  # codes: family, deepspeed

    @property
    def min_memory(self) -> int:
        """The upper end in whole GiB, as bytes: what a job is booked with that says nothing else."""
        return min(LARGEST_SIZE, -(-self.high // GIB) * GIB)


@dataclass(frozen=True, kw_only=True, slots=True)
class Peaks:
    """What earlier runs of a kind have had at most, each on one card, in bytes."""

    runs: int = 0
    least: int = 0
    most: int = 0
    other_data: bool = False

    @classmethod
    def of(cls, peaks: Sequence[int], *, other_data: bool = False) -> Peaks | None:
        """These peaks; None where there are none."""
        if not peaks:
            return None
        return cls(runs=len(peaks), least=min(peaks), most=max(peaks), other_data=other_data)


def estimate_of(
    config: Mapping[str, Any], *, cards: int = 1, model: Mapping[str, Any] | None = None
) -> Estimate:
    """What a training config will need by the formula.

    Args:
        config: LLaMA-Factory's settings.
        cards: how many cards the job has altogether.
        model: the model's `config.json`, where it is at hand; else the name must be a known one.

    Raises:
        CannotEstimate: nothing is known of the model, or a setting is no number.
    """
    name = str(config.get("model_name_or_path") or "")
    architecture = architecture_of(model or _known(name))
    recipe = recipe_of(config, cards=cards)
    parts = memory_of(architecture, recipe)
    likely = sum(part.size for part in parts)
    return Estimate(
        low=round(likely * (1 - SPREAD)),
        likely=likely,
        high=round(likely * (1 + SPREAD)),
        source=FORMULA,
        model=name.rstrip("/").rpartition("/")[2],
        method=_method(recipe),
        parameters=architecture.parameters,
        trained=trained_parameters(architecture, recipe),
        parts=parts,
        family=architecture.family,
        assumptions=(
            *(("family",) if architecture.is_guess else ()),
            *(() if recipe.zero_is_known else ("deepspeed",)),
        ),
    )


def corrected(formula: Estimate | None, peaks: Peaks) -> Estimate:
    """The estimate by what earlier runs have shown; the formula's parts stay to be seen.

    Rows of other data may be longer: then the upper end is no less than what the formula finds likely.
    """
    base = formula or Estimate(low=0, likely=0, high=0, source=LEARNED)
    high = round(peaks.most * MARGIN * MARGIN)
    return replace(
        base,
        low=peaks.least if peaks.other_data else peaks.most,
        likely=round(peaks.most * MARGIN),
        high=max(high, base.likely) if peaks.other_data else high,
        source=LEARNED,
        runs=peaks.runs,
        peak=peaks.most,
        least=peaks.least,
        other_data=peaks.other_data,
    )


def above(estimate: Estimate, ran_out: int) -> Estimate:
    """The estimate, never below what a run of the same kind ran out of memory with (bytes; 0: none did)."""
    if ran_out <= estimate.low:
        return estimate
    return replace(
        estimate,
        low=ran_out,
        likely=max(estimate.likely, round(ran_out * MARGIN)),
        high=max(estimate.high, round(ran_out * MARGIN * MARGIN)),
        ran_out=ran_out,
    )


def _known(name: str) -> Mapping[str, Any]:
    found = known_config(name)
    if found is not None:
        return found
    if not name:
        raise CannotEstimate("model_name_or_path", "no model is named", "name one")
    raise CannotEstimate(
        "model_name_or_path",
        f"the size of the model {shortened(name)} is not known: it is none of the well-known ones, and the service "
        "finds no config.json there",
        "write min_memory below resources, or the path of a folder on the server that has the model's config.json",
    )


def _method(recipe: Recipe) -> str:
    name = {"lora": "LoRA", "oft": "OFT"}.get(recipe.method, recipe.method)
    return f"Q{name}" if recipe.bits < 16 else name
