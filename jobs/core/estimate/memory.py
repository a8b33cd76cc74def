"""The memory that a training needs on one card, part by part.

Sources: mixed-precision training with Adam keeps 16 bytes a parameter (ZeRO, arXiv 1910.02054, section 3.1), and 18
with the 16-bit copies that autocast keeps; DeepSpeed's own estimators for its stages (stage_1_and_2.py, stage3.py); NF4
with double quantization 4.127 bits a weight (QLoRA, arXiv 2305.14314, section 3); activations after arXiv 2205.05198,
section 4, counted again for gated feed-forward parts; the optimizer's temporary copy from PyTorch's notes on `foreach`.
Constants that no source gives were read off Qwen's measured runs: docs/estimates.md shows how far each row is off.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from jobs.core.estimate.anatomy import Architecture, Linear
from jobs.core.estimate.recipe import Recipe

CONTEXT = 1_000_000_000  # bytes: CUDA context, libraries, workspaces
SLACK = 1_000_000_000  # bytes that the allocator holds without using them
LOGIT_BYTES = 10  # a token and word: in 16 bits, in 32 bits, and the gradient of the loss

_LAYER_KEPT = (24, 8)  # bytes a token: times the width, times the inner width; what one layer keeps
_LAYER_WORK = (24, 12)  # the same, with the gradients, while one layer is computed again
_ATTENTION_KEPT, _ATTENTION_WORK = 5, 8  # bytes for each pair of tokens and head, where eager
_DOUBLE_QUANTIZED, _QUANTIZED = 0.127, 0.5  # bits a weight for the scales


class PartCode(StrEnum):
    """What the memory is for."""

    WEIGHTS = "weights"  # the model, and the adapters
    GRADIENTS = "gradients"  # of what is trained, with the buckets of data parallelism
    OPTIMIZER = "optimizer"  # Adam's moments and the like
    REFERENCE = "reference"  # the second model of DPO, KTO and PPO
    ACTIVATIONS = "activations"  # what the forward pass keeps for the backward pass
    LOGITS = "logits"  # one number a token and word of the vocabulary
    LAYER = "layer"  # one layer while it is computed again
    STEP = "step"  # the optimizer's temporary copy, where it is larger than a batch
    CACHE = "cache"  # keys and values of what PPO writes
    GATHERED = "gathered"  # the layer that ZeRO-3 has brought together
    WORKSPACE = "workspace"  # CUDA context, libraries, what the allocator holds in reserve


class Part(NamedTuple):
    """One use of memory on one card."""

    code: PartCode
    size: int  # bytes


class _Trained(NamedTuple):
    """Parameters, split by what happens to them."""

    trained: float
    frozen_bytes: float  # of the weights that stay as they are


def memory_of(model: Architecture, recipe: Recipe) -> tuple[Part, ...]:
    """The parts of the memory on one card; their sum is what is likely."""
    trained = _trained(model, recipe)
    found = [
        *_states(model, recipe, trained),
        *_references(model, recipe),
        *_working(model, recipe, trained),
        (PartCode.WORKSPACE, _workspace(model, recipe)),
    ]
    return tuple(Part(code, round(size)) for code, size in found if size >= 1)


def trained_parameters(model: Architecture, recipe: Recipe) -> int:
    """How many parameters are trained."""
    return round(_trained(model, recipe).trained)


def _trained(model: Architecture, recipe: Recipe) -> _Trained:
    if recipe.has_adapter:
        extra = sum(
            model.embedding for name in recipe.extra_targets if "embed" in name or "head" in name
        )
        return _Trained(_adapter(model, recipe) + extra, _frozen_bytes(model, recipe))
    if recipe.by_block or recipe.method == "freeze":
        layers = 1 if recipe.by_block else min(recipe.layers, model.layers)
        count = model.in_linears * layers / model.layers
        return _Trained(count, 2 * (model.parameters - count))
    return _Trained(model.parameters - model.outside, 2 * model.outside)


def _adapter(model: Architecture, recipe: Recipe) -> float:
    """LoRA's two narrow matrices beside each target; OFT's skew-symmetric blocks."""
    targets = _targets(model, recipe)
    if recipe.method == "oft":
        return sum(each.inputs * (recipe.block - 1) / 2 * each.count for each in targets)
    return recipe.rank * sum((each.inputs + each.outputs) * each.count for each in targets)


def _targets(model: Architecture, recipe: Recipe) -> tuple[Linear, ...]:
    """The matrices that `lora_target` names; all of them where it names none that the model has."""
    named = tuple(each for each in model.linears if each.name in recipe.targets)
    return named if named and "all" not in recipe.targets else model.linears


def _frozen_bytes(model: Architecture, recipe: Recipe) -> float:
    if recipe.bits >= 16:
        return 2 * model.parameters
    scales = _DOUBLE_QUANTIZED if recipe.double_quantization else _QUANTIZED
    bits = recipe.bits + (scales if recipe.bits < 8 else 0)
    return model.in_linears * bits / 8 + 2 * model.beside_linears


def _states(
    model: Architecture, recipe: Recipe, parts: _Trained
) -> Iterator[tuple[PartCode, float]]:
    """Weights, gradients and optimizer states as DeepSpeed's stage spreads them."""
    trained, frozen = parts
    width = _width(recipe)
    optimizer = _state_size(model, recipe) * trained
    if recipe.zero.stage == 0:
        copies = 0 if recipe.pure_half or recipe.has_adapter else 2
        buckets = width if recipe.cards > 1 else 0
        yield PartCode.WEIGHTS, frozen + (width + copies) * trained
        yield PartCode.GRADIENTS, (width + buckets) * trained
        yield PartCode.OPTIMIZER, optimizer
        return
    yield from _spread_states(model, recipe, parts, optimizer)


def _spread_states(
    model: Architecture, recipe: Recipe, parts: _Trained, optimizer: float
) -> Iterator[tuple[PartCode, float]]:
    """As DeepSpeed estimates: 2P + 18P/N in stage 2, 18P/N and the largest layer in stage 3, less what is offloaded."""
    zero, share = recipe.zero, 1 / recipe.cards
    sharded = zero.stage == 3
    whole = (0 if zero.offload_parameters else share) if sharded else 1
    kept = 0 if zero.offload_optimizer else parts.trained
    gradients = (4 if sharded else 6) * (share if zero.stage > 1 else 1)
    yield PartCode.WEIGHTS, (parts.frozen_bytes + 2 * parts.trained) * whole + 4 * share * kept
    yield PartCode.GRADIENTS, gradients * kept
    yield PartCode.OPTIMIZER, 0 if zero.offload_optimizer else optimizer * share
    if sharded:
        yield PartCode.GATHERED, 4 * _largest_layer(model)


def _largest_layer(model: Architecture) -> int:
    return max(model.embedding, *(each.inputs * each.outputs for each in model.linears))


def _state_size(model: Architecture, recipe: Recipe) -> float:
    """Bytes of optimizer state a trained parameter."""
    size = recipe.state_bytes / (2 if recipe.pure_half else 1)
    return size * min(1.0, 2 * recipe.low_rank / model.hidden) if recipe.low_rank else size


def _references(model: Architecture, recipe: Recipe) -> Iterator[tuple[PartCode, float]]:
    if recipe.reference:
        sharded = recipe.zero.stage == 3
        yield PartCode.REFERENCE, 2 * model.parameters / (recipe.cards if sharded else 1)
    if recipe.generated:
        yield PartCode.CACHE, 2 * model.key_value_width * model.layers * recipe.tokens


def _working(
    model: Architecture, recipe: Recipe, parts: _Trained
) -> Iterator[tuple[PartCode, float]]:
    """The larger of the two peaks: the backward pass of a batch, and the optimizer's step."""
    kept = _kept(model, recipe) * recipe.tokens
    logits = 0 if recipe.fused_loss else LOGIT_BYTES * model.vocabulary * recipe.tokens
    layer = _layer(model, recipe, _LAYER_WORK, _ATTENTION_WORK) * recipe.tokens
    copied = not recipe.fused_step and recipe.zero.stage == 0
    step = _width(recipe) * parts.trained if copied else 0
    if step > kept + max(logits, layer):
        yield PartCode.STEP, step
        return
    yield PartCode.ACTIVATIONS, kept
    yield (PartCode.LOGITS, logits) if logits >= layer else (PartCode.LAYER, layer)


def _width(recipe: Recipe) -> int:
    """Bytes of a trained parameter, and of its gradient."""
    return 2 if recipe.pure_half else 4


def _kept(model: Architecture, recipe: Recipe) -> float:
    """Bytes a token that wait for the backward pass: each layer's input, or all that was computed."""
    if recipe.checkpointing:
        return 2 * model.layers * model.hidden
    return model.layers * _layer(model, recipe, _LAYER_KEPT, _ATTENTION_KEPT)


def _layer(model: Architecture, recipe: Recipe, factors: tuple[int, int], attention: int) -> float:
    """Bytes a token that one layer takes."""
    width = max(model.hidden, model.attention_width)
    plain = factors[0] * width + factors[1] * model.inner_width
    return plain + (attention * model.heads * recipe.length if recipe.eager else 0)


def _workspace(model: Architecture, recipe: Recipe) -> float:
    """What is there whatever the batch; a quantized layer is unpacked to 16 bits while it is used."""
    unpacked = 2 * model.in_linears / model.layers if recipe.bits < 16 else 0
    return CONTEXT + SLACK + unpacked
