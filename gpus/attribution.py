"""Whose memory it is: one reading of a card, split between its holders, others, and nobody. Pure.

    used = driver's reserve + memory of our holders' processes + foreign
    free = total - reserve - foreign - what each holder is charged for, and never more than total - used

Foreign is what we cannot explain: other people's processes, ghosts of ended attempts, memory without a process. It is
measured by subtraction, so that nothing is ever taken for free because nobody listed it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gpus.readings import DeviceReading, Holding, ProcessReading

PEAK_MARGIN = (
    1.03  # a holder is charged for its measured peak and a little more, or for its booking
)
YOUNG_SECONDS = 60.0  # in which memory may show on the card before it shows at its process


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One holder's part of a card."""

    key: str
    holder: str
    booked: int
    used: int | None  # None: the card cannot tell
    busy: float | None
    peak: int | None  # the most that its own processes were ever seen to use
    charge: int  # what it counts for when free memory is computed


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """The memory of a card, accounted for. `parts` follow the order of the holdings."""

    used: int | None
    foreign: int | None  # None: the card does not tell what is used
    ghost: int | None  # the part of it that no listed process holds
    free: int | None
    parts: tuple[Part, ...]
    strangers: frozenset[int] = frozenset()  # listed processes that belong to no holder

    @property
    def booked(self) -> int:
        """What is booked on the card."""
        return sum(part.booked for part in self.parts)


def account_for(
    reading: DeviceReading,
    holdings: Sequence[Holding],
    *,
    peaks: Mapping[str, int],
    ghost_before: int | None,
    now: float,
) -> Account:
    """Account for one card at `now`.

    `peaks` are the peaks by key so far; `ghost_before` is what was a ghost in the last reading, None in the first one
    (then no growth is known, and what cannot be explained is foreign).
    """
    # 1. What do the holders' own processes use?
    owned = {holding.key: _owned(holding, reading.processes) for holding in holdings}
    explained = {
        holding.key: _explained(holding, owned[holding.key], _peak(holding, peaks))
        for holding in holdings
    }
    # 2. What is left over, and which of it is a young holder's memory that does not show yet?
    foreign = ghost = None
    late: dict[str, int] = {}
    if reading.memory_used is not None:
        left = max(
            0, reading.memory_used - (reading.memory_reserved or 0) - sum(explained.values())
        )
        nameless = max(0, left - _named(reading.processes, holdings))
        growth = 0 if ghost_before is None else max(0, nameless - ghost_before)
        late = _late_memory(holdings, explained, growth, now)
        foreign, ghost = left - sum(late.values()), nameless - sum(late.values())
    # 3. What is each one charged for?
    parts = tuple(
        _part(holding, owned[holding.key], late.get(holding.key, 0), _peak(holding, peaks))
        for holding in holdings
    )
    return Account(
        used=reading.memory_used,
        foreign=foreign,
        ghost=ghost,
        free=_free(reading, foreign, parts),
        parts=parts,
        strangers=_strangers(reading.processes, holdings),
    )


def charge(booked: int, peak: int | None) -> int:
    """What a holder counts for: its booking, or its peak with a margin where that is more."""
    return max(booked, math.ceil((peak or 0) * PEAK_MARGIN))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Owned:
    memory: int | None
    busy: float | None


def _owned(holding: Holding, processes: tuple[ProcessReading, ...] | None) -> _Owned:
    if processes is None:
        return _Owned(memory=None, busy=None)
    mine = [process for process in processes if process.pid in holding.pids]
    memories = [process.memory for process in mine]
    shares = [process.busy for process in mine if process.busy is not None]
    return _Owned(
        memory=None if None in memories else sum(memory or 0 for memory in memories),
        busy=min(1.0, sum(shares)) if shares or not mine else None,
    )


def _peak(holding: Holding, peaks: Mapping[str, int]) -> int:
    return max(holding.peak or 0, peaks.get(holding.key, 0))


def _explained(holding: Holding, owned: _Owned, peak: int) -> int:
    """What a holder uses; where the card does not tell, the most that it should."""
    return max(holding.booked, peak) if owned.memory is None else owned.memory


def _named(processes: tuple[ProcessReading, ...] | None, holdings: Sequence[Holding]) -> int:
    """Memory that listed strangers hold: it is theirs, so that it is never a young holder's late memory."""
    strangers = _strangers(processes, holdings)
    return sum(process.memory or 0 for process in processes or () if process.pid in strangers)


def _late_memory(
    holdings: Iterable[Holding], explained: Mapping[str, int], growth: int, now: float
) -> dict[str, int]:
    """Growth that nobody explains, given to the young holders in turn, each up to its booking."""
    late: dict[str, int] = {}
    for holding in holdings:
        if 0 <= now - holding.since < YOUNG_SECONDS and growth > 0:
            room = max(0, holding.booked - explained[holding.key])
            late[holding.key] = min(room, growth)
            growth -= late[holding.key]
    return late


def _part(holding: Holding, owned: _Owned, late: int, peak: int) -> Part:
    peak = max(peak, owned.memory or 0)
    return Part(
        key=holding.key,
        holder=holding.holder,
        booked=holding.booked,
        used=None if owned.memory is None else owned.memory + late,
        busy=0.0 if holding.frozen else owned.busy,
        peak=peak or None,
        charge=charge(holding.booked, peak),
    )


def _free(reading: DeviceReading, foreign: int | None, parts: Sequence[Part]) -> int | None:
    if reading.memory_used is None or foreign is None:
        return None
    spoken_for = (reading.memory_reserved or 0) + foreign + sum(part.charge for part in parts)
    total = reading.memory_total
    return max(0, min(total - spoken_for, total - reading.memory_used))


def _strangers(
    processes: tuple[ProcessReading, ...] | None, holdings: Iterable[Holding]
) -> frozenset[int]:
    ours = frozenset().union(*(holding.pids for holding in holdings))
    return frozenset(process.pid for process in processes or ()) - ours
