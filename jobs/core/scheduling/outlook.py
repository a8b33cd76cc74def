"""When a card will have room for a job that does not fit now, and what else it may take until then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.core.constraints import Need
from jobs.core.snapshot import DeviceView, RunView

NOW = -math.inf  # room is there already, or on its way


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one card offers to one need."""

    uuid: str
    node: str
    name: str
    rank: tuple[float, int, int, str, int]  # smaller is better
    at: float  # when there is room; infinite where nobody can tell
    spare: int  # bytes that stay free beside the job from then on
    slots: float  # how many more jobs the card may hold beside it


def outlook(need: Need, card: DeviceView, runs: Sequence[tuple[RunView, int]]) -> Outlook | None:
    """When `card`, with these jobs on it, will have room for `need`; None where it will not even when it is empty.

    Jobs with a known end leave in the order of their ends. Where these do not suffice, those without one are expected
    to leave too, except for as many as can stay beside the job, the youngest first: so what is let in beside a job
    that waits does not have to leave again.
    """
    books = _Books(need, card)
    if not books.fits(0, 0):
        return None
    ends = sorted((_end(run), run.started_at, run.job.id, memory) for run, memory in runs)
    unknown = card.booked - sum(memory for _run, memory in runs)
    ends += [(math.inf, -math.inf, "", unknown)] if unknown > 0 else []
    at, stay, count = _first_fit(books, ends)
    must_leave = 0
    if math.isinf(at) and at > 0:
        endless = [entry for entry in ends if entry[0] == math.inf]
        stay, count = _that_may_stay(books, endless)
        must_leave = sum(entry[3] for entry in endless) - stay
    return Outlook(
        uuid=card.uuid,
        node=card.node,
        name=card.name,
        rank=(at, must_leave, card.total, card.node, card.index),
        at=at,
        spare=books.spare(stay, count),
        slots=books.slots(count),
    )


class _Books:
    """What a card can hold beside the job."""

    def __init__(self, need: Need, card: DeviceView) -> None:
        self._need = need
        self._shared = int(card.threshold * card.total) - card.foreign - card.safety
        alone = card.total if card.foreign <= card.safety else int(card.threshold * card.total)
        self._alone = alone - card.foreign - card.safety
        self._most = math.inf if card.max_holders is None else card.max_holders

    def fits(self, memory: int, count: int) -> bool:
        """Whether the job fits beside `count` jobs that hold `memory`."""
        if count == 0:
            return self._need.memory <= self._alone
        if self._need.exclusive or count + 1 > self._most:
            return False
        return self._need.memory + memory <= self._shared

    def spare(self, memory: int, count: int) -> int:
        if self._need.exclusive or count + 1 >= self._most:
            return -1
        return self._shared - self._need.memory - memory

    def slots(self, count: int) -> float:
        return self._most - count - 1


_Entry = tuple[float, float, str, int]


def _end(run: RunView) -> float:
    return NOW if run.leaving else run.expected_end


def _first_fit(books: _Books, ends: Sequence[_Entry]) -> tuple[float, int, int]:
    """The earliest end after which the job fits, and what is left then: bytes and jobs."""
    left, count = sum(entry[3] for entry in ends), len(ends)
    if books.fits(left, count):
        return NOW, left, count
    for at, _started, _job, memory in ends:
        if at == math.inf:
            break
        left, count = left - memory, count - 1
        if books.fits(left, count):
            return at, left, count
    return math.inf, left, count


def _that_may_stay(books: _Books, endless: Sequence[_Entry]) -> tuple[int, int]:
    stay = count = 0
    for _at, _started, _job, memory in sorted(endless, key=lambda entry: entry[1:3], reverse=True):
        if books.fits(stay + memory, count + 1):
            stay, count = stay + memory, count + 1
    return stay, count
