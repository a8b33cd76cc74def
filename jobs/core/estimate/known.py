"""Config facts of well-known models, so that their names are enough: nothing is downloaded.

Source: the `config.json` of each model on the Hugging Face hub, as published by its makers; names without their
organisation, and without what leaves the shape as it is (`-Instruct`, `-Chat`, `-GPTQ-Int4` ...).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_COLUMNS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
)

_ROWS: dict[str, dict[str, tuple[int, ...]]] = {
    "llama": {
        "llama-7b": (4096, 32, 32, 32, 11008, 32000),
        "llama-13b": (5120, 40, 40, 40, 13824, 32000),
        "llama-2-7b": (4096, 32, 32, 32, 11008, 32000),
        "llama-2-13b": (5120, 40, 40, 40, 13824, 32000),
        "llama-2-70b": (8192, 80, 64, 8, 28672, 32000),
        "llama-3-8b": (4096, 32, 32, 8, 14336, 128256),
        "llama-3-70b": (8192, 80, 64, 8, 28672, 128256),
        "llama-3.1-405b": (16384, 126, 128, 8, 53248, 128256),
        "yi-6b": (4096, 32, 32, 4, 11008, 64000),
        "yi-9b": (4096, 48, 32, 4, 11008, 64000),
        "yi-34b": (7168, 60, 56, 8, 20480, 64000),
        "deepseek-llm-7b": (4096, 30, 32, 32, 11008, 102400),
        "deepseek-llm-67b": (8192, 95, 64, 8, 22016, 102400),
    },
    "llama tied": {
        "llama-3.2-1b": (2048, 16, 32, 8, 8192, 128256),
        "llama-3.2-3b": (3072, 28, 24, 8, 8192, 128256),
    },
    "mistral": {
        "mistral-7b-v0.1": (4096, 32, 32, 8, 14336, 32000),
        "mistral-7b-v0.2": (4096, 32, 32, 8, 14336, 32000),
        "mistral-7b-v0.3": (4096, 32, 32, 8, 14336, 32768),
    },
    "qwen": {
        "qwen-1.8b": (2048, 24, 16, 16, 11008, 151936),
        "qwen-7b": (4096, 32, 32, 32, 22016, 151936),
        "qwen-14b": (5120, 40, 40, 40, 27392, 152064),
        "qwen-72b": (8192, 80, 64, 64, 49152, 152064),
    },
    "qwen2": {
        "deepseek-r1-distill-qwen-1.5b": (1536, 28, 12, 2, 8960, 151936),
        "qwen1.5-1.8b": (2048, 24, 16, 16, 5504, 151936),
        "qwen1.5-4b": (2560, 40, 20, 20, 6912, 151936),
        "qwen1.5-7b": (4096, 32, 32, 32, 11008, 151936),
        "qwen1.5-14b": (5120, 40, 40, 40, 13696, 152064),
        "qwen1.5-32b": (5120, 64, 40, 8, 27392, 152064),
        "qwen1.5-72b": (8192, 80, 64, 64, 24576, 152064),
        "qwen2.5-7b": (3584, 28, 28, 4, 18944, 152064),
        "qwen2.5-14b": (5120, 48, 40, 8, 13824, 152064),
        "qwen2.5-32b": (5120, 64, 40, 8, 27648, 152064),
        "qwen2.5-72b": (8192, 80, 64, 8, 29568, 152064),
    },
    "qwen2 tied": {
        "qwen1.5-0.5b": (1024, 24, 16, 16, 2816, 151936),
        "qwen2.5-0.5b": (896, 24, 14, 2, 4864, 151936),
        "qwen2.5-1.5b": (1536, 28, 12, 2, 8960, 151936),
        "qwen2.5-3b": (2048, 36, 16, 2, 11008, 151936),
    },
    "qwen3": {
        "qwen3-8b": (4096, 36, 32, 8, 12288, 151936),
        "qwen3-14b": (5120, 40, 40, 8, 17408, 151936),
        "qwen3-32b": (5120, 64, 64, 8, 25600, 151936),
    },
    "qwen3 tied": {
        "qwen3-0.6b": (1024, 28, 16, 8, 3072, 151936),
        "qwen3-1.7b": (2048, 28, 16, 8, 6144, 151936),
        "qwen3-4b": (2560, 36, 32, 8, 9728, 151936),
    },
    "gemma": {
        "gemma-2b": (2048, 18, 8, 1, 16384, 256000),
        "gemma-7b": (3072, 28, 16, 16, 24576, 256000),
    },
    "gemma2": {
        "gemma-2-2b": (2304, 26, 8, 4, 9216, 256000),
        "gemma-2-9b": (3584, 42, 16, 8, 14336, 256000),
    },
    "gemma3_text": {"gemma-3-1b": (1152, 26, 4, 1, 6912, 262144)},
    "phi3": {
        "phi-3-mini": (3072, 32, 32, 32, 8192, 32064),
        "phi-3.5-mini": (3072, 32, 32, 32, 8192, 32064),
        "phi-3-medium": (5120, 40, 40, 10, 17920, 32064),
        "phi-4": (5120, 40, 40, 10, 17920, 100352),
    },
    "phi3 tied": {"phi-4-mini": (3072, 32, 24, 8, 8192, 200064)},
    "baichuan": {
        "baichuan-7b": (4096, 32, 32, 32, 11008, 64000),
        "baichuan2-7b": (4096, 32, 32, 32, 11008, 125696),
        "baichuan2-13b": (5120, 40, 40, 40, 13696, 125696),
    },
    "internlm2": {
        "internlm2-1.8b": (2048, 24, 16, 8, 8192, 92544),
        "internlm2-7b": (4096, 32, 32, 8, 14336, 92544),
        "internlm2-20b": (6144, 48, 48, 8, 16384, 92544),
    },
}
"""By family: name and the values of `_COLUMNS`."""

_EXPERTS = {"n_shared_experts": 2, "moe_intermediate_size": 1408, "first_k_dense_replace": 1}
_LATENT = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
_VISION: dict[str, Any] = {"vision_config": {"model_type": "siglip_vision_model"}}

_MORE: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "gemma-2-27b": ("gemma2", (4608, 46, 32, 16, 36864, 256000), {"head_dim": 128}),
    "mistral-nemo-12b": ("mistral", (5120, 40, 32, 8, 14336, 131072), {"head_dim": 128}),
    "mixtral-8x7b": (
        "mixtral",
        (4096, 32, 32, 8, 14336, 32000),
        {"num_local_experts": 8, "num_experts_per_tok": 2},
    ),
    "mixtral-8x22b": (
        "mixtral",
        (6144, 56, 48, 8, 16384, 32768),
        {"num_local_experts": 8, "num_experts_per_tok": 2},
    ),
    "qwen1.5-moe-a2.7b": (
        "qwen2_moe",
        (2048, 24, 16, 16, 5632, 151936),
        {
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408,
            "shared_expert_intermediate_size": 5632,
        },
    ),
    "qwen2-57b-a14b": (
        "qwen2_moe",
        (3584, 28, 28, 4, 18944, 151936),
        {
            "num_experts": 64,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 2560,
            "shared_expert_intermediate_size": 20480,
        },
    ),
    "qwen3-30b-a3b": (
        "qwen3_moe",
        (2048, 48, 32, 4, 6144, 151936),
        {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768},
    ),
    "qwen3-235b-a22b": (
        "qwen3_moe",
        (4096, 94, 64, 4, 12288, 151936),
        {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 1536},
    ),
    "chatglm2-6b": ("chatglm", (4096, 28, 32, 2, 13696, 65024), {"add_qkv_bias": True}),
    "chatglm3-6b": ("chatglm", (4096, 28, 32, 2, 13696, 65024), {"add_qkv_bias": True}),
    "glm-4-9b": ("chatglm", (4096, 40, 32, 2, 13696, 151552), {"add_qkv_bias": True}),
    "deepseek-moe-16b": (
        "deepseek",
        (2048, 28, 16, 16, 10944, 102400),
        _EXPERTS | {"n_routed_experts": 64, "num_experts_per_tok": 6},
    ),
    "deepseek-v2-lite": (
        "deepseek_v2",
        (2048, 27, 16, 16, 10944, 102400),
        _EXPERTS | _LATENT | {"n_routed_experts": 64, "num_experts_per_tok": 6},
    ),
    "deepseek-v2": (
        "deepseek_v2",
        (5120, 60, 128, 128, 12288, 102400),
        _EXPERTS
        | _LATENT
        | {
            "q_lora_rank": 1536,
            "n_routed_experts": 160,
            "num_experts_per_tok": 6,
            "moe_intermediate_size": 1536,
        },
    ),
    "deepseek-v3": (
        "deepseek_v3",
        (7168, 61, 128, 128, 18432, 129280),
        _EXPERTS
        | _LATENT
        | {
            "q_lora_rank": 1536,
            "n_routed_experts": 256,
            "n_shared_experts": 1,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 2048,
            "first_k_dense_replace": 3,
        },
    ),
    "gemma-3-4b": ("gemma3_text", (2560, 34, 8, 4, 10240, 262208), _VISION),
    "gemma-3-12b": ("gemma3_text", (3840, 48, 16, 8, 15360, 262208), _VISION),
    "gemma-3-27b": (
        "gemma3_text",
        (5376, 62, 32, 16, 21504, 262208),
        {"head_dim": 128} | _VISION,
    ),
}

_SAME: dict[str, str] = {
    "yi-1.5-6b": "yi-6b",
    "yi-1.5-9b": "yi-9b",
    "yi-1.5-34b": "yi-34b",
    "deepseek-r1": "deepseek-v3",
    "deepseek-v2.5": "deepseek-v2",
    "deepseek-coder-v2-lite": "deepseek-v2-lite",
    "deepseek-r1-distill-qwen-7b": "qwen2.5-7b",
    "deepseek-r1-distill-qwen-14b": "qwen2.5-14b",
    "deepseek-r1-distill-qwen-32b": "qwen2.5-32b",
    "deepseek-r1-distill-llama-8b": "llama-3-8b",
    "deepseek-r1-distill-llama-70b": "llama-3-70b",
    "internlm2.5-1.8b": "internlm2-1.8b",
    "internlm2.5-7b": "internlm2-7b",
    "internlm2.5-20b": "internlm2-20b",
    "llama-3.1-8b": "llama-3-8b",
    "llama-3.1-70b": "llama-3-70b",
    "llama-3.3-70b": "llama-3-70b",
    "mistral-nemo": "mistral-nemo-12b",
    "qwen2-0.5b": "qwen2.5-0.5b",
    "qwen2-1.5b": "qwen2.5-1.5b",
    "qwen2-7b": "qwen2.5-7b",
    "qwen2-72b": "qwen2.5-72b",
    "qwen2.5-coder-7b": "qwen2.5-7b",
    "qwen2.5-coder-14b": "qwen2.5-14b",
    "qwen2.5-coder-32b": "qwen2.5-32b",
    "qwen2.5-math-7b": "qwen2.5-7b",
}
"""Other names of the same shape."""

_WITHOUT_EFFECT = re.compile(
    r"-(?:hf|base|instruct|chat|it|pt|\d+k|2507|awq|gptq|gguf|int[48]|bnb|4bit|8bit|1m|thinking|distill)(?=-|$)"
)
_VERSION = re.compile(r"-v\d+(?:\.\d+)?$")


def known_config(name: str) -> Mapping[str, Any] | None:
    """The config of the model that a name such as `Qwen/Qwen2.5-7B-Instruct` means; None where it is not known."""
    short = _short(name)
    for each in (short, _VERSION.sub("", short)):
        if found := _found(_SAME.get(each, each)):
            return found
    return None


def _found(short: str) -> Mapping[str, Any] | None:
    for key, rows in _ROWS.items():
        if short in rows:
            family, _, tied = key.partition(" ")
            return _config(family, rows[short]) | ({"tie_word_embeddings": True} if tied else {})
    if short not in _MORE:
        return None
    family, row, more = _MORE[short]
    if "vision_config" not in more:
        return _config(family, row) | more
    text = _config(family, row) | {k: v for k, v in more.items() if k != "vision_config"}
    return {"model_type": "gemma3", "text_config": text, "vision_config": more["vision_config"]}


def known_names() -> tuple[str, ...]:
    """Every name in the table, without the other names of the same shape."""
    return (*(name for rows in _ROWS.values() for name in rows), *_MORE)


def _config(family: str, row: tuple[int, ...]) -> dict[str, Any]:
    return {"model_type": family, **dict(zip(_COLUMNS, row, strict=True))}


def _short(name: str) -> str:
    """`Qwen/Qwen2.5-7B-Instruct` as `qwen2.5-7b`."""
    short = name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower().replace("_", ".")
    short = short.removeprefix("meta-").replace("llama3", "llama-3").replace("llama2", "llama-2")
    if short.startswith("deepseek-r1-distill"):
        return short
    return _WITHOUT_EFFECT.sub("", short)
