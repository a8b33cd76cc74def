"""Which cards a `gpu_type` means: whole words of the model name, and the memory size where one is given."""

from __future__ import annotations

import re

from jobs.core.units import GIB

_TOKEN = re.compile(r"[A-Za-z0-9.]+")
_SIZE_TOKEN = re.compile(r"([1-9][0-9]{0,3})(?:G|GB|GIB)")

# What a card reports differs from the size it is sold by: 45 GiB of an L40S "48GB" (error correction takes
# the rest), 79.6 GiB of an H100 "80GB", 140.4 GiB of an H200 "141GB".
_SMALLEST_PART = 0.92
_LARGEST_PART = 1.04


def matches_gpu_type(gpu_type: str | None, model_name: str, memory_total: int) -> bool:
    """Whether a card is of the type that a task asks for.

    Words are compared whole and without regard to case, in their order: `A10` never matches an A100, `RTX4090` and
    `rtx 4090` both match "NVIDIA GeForce RTX 4090". A size such as `80G` is compared with `memory_total` (bytes).
    None asks for nothing and matches every card.
    """
    if gpu_type is None:
        return True
    wanted, sizes = _words_and_sizes(gpu_type)
    if not wanted and not sizes:
        return False
    if not all(_is_sold_as(size, memory_total) for size in sizes):
        return False
    return not wanted or _holds_run(_words_and_sizes(model_name)[0], "".join(wanted))


def _words_and_sizes(text: str) -> tuple[list[str], list[int]]:
    words: list[str] = []
    sizes: list[int] = []
    for token in _TOKEN.findall(text.upper()):
        size = _SIZE_TOKEN.fullmatch(token)
        if size:
            sizes.append(int(size.group(1)))
        else:
            words.append(token)
    return words, sizes


def _is_sold_as(nominal: int, memory_total: int) -> bool:
    return nominal * _SMALLEST_PART <= memory_total / GIB <= nominal * _LARGEST_PART


def _holds_run(words: list[str], wanted: str) -> bool:
    """Whether some words that follow one another spell `wanted`, so that RTX4090 finds "RTX 4090"."""
    for first in range(len(words)):
        spelled = ""
        for word in words[first:]:
            spelled += word
            if spelled == wanted:
                return True
            if not wanted.startswith(spelled):
                break
    return False
