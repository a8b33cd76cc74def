"""Out of memory: what PyTorch's message tells of it, and with what a job is tried again, if at all.

The message's parts were read in c10/cuda/CUDACachingAllocator.cpp and in logs: PyTorch 2.1 and later tell the memory of
the whole process, 2.0 and earlier only what PyTorch has reserved.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from jobs.core.estimate.answer import MARGIN
from jobs.core.states import Reason
from jobs.core.units import GIB

OF_A_CARD = frozenset({Reason.GPU_OUT_OF_MEMORY, Reason.OVER_MEMORY})
"""The card's memory ran out for it: by its own word, or because the watchdog ended it above its booking."""

OUT_OF_MEMORY = OF_A_CARD | {Reason.HOST_OUT_OF_MEMORY}

GROWTH = 1.5
"""How much more is booked for the next attempt, at least, where nothing tells how much was missing."""

_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = r"(\d+(?:\.\d+)?) (bytes|KiB|MiB|GiB|TiB)"
_PATTERNS = {
    "tried": (rf"Tried to allocate {_SIZE}",),
    "in_use": (rf"this process has {_SIZE} memory in use", rf"{_SIZE} reserved in total"),
    "allocated": (rf"allocated memory {_SIZE} is allocated",),
    "reserved": (rf"{_SIZE} is reserved by PyTorch but unallocated",),
    "free": (rf"of which {_SIZE} is free", rf"{_SIZE} free;"),
    "total": (rf"total capac(?:i)?ty of {_SIZE}", rf"{_SIZE} total capacity"),
    "allowed": (rf"{_SIZE} allowed;",),
}
_LARGEST = 2**50
"""Bytes above which a size is a mistake: PyTorch prints 17179869184.00 GiB where the driver cannot tell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortage:
    """What PyTorch said when an allocation failed, in bytes; None where it did not say."""

    tried: int | None = None  # the allocation that failed
    in_use: int | None = None  # by the process, before it
    free: int | None = None  # on the card
    total: int | None = None  # of the card
    allowed: int | None = None  # to the process; None: no cap

    @property
    def wanted(self) -> int | None:
        """What the process would have had after the allocation: it needs at least this much."""
        if self.tried is None or self.in_use is None:
            return None
        return self.tried + self.in_use

    @property
    def is_capped(self) -> bool:
        """Whether it met the cap of its booking, and not the end of the card: there was room for what it asked for."""
        return self.allowed is not None and (self.free or 0) >= (self.tried or 0)

    def as_dict(self) -> dict[str, int]:
        """The known values by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Had:
    """What an attempt had on each of its cards, in bytes."""

    memory: int  # booked
    exclusive: bool = False
    peak: int | None = None  # the most that was measured

    def needed(self, shortage: Shortage | None) -> int:
        """What is known to have been needed: by the message, else more than it had and more than was measured."""
        told = shortage.wanted if shortage else None
        if told is not None:
            return max(told, self.peak or 0)
        return round(max(self.memory, self.peak or 0) * MARGIN)


@dataclass(frozen=True, kw_only=True, slots=True)
class NextNeed:
    """With what a job that ran out of GPU memory is tried again."""

    memory: int  # bytes to book on each card
    exclusive: bool


def shortage_in(text: str) -> Shortage | None:
    """What the last message of this kind in `text` says; None without one."""
    start = text.rfind("Tried to allocate")
    if start < 0:
        return None
    message = text[start:].partition("\n")[0]
    found = {name: _first(patterns, message) for name, patterns in _PATTERNS.items()}
    allocated, reserved = found.pop("allocated"), found.pop("reserved")
    if found["in_use"] is None and allocated is not None:
        # In a container PyTorch does not know which process is its own, but what it has itself it does.
        found["in_use"] = allocated + (reserved or 0)
    return Shortage(**found)


def next_need(
    had: Had, shortage: Shortage | None, largest: int, *, formula: int = 0
) -> NextNeed | None:
    """What the next attempt is to have, never the same again; None where nothing here is more.

    Args:
        had: what this attempt had.
        shortage: what its message said.
        largest: bytes that a job may have at most on a card that this one may run on.
        formula: bytes that its config is likely to need; it counts as far as a card has them, because a formula takes
            every row to be as long as allowed.
    """
    needed = had.needed(shortage)
    if _is_squeezed(had, shortage) and not had.exclusive:
        return NextNeed(memory=had.memory, exclusive=True)
    likely = formula if in_whole_gib(formula) <= largest else 0
    more = in_whole_gib(max(had.memory * GROWTH, needed * MARGIN, likely))
    if more <= largest:
        return NextNeed(memory=more, exclusive=had.exclusive)
    whole = max(largest // GIB * GIB, had.memory)
    is_more = whole > had.memory or not had.exclusive
    if needed > largest or not is_more or whole > largest:
        return None
    return NextNeed(memory=whole, exclusive=True)


def _is_squeezed(had: Had, shortage: Shortage | None) -> bool:
    """Whether it was within its booking, and met no cap: then others had what was booked for it."""
    if shortage is None or shortage.wanted is None:
        return False
    return shortage.wanted <= had.memory and not shortage.is_capped


def in_whole_gib(size: float) -> int:
    """Bytes, up to the next whole GiB."""
    return int(-(-size // GIB)) * GIB


def _first(patterns: tuple[str, ...], message: str) -> int | None:
    for pattern in patterns:
        if found := re.search(pattern, message):
            return _bytes(found)
    return None


def _bytes(found: re.Match[str]) -> int | None:
    size = round(float(found[1]) * _UNITS[found[2]])
    return size if size < _LARGEST else None
