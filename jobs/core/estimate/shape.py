"""The settings that all families share, and the matrices that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobs.core.estimate.anatomy import Architecture, Linear
from jobs.core.estimate.problems import CannotEstimate

_LARGEST = 10**9  # beyond any width, count or vocabulary
_MOST_LAYERS = 10_000


class Config(NamedTuple):
    """A `config.json` with one name for each thing."""

    family: str
    settings: Mapping[str, Any]


def whole(config: Config, name: str, default: int | None = None, *, most: int = _LARGEST) -> int:
    """A setting that counts something, at most `most`.

    Raises:
        CannotEstimate: it is missing and has no default, or is no positive whole number.
    """
    value = config.settings.get(name, default)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most:
        return value
    wrong = "says nothing of" if value is None else f"has no number for ({str(value)[:20]!r})"
    raise CannotEstimate(
        "model_name_or_path",
        f"the model's config.json {wrong} {name}",
        "write min_memory below resources",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A decoder's widths and counts."""

    hidden: int
    layers: int
    vocabulary: int
    heads: int
    groups: int  # heads of keys and values
    head: int  # width of one head
    inner: int  # width of the feed-forward part

    def architecture(
        self,
        config: Config,
        *,
        linears: tuple[Linear, ...],
        rest: int,
        inner_width: int | None = None,
        key_value_width: int | None = None,
    ) -> Architecture:
        """The model of this shape that these matrices make up."""
        tied = bool(config.settings.get("tie_word_embeddings", False))
        return Architecture(
            family=config.family,
            hidden=self.hidden,
            layers=self.layers,
            vocabulary=self.vocabulary,
            heads=self.heads,
            attention_width=self.heads * self.head,
            key_value_width=key_value_width or 2 * self.groups * self.head,
            inner_width=inner_width or self.inner,
            tied=tied,
            linears=linears,
            rest=rest,
        )


def shape_of(config: Config) -> Shape:
    """The shape that a `config.json` describes.

    Raises:
        CannotEstimate: a setting is missing or is no number.
    """
    hidden, heads = whole(config, "hidden_size"), whole(config, "num_attention_heads")
    return Shape(
        hidden=hidden,
        layers=whole(config, "num_hidden_layers", most=_MOST_LAYERS),
        vocabulary=whole(config, "vocab_size"),
        heads=heads,
        groups=whole(config, "num_key_value_heads", heads),
        head=whole(config, "head_dim", max(1, hidden // heads)),
        inner=whole(config, "intermediate_size"),
    )


def qkv(shape: Shape, names: tuple[str, ...]) -> tuple[Linear, ...]:
    """Attention's matrices: four, or with two names a fused one for queries, keys and values."""
    query, other = shape.heads * shape.head, shape.groups * shape.head
    outputs = (query, other, other) if len(names) > 2 else (query + 2 * other,)
    projections = [
        Linear(name=name, inputs=shape.hidden, outputs=width, count=shape.layers)
        for name, width in zip(names, outputs, strict=False)
    ]
    out = Linear(name=names[-1], inputs=query, outputs=shape.hidden, count=shape.layers)
    return (*projections, out)


def feed_forward(
    shape: Shape, names: tuple[str, ...], *, inner: int | None = None, count: int | None = None
) -> tuple[Linear, ...]:
    """A gated feed-forward part's matrices: gate, up, down, or with two names a fused gate and up."""
    width, times = inner or shape.inner, shape.layers if count is None else count
    ups = (width, width) if len(names) > 2 else (2 * width,)
    projections = [
        Linear(name=name, inputs=shape.hidden, outputs=outputs, count=times)
        for name, outputs in zip(names, ups, strict=False)
    ]
    down = Linear(name=names[-1], inputs=width, outputs=shape.hidden, count=times)
    return (*projections, down)


def biases(shape: Shape, *, qkv: bool, out: bool, inner: bool) -> int:
    """Parameters that the biases of one layer have."""
    query, other = shape.heads * shape.head, shape.groups * shape.head
    return (
        (query + 2 * other if qkv else 0)
        + (shape.hidden if out else 0)
        + (2 * shape.inner + shape.hidden if inner else 0)
    )
