"""What to change in a job that ran out of memory: single fields of its task, with the memory before and after.

The settings are LLaMA-Factory's (0.9.5, `hparams/` and `model/model_utils/`); which of them go together was read there:
a quantized model trains with `lora` or `oft` only and not under ZeRO-3 or FSDP, GaLore and APOLLO not with DeepSpeed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from jobs.core.estimate.answer import Estimate, estimate_of
from jobs.core.estimate.problems import CannotEstimate
from jobs.core.estimate.recipe import Recipe, recipe_of, zero_of
from jobs.core.outofmemory import Had, Shortage, next_need
from jobs.core.units import GIB

SHORTEST = 512
"""Tokens below which no shorter `cutoff_len` is proposed."""

_LIGER = frozenset(
    [
        "gemma",
        "gemma2",
        "gemma3",
        "gemma3_text",
        "glm",
        "glm4",
        "granite",
        "llama",
        "mistral",
        "mixtral",
        "olmo2",
        "phi3",
        "qwen2",
        "qwen3",
        "qwen3_moe",
    ]
)
"""Families that LLaMA-Factory applies the Liger kernel to, and whose size is known here."""

ZERO3: Mapping[str, Any] = MappingProxyType(
    {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True},
    }
)
"""DeepSpeed's stage 3; what it says "auto" of, transformers fills in. A mapping, because a path may lead nowhere."""


class RemedyCode(StrEnum):
    """What is changed."""

    EXCLUSIVE = "exclusive"
    MORE_MEMORY = "more_memory"
    CHECKPOINTING = "gradient_checkpointing"
    FLASH_ATTENTION = "flash_attention"
    BATCH = "batch"
    LIGER = "liger_kernel"
    TOGETHER = "together"  # several of those that leave the training as it is
    ZERO3 = "zero3"
    QLORA = "qlora"
    CUTOFF = "cutoff"
    LORA = "lora"
    LOADER = "loader_workers"  # main memory
    PREPROCESSING = "preprocessing_workers"  # main memory


@dataclass(frozen=True, kw_only=True, slots=True)
class Remedy:
    """One way out: new values of fields of the task by dotted name, and bytes on each card; None: cannot be told."""

    code: RemedyCode
    changes: Mapping[str, Any]
    before: int | None = None
    after: int | None = None
    is_enough: bool | None = None  # whether it would then fit into what the job had
    old: Mapping[str, Any] = field(default_factory=dict)  # the values that are changed

    @property
    def texts(self) -> dict[str, str]:
        """The changes as one writes them in YAML: for `--set`, a clone, and a link to the form."""
        return {name: text_of(value) for name, value in self.changes.items()}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A job that ran out of GPU memory."""

    had: Had
    shortage: Shortage | None = None
    largest: int = 0  # bytes that a job may have at most on a card that this one may run on
    config: Mapping[str, Any] | None = None  # LLaMA-Factory's settings; None: an opaque command
    cards: int = 1
    model: Mapping[str, Any] | None = None  # the model's config.json, where it is at hand

    @property
    def room(self) -> int:
        """What a job like this has on each card, if nothing else is changed."""
        return max(self.had.memory, self.largest) if self.had.exclusive else self.had.memory


def gpu_remedies(case: Case) -> tuple[Remedy, ...]:
    """What would help, the least intrusive first; what is likely not enough comes last."""
    training = None if case.config is None else _Training(case, case.config)
    found = [*_of_resources(case, training), *(_of_config(training) if training else ())]
    return tuple(sorted(found, key=lambda each: each.is_enough is False))


def host_remedies(config: Mapping[str, Any] | None) -> tuple[Remedy, ...]:
    """What lessens the main memory of a training; nothing estimates how far."""
    return tuple(_of_main_memory(config or {}))


def text_of(value: object) -> str:
    """A value as YAML on one line."""
    return value if isinstance(value, str) else json.dumps(value)


def _of_resources(case: Case, training: _Training | None) -> Iterator[Remedy]:
    formula = training.formula if training and training.formula else 0
    need = next_need(case.had, case.shortage, case.largest, formula=formula)
    if need is None:
        return
    before = max(case.had.needed(case.shortage), formula)
    changes: dict[str, Any] = {}
    if need.memory > case.had.memory:
        changes["resources.min_memory"] = f"{need.memory // GIB}G"
    if need.exclusive and not case.had.exclusive:
        changes["resources.exclusive"] = True
    code = RemedyCode.EXCLUSIVE if len(changes) == 1 and need.exclusive else RemedyCode.MORE_MEMORY
    yield Remedy(
        code=code,
        changes=changes,
        before=before,
        after=before,
        is_enough=before <= need.memory,
    )


class _Training:
    """A training and its estimate, with changes tried on it."""

    def __init__(self, case: Case, config: Mapping[str, Any]) -> None:
        self.config, self._case = config, case
        found = self._estimated({})
        self.formula = found.likely if found else None
        self.family = found.family if found else ""
        needed = case.had.needed(case.shortage)
        self.before = None if self.formula is None else max(needed, self.formula)
        # What the run needed beyond the formula is needed after a change as well.
        self._beyond = max(0, needed - (self.formula or 0))
        self.recipe = _recipe(config, case.cards)

    def after(self, changes: Mapping[str, Any]) -> int | None:
        """Bytes on each card with these changes; None where they cannot be told."""
        found = self._estimated(changes)
        return None if found is None else found.likely + self._beyond

    def is_enough(self, changes: Mapping[str, Any]) -> bool | None:
        after = self.after(changes)
        return None if after is None else after <= self._case.room

    def remedy(self, code: RemedyCode, changes: Mapping[str, Any]) -> Remedy:
        return Remedy(
            code=code,
            changes={f"llamafactory.{name}": value for name, value in changes.items()},
            before=self.before,
            after=self.after(changes),
            is_enough=self.is_enough(changes),
            old={f"llamafactory.{name}": self.config.get(name) for name in changes},
        )

    def _estimated(self, changes: Mapping[str, Any]) -> Estimate | None:
        case = self._case
        try:
            return estimate_of({**self.config, **changes}, cards=case.cards, model=case.model)
        except CannotEstimate:
            return None


def _of_config(training: _Training) -> Iterator[Remedy]:
    if training.recipe is None:
        return
    harmless = dict(_harmless(training, training.recipe))
    found = [training.remedy(code, changes) for code, changes in harmless.items()]
    if len(harmless) > 1 and not any(each.is_enough for each in found):
        together = _together(training, harmless)
        found.append(training.remedy(RemedyCode.TOGETHER, together))
    found += [
        training.remedy(code, changes) for code, changes in _others(training, training.recipe)
    ]
    yield from (each for each in found if _lessens(each))


def _lessens(remedy: Remedy) -> bool:
    return remedy.after is None or remedy.before is None or remedy.after < remedy.before


_Changes = Iterator[tuple[RemedyCode, dict[str, Any]]]


def _harmless(training: _Training, recipe: Recipe) -> _Changes:
    """What leaves the training's result as it is."""
    if not recipe.checkpointing:
        yield RemedyCode.CHECKPOINTING, {"disable_gradient_checkpointing": False}
    if recipe.eager:
        yield RemedyCode.FLASH_ATTENTION, {"flash_attn": "sdpa"}
    if (smaller := _smaller_batch(training, {})) is not None:
        yield RemedyCode.BATCH, smaller
    stage = recipe.stage in {"pt", "sft"}  # others need the logits whole
    if stage and not recipe.fused_loss and training.family in _LIGER:
        yield RemedyCode.LIGER, {"enable_liger_kernel": True}


def _smaller_batch(training: _Training, others: Mapping[str, Any]) -> dict[str, Any] | None:
    """The largest smaller batch that is enough, else a batch of one row, with as many rows in each step as before."""
    rows = _count(training.config, "per_device_train_batch_size", 8)
    steps = _count(training.config, "gradient_accumulation_steps", 1)
    tried: dict[str, Any] | None = None
    for smaller in range(rows - 1, 0, -1):
        if rows % smaller:
            continue
        tried = {
            "per_device_train_batch_size": smaller,
            "gradient_accumulation_steps": steps * rows // smaller,
        }
        if training.is_enough({**others, **tried}) is not False:
            return tried
    return tried


def _together(
    training: _Training, harmless: Mapping[RemedyCode, Mapping[str, Any]]
) -> dict[str, Any]:
    """All of them at once, with the batch no smaller than needed then."""
    others = {
        name: value
        for code, changes in harmless.items()
        if code is not RemedyCode.BATCH
        for name, value in changes.items()
    }
    batch = _smaller_batch(training, others) if RemedyCode.BATCH in harmless else None
    return {**others, **(batch or {})}


def _others(training: _Training, recipe: Recipe) -> _Changes:
    """What needs another set-up, or trains something else."""
    config = training.config
    if _may_shard(config, recipe):
        yield RemedyCode.ZERO3, {"deepspeed": dict(ZERO3)}
    yield from _methods(config, recipe)
    if (shorter := _shorter(training)) is not None:
        yield RemedyCode.CUTOFF, {"cutoff_len": shorter}


def _may_shard(config: Mapping[str, Any], recipe: Recipe) -> bool:
    known = zero_of(config)
    low_rank = any(_says(config, f"use_{name}") for name in ("galore", "apollo", "badam"))
    whole = known is not None and known.stage < 3 and recipe.bits >= 16
    return recipe.cards > 1 and whole and not low_rank and not _says(config, "use_unsloth")


def _methods(config: Mapping[str, Any], recipe: Recipe) -> _Changes:
    """Train an adapter instead of the model, and keep the model in 4 bits."""
    to_lora = {} if recipe.has_adapter else {"finetuning_type": "lora"}
    if any(_says(config, f"use_{name}") for name in ("galore", "apollo", "badam")):
        return  # they are for training the model itself
    if recipe.bits > 4 and recipe.zero.stage < 3 and not _is_quantized(config):
        yield RemedyCode.QLORA, {**to_lora, "quantization_bit": 4}
    if to_lora:
        yield RemedyCode.LORA, to_lora


def _is_quantized(config: Mapping[str, Any]) -> bool:
    name = str(config.get("model_name_or_path") or "").lower()
    marked = any(mark in name for mark in ("gptq", "awq", "int4", "int8", "bnb", "aqlm", "fp8"))
    return marked or _says(config, "fp8")


def _shorter(training: _Training) -> int | None:
    """The longest of the halves of `cutoff_len` that is enough, else the shortest that may be proposed."""
    length, found = _count(training.config, "cutoff_len", 2048) // 2, None
    while length >= SHORTEST:
        found = length
        if training.is_enough({"cutoff_len": length}) is not False:
            break
        length //= 2
    return found


def _of_main_memory(config: Mapping[str, Any]) -> Iterator[Remedy]:
    for code, name in (
        (RemedyCode.PREPROCESSING, "preprocessing_num_workers"),
        (RemedyCode.LOADER, "dataloader_num_workers"),
    ):
        count = _count(config, name, 0)
        if count > 1:
            field_name = f"llamafactory.{name}"
            yield Remedy(code=code, changes={field_name: count // 2}, old={field_name: count})


def _recipe(config: Mapping[str, Any], cards: int) -> Recipe | None:
    try:
        return recipe_of(config, cards=cards)
    except CannotEstimate:
        return None


def _count(config: Mapping[str, Any], name: str, default: int) -> int:
    value = config.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _says(config: Mapping[str, Any], name: str) -> bool:
    return str(config.get(name, "")).lower() in {"true", "1", "yes"}
