"""Remedies for a job that ran out of memory, in words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jobs.core.remedies import Remedy, RemedyCode, text_of
from jobs.core.units import format_size

_C = RemedyCode

WHAT: Mapping[RemedyCode, Promise] = MappingProxyType(
    {
        _C.EXCLUSIVE: gettext_lazy("A card of its own: nobody else's memory is in the way."),
        _C.MORE_MEMORY: gettext_lazy("More memory: the training stays as it is."),
        _C.CHECKPOINTING: gettext_lazy(
            "Gradient checkpointing: activations are computed again instead of kept. The same result, but slower."
        ),
        _C.FLASH_ATTENTION: gettext_lazy(
            "Attention without its whole matrix. The same result, and faster."
        ),
        _C.BATCH: gettext_lazy(
            "A smaller batch, accumulated as often as it takes: as many rows in each step as before."
        ),
        _C.LIGER: gettext_lazy(
            "The Liger kernel, which never has all logits at once. It needs the package liger-kernel."
        ),
        _C.TOGETHER: gettext_lazy("These together, which leave the result as it is."),
        _C.ZERO3: gettext_lazy(
            "DeepSpeed ZeRO-3: the model is spread over the job's cards. It needs the package deepspeed."
        ),
        _C.QLORA: gettext_lazy(
            "QLoRA: the model is kept in 4 bits and only an adapter is trained. It needs the package bitsandbytes."
        ),
        _C.CUTOFF: gettext_lazy("Shorter rows: what is longer is cut off."),
        _C.LORA: gettext_lazy("LoRA: only an adapter is trained, and not the model itself."),
        _C.LOADER: gettext_lazy("Fewer processes that load rows: each has main memory of its own."),
        _C.PREPROCESSING: gettext_lazy(
            "Fewer processes that prepare the dataset: each has main memory of its own."
        ),
    }
)

_LONGEST = 40


def sentence(remedy: Remedy) -> str:
    """What it is, and what it brings."""
    return f"{WHAT[remedy.code]} {_brings(remedy)}".rstrip()


def change_words(remedy: Remedy) -> str:
    """The changes as one reads them: `cutoff_len 4096 -> 1024, ...`."""
    return ", ".join(_change(remedy, name, value) for name, value in remedy.changes.items())


def command(job: object, remedy: Remedy) -> str:
    """The clone with this change, as one types it."""
    sets = " ".join(f"--set {shlex.quote(f'{name}={text}')}" for name, text in remedy.texts.items())
    return f"llama-coop clone {shlex.quote(str(job))} {sets}"


def growth_words(data: Mapping[str, Any]) -> str:
    """What an event says of a job that is tried again with more memory; else nothing."""
    size = data.get("min_memory")
    if not isinstance(size, int):
        return ""
    words = {"size": format_size(size)}
    if data.get("exclusive"):
        return (
            _("From now on it asks for %(size)s on each card, and shares it with no other job.")
            % words
        )
    return _("From now on it asks for %(size)s on each card.") % words


def _change(remedy: Remedy, name: str, value: Any) -> str:
    short = name.rpartition(".")[2]
    words = {"field": short, "old": _shown(remedy.old.get(name)), "new": _shown(value)}
    if remedy.old.get(name) is None:
        return _("%(field)s: %(new)s") % words
    return _("%(field)s: %(old)s → %(new)s") % words


def _shown(value: Any) -> str:
    text = text_of(value)
    return text if len(text) <= _LONGEST else "{…}"


def _brings(remedy: Remedy) -> str:
    if remedy.before is None or remedy.after is None:
        return ""
    words = {"before": format_size(remedy.before), "after": format_size(remedy.after)}
    if remedy.after >= remedy.before:
        needs = _("It likely needs %(before)s on each card.") % words
        return needs if remedy.is_enough else f"{needs} {_('That may still be too little.')}"
    told = _("Likely %(after)s instead of %(before)s on each card.") % words
    return told if remedy.is_enough else f"{told} {_('That alone is likely not enough.')}"
