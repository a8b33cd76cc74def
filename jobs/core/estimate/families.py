"""From a model's `config.json` to its parts, family by family.

Sources: the modelling code that ships with each family, in transformers 5 (llama, mistral, mixtral, qwen2, qwen3,
qwen2_moe, qwen3_moe, gemma, gemma2, gemma3, phi3, glm, glm4, deepseek_v2, deepseek_v3) or beside the weights on the
hub (qwen, baichuan, chatglm, internlm2, deepseek). docs/estimates.md compares the counts with the published ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jobs.core.estimate.anatomy import Architecture
from jobs.core.estimate.experts import deepseek, mixtral, qwen_experts
from jobs.core.estimate.shape import Config, biases, feed_forward, qkv, shape_of, whole
from jobs.core.estimate.vision import siglip

_OTHER_NAMES = {
    "num_layers": "num_hidden_layers",
    "padded_vocab_size": "vocab_size",
    "ffn_hidden_size": "intermediate_size",
    "kv_channels": "head_dim",
}
"""What ChatGLM calls the things that everybody else calls otherwise."""

_DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma": {"head_dim": 256, "tie_word_embeddings": True},
    "gemma2": {"head_dim": 256, "tie_word_embeddings": True},
    "gemma3_text": {
        "head_dim": 256,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 262208,
        "tie_word_embeddings": True,
    },
    "qwen3": {"head_dim": 128},
    "qwen3_moe": {"head_dim": 128},
}
"""What a family's `config.json` may leave out, because its code knows it."""


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """The parts of the model that a `config.json` describes.

    A family that is not known, but has Llama's settings, is counted like Llama and says so (`is_guess`).

    Raises:
        CannotEstimate: a setting is missing or is no number.
    """
    nested = config.get("text_config")
    if isinstance(nested, Mapping):
        return _with_vision(nested, config)
    family = str(config.get("model_type") or "")
    named = {_OTHER_NAMES.get(str(key), str(key)): value for key, value in config.items()}
    settings = _DEFAULTS.get(family, {}) | {k: v for k, v in named.items() if v is not None}
    builder = _BUILDERS.get(family, _guessed)
    return builder(Config(family, settings))


def _with_vision(nested: Mapping[str, Any], config: Mapping[str, Any]) -> Architecture:
    outer = {k: v for k, v in config.items() if k == "tie_word_embeddings"}
    text = architecture_of(outer | dict(nested))
    vision = config.get("vision_config")
    outside = siglip(vision, text.hidden) if isinstance(vision, Mapping) else 0
    values = {name: getattr(text, name) for name in text.__dataclass_fields__}
    return Architecture(**values | {"outside": outside})


def _dense(
    config: Config,
    *,
    norms: int = 2,
    qkv_bias: bool = False,
    out_bias: bool = False,
    inner_bias: bool = False,
    head_norms: bool = False,
    attention: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj"),
    inner: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj"),
) -> Architecture:
    """A decoder of equal layers: grouped attention, and a gated feed-forward part."""
    shape = shape_of(config)
    each_layer = norms * shape.hidden + biases(shape, qkv=qkv_bias, out=out_bias, inner=inner_bias)
    each_layer += 2 * shape.head if head_norms else 0
    return shape.architecture(
        config,
        linears=(*qkv(shape, attention), *feed_forward(shape, inner)),
        rest=shape.layers * each_layer + shape.hidden,
    )


def _llama(config: Config) -> Architecture:
    biased = bool(config.settings.get("attention_bias"))
    inner = bool(config.settings.get("mlp_bias"))
    return _dense(config, qkv_bias=biased, out_bias=biased, inner_bias=inner)


def _guessed(config: Config) -> Architecture:
    found = _llama(config)
    values = {name: getattr(found, name) for name in found.__dataclass_fields__}
    return Architecture(**values | {"is_guess": True})


def _qwen_first(config: Config) -> Architecture:
    """Qwen of 2023: `intermediate_size` counts both halves of the gated part, and `no_bias` spares c_attn."""
    halved = dict(config.settings) | {"intermediate_size": whole(config, "intermediate_size") // 2}
    halved.pop("num_key_value_heads", None)
    return _dense(
        Config(config.family, halved),
        qkv_bias=True,
        attention=("c_attn", "c_proj"),
        inner=("w1", "w2", "c_proj"),
    )


def _chatglm(config: Config) -> Architecture:
    settings = dict(config.settings)
    if settings.get("multi_query_attention"):
        settings["num_key_value_heads"] = settings.get("multi_query_group_num")
    return _dense(
        Config(config.family, settings),
        qkv_bias=bool(settings.get("add_qkv_bias") or settings.get("add_bias_linear")),
        attention=("query_key_value", "dense"),
        inner=("dense_h_to_4h", "dense_4h_to_h"),
    )


def _phi(config: Config) -> Architecture:
    return _dense(config, attention=("qkv_proj", "o_proj"), inner=("gate_up_proj", "down_proj"))


def _internlm(config: Config) -> Architecture:
    biased = bool(config.settings.get("bias"))
    return _dense(
        config, qkv_bias=biased, out_bias=biased, attention=("wqkv", "wo"), inner=("w1", "w3", "w2")
    )


def _glm(norms: int) -> Callable[[Config], Architecture]:
    def build(config: Config) -> Architecture:
        return _dense(
            config,
            norms=norms,
            qkv_bias=bool(config.settings.get("attention_bias")),
            inner=("gate_up_proj", "down_proj"),
        )

    return build


_BUILDERS: dict[str, Callable[[Config], Architecture]] = {
    "llama": _llama,
    "mistral": _llama,
    "yi": _llama,
    "Yi": _llama,
    "qwen": _qwen_first,
    "qwen2": lambda config: _dense(config, qkv_bias=True),
    "qwen3": lambda config: _dense(config, head_norms=True),
    "gemma": _dense,
    "gemma2": lambda config: _dense(config, norms=4),
    "gemma3_text": lambda config: _dense(config, norms=4, head_norms=True),
    "phi3": _phi,
    "chatglm": _chatglm,
    "glm": _glm(2),
    "glm4": _glm(4),
    "baichuan": lambda config: _dense(config, attention=("W_pack", "o_proj")),
    "internlm2": _internlm,
    "mixtral": mixtral,
    "qwen2_moe": qwen_experts,
    "qwen3_moe": qwen_experts,
    "deepseek": deepseek,
    "deepseek_v2": deepseek,
    "deepseek_v3": deepseek,
}

FAMILIES = tuple(_BUILDERS)
"""The values of `model_type` that are counted exactly."""
