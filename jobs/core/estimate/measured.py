"""What others have published: Qwen's measured runs, and the table in LLaMA-Factory's README.

Qwen's: QwenLM/Qwen, README, "Profiling of memory and speed": A100-80G, batch 1, gradient checkpointing, flash
attention 2, LoRA of rank 64 on all matrices; GB, read as 10^9 bytes. Full-parameter training of 7B on two cards is read
as ZeRO-3, and as both cards together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

GB = 1_000_000_000


class Measured(NamedTuple):
    """One published row: a model, how it was trained, and GB by tokens of a row."""

    model: str
    method: str
    settings: Mapping[str, Any]
    gigabytes: Mapping[int, float]
    cards: int = 1


_LORA: dict[str, Any] = {"finetuning_type": "lora", "lora_rank": 64, "bf16": True}
_QLORA = _LORA | {"quantization_bit": 4}
_FULL: dict[str, Any] = {"finetuning_type": "full", "bf16": True}
LENGTHS = (256, 1024, 2048, 4096, 8192)


def _row(*gigabytes: float) -> Mapping[int, float]:
    return dict(zip(LENGTHS, gigabytes, strict=False))


QWEN = (
    Measured("Qwen-7B", "LoRA", _LORA, _row(20.1, 21.5, 23.8, 29.7, 36.6)),
    Measured("Qwen-7B", "QLoRA", _QLORA, _row(11.5, 12.3, 13.9, 16.9, 23.5)),
    Measured("Qwen-14B", "LoRA", _LORA, _row(34.6, 35.3, 37.4, 42.5, 55.2)),
    Measured("Qwen-14B", "QLoRA", _QLORA, _row(18.7, 18.9, 19.9, 23.0, 27.9)),
    Measured("Qwen-72B", "QLoRA", _QLORA, _row(61.4, 62.9, 64.1, 68.0, 75.6)),
    Measured("Qwen-1.8B", "full", _FULL, _row(43.5, 43.5, 43.5, 47.1, 48.3)),
    Measured("Qwen-7B", "full", _FULL | {"deepspeed": "ds_z3_config.json"}, _row(139.2, 162.0), 2),
)


class Stated(NamedTuple):
    """A row of LLaMA-Factory's README ("estimated"), GB for a 7B, 14B and 70B model."""

    method: str
    settings: Mapping[str, Any]
    gigabytes: tuple[float, float, float]


STATED_MODELS = ("Llama-2-7B", "Qwen1.5-14B", "Llama-2-70B")
"""The models that stand for "7B", "14B" and "70B", which the README does not name."""

LLAMA_FACTORY = (
    Stated("full, mixed precision", _FULL, (120, 240, 1200)),
    Stated("full, pure_bf16", {"finetuning_type": "full", "pure_bf16": True}, (60, 120, 600)),
    Stated("LoRA", {"finetuning_type": "lora", "bf16": True}, (16, 32, 160)),
    Stated(
        "QLoRA, 8 bits",
        {"finetuning_type": "lora", "bf16": True, "quantization_bit": 8},
        (10, 20, 80),
    ),
    Stated(
        "QLoRA, 4 bits",
        {"finetuning_type": "lora", "bf16": True, "quantization_bit": 4},
        (6, 12, 48),
    ),
)
