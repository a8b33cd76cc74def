"""What a language model is made of, as far as its memory goes: its matrices, and what is left beside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A weight matrix that occurs `count` times in the whole model."""

    name: str  # as the family's code calls it, such as q_proj: what `lora_target` names
    inputs: int
    outputs: int
    count: int

    @property
    def parameters(self) -> int:
        """Weights of all of them, without biases."""
        return self.inputs * self.outputs * self.count


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model's sizes, counted in parameters."""

    family: str  # the config's model_type
    hidden: int
    layers: int
    vocabulary: int
    heads: int
    attention_width: int  # numbers that all heads of a layer have together for one token
    key_value_width: int  # numbers that one layer keeps in the key-value cache for one token
    inner_width: int  # of the feed-forward part, for one token: of all experts that it passes
    tied: bool  # whether the output head is the embedding
    linears: tuple[Linear, ...]
    rest: int  # norms, biases and other small things
    outside: int = 0  # beside the language model: a vision tower
    is_guess: bool = False  # the family is not known; it is counted like Llama

    @property
    def embedding(self) -> int:
        """Parameters of the input embedding."""
        return self.vocabulary * self.hidden

    @cached_property
    def in_linears(self) -> int:
        """Parameters of the layers' matrices: what quantization makes smaller."""
        return sum(each.parameters for each in self.linears)

    @property
    def beside_linears(self) -> int:
        """Parameters that stay in 16 bits when the model is quantized."""
        return self.embedding * (1 if self.tied else 2) + self.rest + self.outside

    @property
    def parameters(self) -> int:
        """All of them; a tied head is counted once."""
        return self.in_linears + self.beside_linears
