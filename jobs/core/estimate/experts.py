"""Families with experts: each token passes a few of many feed-forward parts, but all of them lie in memory."""

from __future__ import annotations

from jobs.core.estimate.anatomy import Architecture, Linear
from jobs.core.estimate.shape import Config, Shape, biases, feed_forward, qkv, shape_of, whole

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_INNER = ("gate_proj", "up_proj", "down_proj")


def mixtral(config: Config) -> Architecture:
    """Mixtral: every layer has experts of the full width."""
    shape = shape_of(config)
    experts = whole(config, "num_local_experts")
    chosen = whole(config, "num_experts_per_tok")
    return shape.architecture(
        config,
        linears=(
            *qkv(shape, _ATTENTION),
            *feed_forward(shape, ("w1", "w3", "w2"), count=shape.layers * experts),
            _router(shape, experts, shape.layers),
        ),
        rest=shape.layers * 2 * shape.hidden + shape.hidden,
        inner_width=chosen * shape.inner,
    )


def qwen_experts(config: Config) -> Architecture:
    """Qwen2-MoE, which has a shared expert with a gate of its own, and Qwen3-MoE, which norms queries and keys."""
    shape = shape_of(config)
    experts, width = whole(config, "num_experts"), whole(config, "moe_intermediate_size")
    chosen = whole(config, "num_experts_per_tok")
    sparse = _sparse_layers(config, shape)
    second = config.family == "qwen2_moe"
    each_layer = 2 * shape.hidden + biases(shape, qkv=second, out=False, inner=False)
    each_layer += 0 if second else 2 * shape.head
    shared = whole(config, "shared_expert_intermediate_size") if second else 0
    linears = (
        *qkv(shape, _ATTENTION),
        *feed_forward(shape, _INNER, count=shape.layers - sparse),
        *feed_forward(shape, _INNER, inner=width, count=sparse * experts),
        *(feed_forward(shape, _INNER, inner=shared, count=sparse) if second else ()),
        *((_router(shape, 1, sparse),) if second else ()),
        _router(shape, experts, sparse),
    )
    rest = shape.layers * each_layer + shape.hidden
    inner_width = chosen * width + shared
    return shape.architecture(config, linears=linears, rest=rest, inner_width=inner_width)


def deepseek(config: Config) -> Architecture:
    """DeepSeek-MoE, V2 and V3: the first layers dense, then routed and shared experts; V2 and V3 compress attention."""
    shape = shape_of(config)
    experts, width = whole(config, "n_routed_experts"), whole(config, "moe_intermediate_size")
    shared, chosen = whole(config, "n_shared_experts"), whole(config, "num_experts_per_tok")
    dense = min(shape.layers, int(config.settings.get("first_k_dense_replace") or 0))
    sparse = shape.layers - dense
    compressed = config.family != "deepseek"
    attention = _compressed(config, shape) if compressed else qkv(shape, _ATTENTION)
    linears = (
        *attention,
        *feed_forward(shape, _INNER, count=dense),
        *feed_forward(shape, _INNER, inner=width, count=sparse * experts),
        *feed_forward(shape, _INNER, inner=width * shared, count=sparse),
        _router(shape, experts, sparse),
    )
    each_layer = 2 * shape.hidden + (_compressed_norms(config) if compressed else 0)
    return shape.architecture(
        config,
        linears=linears,
        rest=shape.layers * each_layer + shape.hidden,
        inner_width=(chosen + shared) * width,
    )


def _sparse_layers(config: Config, shape: Shape) -> int:
    """Layers that have experts: every `decoder_sparse_step`th, but none of `mlp_only_layers`."""
    step = whole(config, "decoder_sparse_step", 1)
    only = config.settings.get("mlp_only_layers") or ()
    plain = set(only) if isinstance(only, list | tuple) else set()
    return sum(layer not in plain and (layer + 1) % step == 0 for layer in range(shape.layers))


def _router(shape: Shape, experts: int, count: int) -> Linear:
    return Linear(name="gate", inputs=shape.hidden, outputs=experts, count=count)


def _compressed(config: Config, shape: Shape) -> tuple[Linear, ...]:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1)."""
    latent, rope = whole(config, "kv_lora_rank"), whole(config, "qk_rope_head_dim")
    plain, value = whole(config, "qk_nope_head_dim"), whole(config, "v_head_dim")
    query_rank = config.settings.get("q_lora_rank")
    queries = shape.heads * (plain + rope)
    shapes = [
        ("kv_a_proj_with_mqa", shape.hidden, latent + rope),
        ("kv_b_proj", latent, shape.heads * (plain + value)),
        ("o_proj", shape.heads * value, shape.hidden),
    ]
    if query_rank:
        rank = whole(config, "q_lora_rank")
        shapes += [("q_a_proj", shape.hidden, rank), ("q_b_proj", rank, queries)]
    else:
        shapes.append(("q_proj", shape.hidden, queries))
    return tuple(
        Linear(name=name, inputs=inputs, outputs=outputs, count=shape.layers)
        for name, inputs, outputs in shapes
    )


def _compressed_norms(config: Config) -> int:
    ranks = ("kv_lora_rank", "q_lora_rank")
    return sum(whole(config, name) for name in ranks if config.settings.get(name))
