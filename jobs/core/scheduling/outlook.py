"""When a card will have room for a job that does not fit now, and what else it may take until then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jobs.core.constraints import BUSY_SLACK, Need, in_steps
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
    idle: float  # the SM demand that may be added beside it


class _Load(NamedTuple):
    """What jobs on a card come to."""

    memory: int = 0
    jobs: int = 0
    busy: float = 0.0

    def plus(self, entry: _Entry) -> _Load:
        return _Load(self.memory + entry.memory, self.jobs + 1, self.busy + entry.busy)

    def minus(self, entry: _Entry) -> _Load:
        return _Load(self.memory - entry.memory, self.jobs - 1, self.busy - entry.busy)


class _Entry(NamedTuple):
    """A job on the card; they sort by their ends."""

    end: float
    started: float
    job: str
    memory: int
    busy: float


def outlook(need: Need, card: DeviceView, runs: Sequence[tuple[RunView, int]]) -> Outlook | None:
    """When `card`, with these jobs on it, will have room for `need`; None where it will not even when it is empty.

    Jobs with a known end leave in the order of their ends. Where these do not suffice, those without one are expected
    to leave too, except for as many as can stay beside the job, the youngest first: so what is let in beside a job
    that waits does not have to leave again.
    """
    books = _Books(need, card)
    if not books.fits(_Load()):
        return None
    entries = _entries(card, runs)
    at, stay = _first_fit(books, entries)
    must_leave = 0
    if math.isinf(at) and at > 0:
        endless = [entry for entry in entries if entry.end == math.inf]
        stay = _that_may_stay(books, endless)
        must_leave = sum(entry.memory for entry in endless) - stay.memory
        # those with an end may still be there when the others have gone: they use up what is spare, too
        stay = _that_may_stay(books, entries)
    return Outlook(
        uuid=card.uuid,
        node=card.node,
        name=card.name,
        rank=(at, must_leave, card.total, card.node, card.index),
        at=at,
        spare=books.spare(stay),
        slots=books.slots(stay),
        idle=books.idle(stay),
    )


class _Books:
    """What a card can hold beside the job."""

    def __init__(self, need: Need, card: DeviceView) -> None:
        self._need = need
        self._shared = int(card.threshold * card.total) - card.foreign - card.safety
        alone = card.total if card.foreign <= card.safety else int(card.threshold * card.total)
        self._alone = alone - card.foreign - card.safety
        self._most = math.inf if card.max_holders is None else card.max_holders
        is_capped = card.max_busy is not None and need.sm_share
        self._most_busy = (card.max_busy or 0.0) + BUSY_SLACK if is_capped else math.inf

    def fits(self, load: _Load) -> bool:
        """Whether the job fits beside this."""
        if load.jobs == 0:
            return self._need.memory <= self._alone
        if self._need.exclusive or self.slots(load) < 0 or self.idle(load) < 0:
            return False
        return self._need.memory + load.memory <= self._shared

    def spare(self, load: _Load) -> int:
        if self._need.exclusive or self.slots(load) <= 0:
            return -1
        return self._shared - self._need.memory - load.memory

    def slots(self, load: _Load) -> float:
        return self._most - load.jobs - 1

    def idle(self, load: _Load) -> float:
        return self._most_busy - self._need.sm_share - load.busy


def _entries(card: DeviceView, runs: Sequence[tuple[RunView, int]]) -> list[_Entry]:
    known = [
        _Entry(_end(run), run.started_at, run.job.id, memory, in_steps(run.job.sm_share))
        for run, memory in runs
    ]
    rest = card.booked - sum(entry.memory for entry in known)
    if rest > 0:
        known.append(_Entry(math.inf, -math.inf, "", rest, 0.0))
    return sorted(known)


def _end(run: RunView) -> float:
    return NOW if run.leaving else run.expected_end


def _first_fit(books: _Books, entries: Sequence[_Entry]) -> tuple[float, _Load]:
    """The earliest end after which the job fits, and what is left then."""
    left = _Load()
    for entry in entries:
        left = left.plus(entry)
    if books.fits(left):
        return NOW, left
    for entry in entries:
        if entry.end == math.inf:
            break
        left = left.minus(entry)
        if books.fits(left):
            return entry.end, left
    return math.inf, left


def _that_may_stay(books: _Books, endless: Sequence[_Entry]) -> _Load:
    stay = _Load()
    for entry in sorted(endless, key=lambda entry: (entry.started, entry.job), reverse=True):
        if books.fits(stay.plus(entry)):
            stay = stay.plus(entry)
    return stay
