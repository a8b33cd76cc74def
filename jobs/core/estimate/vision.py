"""The vision tower of Gemma 3: SigLIP, and the projection that brings its output to the language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.core.estimate.shape import Config, whole


def siglip(settings: Mapping[str, Any], text_hidden: int) -> int:
    """Parameters of a SigLIP tower and of Gemma 3's projector.

    Raises:
        CannotEstimate: a setting is missing or is no number.
    """
    config = Config("siglip_vision_model", settings)
    hidden, inner = whole(config, "hidden_size", 1152), whole(config, "intermediate_size", 4304)
    layers = whole(config, "num_hidden_layers", 27)
    patch, image = whole(config, "patch_size", 14), whole(config, "image_size", 896)
    attention = 4 * (hidden * hidden + hidden)
    feed_forward = 2 * hidden * inner + inner + hidden
    embedding = 3 * patch * patch * hidden + hidden + (image // patch) ** 2 * hidden
    tower = layers * (attention + feed_forward + 4 * hidden) + embedding + 2 * hidden
    return tower + hidden + hidden * text_hidden
