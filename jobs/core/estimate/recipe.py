"""What a LLaMA-Factory config says about memory; the defaults are those of LLaMA-Factory 0.9.5 and transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobs.core.estimate.problems import CannotEstimate
from jobs.core.problems import shortened

_LARGEST = 10**9

_STATE_BYTES = (
    (re.compile(r"sgd|adafactor|signsgd|muon"), 0),
    (re.compile(r"(?:adamw?|ademamix|lion).*8bit|8bit"), 2),
    (re.compile(r"lion|rmsprop|adagrad"), 4),
)
"""Bytes of optimizer state a parameter, by the name in `optim`; Adam's two moments in 32 bits are 8."""

_ADAM = 8
_PAIRED = frozenset({"dpo", "rm", "kto"})
"""Stages in which each row is two sequences: chosen and rejected, or the answer and one that does not belong to it."""

_WITHOUT_REFERENCE = frozenset({"orpo", "simpo"})


class Zero(NamedTuple):
    """How DeepSpeed spreads the training over cards; stage 0 is plain data parallelism."""

    stage: int = 0
    offload_optimizer: bool = False
    offload_parameters: bool = False


_PLAIN = Zero()


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The settings of a training that change how much memory it needs."""

    method: str = "lora"  # full, freeze, lora or oft
    stage: str = "sft"
    bits: int = 16  # of the frozen weights
    double_quantization: bool = True
    pure_half: bool = False  # weights, gradients and optimizer states all in 16 bits
    fused_step: bool = False  # the optimizer makes no temporary copy
    state_bytes: int = _ADAM  # optimizer state a trained parameter
    sequences: int = 8  # on one card at once
    length: int = 2048  # tokens of each
    checkpointing: bool = True  # activations are computed again in the backward pass
    eager: bool = False  # attention keeps its whole matrix
    fused_loss: bool = False  # Liger: the logits are never there all at once
    reference: bool = False  # a second model, to compare with
    generated: int = 0  # tokens that are written in training (PPO)
    rank: int = 8
    targets: tuple[str, ...] = ("all",)
    block: int = 32  # OFT's block size
    extra_targets: tuple[str, ...] = ()  # trained whole, beside the adapters
    layers: int = 2  # that `freeze` trains
    low_rank: int = 0  # GaLore's or APOLLO's rank; 0: neither
    by_block: bool = False  # BAdam: one layer at a time
    zero: Zero = _PLAIN
    cards: int = 1
    zero_is_known: bool = True  # what the DeepSpeed file says could be told from its name

    @property
    def tokens(self) -> int:
        """Tokens that one card has in work at once, where every row is as long as allowed."""
        return self.sequences * self.length

    @property
    def has_adapter(self) -> bool:
        """Whether the model itself stays as it is."""
        return self.method in {"lora", "oft"}


def recipe_of(config: Mapping[str, Any], *, cards: int = 1) -> Recipe:
    """What a training config says; `cards` is how many the job has altogether.

    Raises:
        CannotEstimate: a number is none.
    """
    stage, method = str(config.get("stage", "sft")), str(config.get("finetuning_type", "lora"))
    sequences = _whole(config, "per_device_train_batch_size", 8)
    length = _whole(config, "cutoff_len", 2048)
    generated = _whole(config, "max_new_tokens", 1024) if stage == "ppo" else 0
    zero = zero_of(config)
    return Recipe(
        method=method,
        stage=stage,
        bits=_whole(config, "quantization_bit", 16) if method in {"lora", "oft"} else 16,
        double_quantization=_says(config, "double_quantization", default=True),
        pure_half=_says(config, "pure_bf16"),
        fused_step="fused" in str(config.get("optim") or ""),
        state_bytes=_state_bytes(config),
        sequences=sequences * (2 if stage in _PAIRED else 1),
        length=length + generated,
        checkpointing=not _says(config, "disable_gradient_checkpointing"),
        eager=config.get("flash_attn") == "disabled",
        fused_loss=_says(config, "enable_liger_kernel"),
        reference=_has_reference(config, stage, method),
        generated=generated,
        rank=_whole(config, "lora_rank", 8),
        targets=names_in(config.get("lora_target", "all")) or ("all",),
        block=_whole(config, "oft_block_size", 32),
        extra_targets=names_in(config.get("additional_target")),
        layers=abs(_whole(config, "freeze_trainable_layers", 2, negative=True)),
        low_rank=_low_rank(config),
        by_block=_says(config, "use_badam"),
        zero=zero or _PLAIN,
        cards=cards,
        zero_is_known=zero is not None,
    )


def zero_of(config: Mapping[str, Any]) -> Zero | None:
    """How DeepSpeed or FSDP is set up; None where only its file could tell.

    LLaMA-Factory's own files are told by their names: `ds_z2_config.json`, `ds_z3_offload_config.json`.
    """
    given = config.get("deepspeed")
    if isinstance(given, Mapping):
        return _zero_in(given)
    if given:
        found = re.search(r"(?:z|zero|stage)[-_]?([0-3])", str(given).lower())
        off = "offload" in str(given).lower()
        stage = int(found[1]) if found else 0
        return Zero(stage, off, off and stage == 3) if found else None
    sharded = str(config.get("fsdp") or "")
    return Zero(3, False, "offload" in sharded) if "full_shard" in sharded else _PLAIN


def names_in(value: object) -> tuple[str, ...]:
    """The names in a comma-separated text or a list."""
    names = value if isinstance(value, list) else str(value or "").split(",")
    return tuple(name for each in names if (name := str(each).strip()))


def _zero_in(settings: Mapping[str, Any]) -> Zero:
    inner = settings.get("zero_optimization")
    zero = inner if isinstance(inner, Mapping) else {}
    stage = zero.get("stage", 0)
    return Zero(
        stage if isinstance(stage, int) and 0 <= stage <= 3 else 0,
        _is_offloaded(zero.get("offload_optimizer")),
        _is_offloaded(zero.get("offload_param")),
    )


def _is_offloaded(value: object) -> bool:
    return isinstance(value, Mapping) and value.get("device", "none") not in {"none", None}


def _state_bytes(config: Mapping[str, Any]) -> int:
    name = str(config.get("optim") or "adamw_torch").lower()
    for pattern, size in _STATE_BYTES:
        if pattern.search(name):
            return size
    return _ADAM


def _has_reference(config: Mapping[str, Any], stage: str, method: str) -> bool:
    """Whether a second copy is loaded: an adapter needs none, because switched off it is the reference."""
    if config.get("ref_model"):
        return True
    if stage not in {"dpo", "kto", "ppo"} or method in {"lora", "oft"}:
        return False
    return str(config.get("pref_loss", "sigmoid")) not in _WITHOUT_REFERENCE


def _low_rank(config: Mapping[str, Any]) -> int:
    for name in ("galore", "apollo"):
        if _says(config, f"use_{name}"):
            return _whole(config, f"{name}_rank", 16)
    return 0


def _says(config: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    value = config.get(key)
    return default if value is None else str(value).lower() in {"true", "1", "yes"}


def _whole(config: Mapping[str, Any], key: str, default: int, *, negative: bool = False) -> int:
    value = config.get(key)
    if value is None:
        return default
    size = abs(value) if negative and isinstance(value, int) else value
    if isinstance(size, int) and not isinstance(size, bool) and 0 < size < _LARGEST:
        return int(value)
    message = f"{shortened(value)} is not a whole number above 0"
    raise CannotEstimate(key, message, f"write it as a number, such as {default}")
