"""The waste ledger: what was held, or could have been, and brought nothing; with the jobs behind each figure."""

from __future__ import annotations

from collections.abc import Iterable, KeysView
from dataclasses import dataclass, field

from jobs.core.reports.bookings import FAILED, LOST, OOM, DayPart
from jobs.core.reports.usage import HOUR
from jobs.core.states import Outcome

UNUSED, IDLE, PREEMPTED, PAUSED, GHOST, WAITED = (
    "unused",
    "idle",
    "preempted",
    "paused",
    "ghost",
    "waited",
)
OF_JOBS = (UNUSED, IDLE, PREEMPTED, PAUSED, FAILED, OOM, LOST)
"""The kinds that are parts of bookings; the other two are of cards."""

BY_MEMORY = frozenset({UNUSED, GHOST})
"""The kinds whose amount is memory; of the others it is card time."""

_THROWN_AWAY = {Outcome.PREEMPTED.value: PREEMPTED, Outcome.SUSPENDED.value: PAUSED}


@dataclass(slots=True)
class Amount:
    """Card time in microseconds, and memory in GiB-microseconds."""

    time: int = 0
    memory: int = 0

    @property
    def gpu_hours(self) -> float:
        """Hours of cards."""
        return self.time / HOUR

    @property
    def memory_hours(self) -> float:
        """GiB x hours."""
        return self.memory / HOUR


@dataclass(slots=True)
class Entry:
    """One kind of waste: the whole of it, and what is behind it by name (a job's public id, or a card's).

    Numbers by name, and no object for each: a year has many jobs.
    """

    kind: str
    whole: Amount = field(default_factory=Amount)
    times: dict[str, int] = field(default_factory=dict)
    memories: dict[str, int] = field(default_factory=dict)

    @property
    def behind(self) -> KeysView[str]:
        """The names."""
        return self.times.keys()

    def add(self, name: str, time: int, memory: int) -> None:
        """Count a part, and who it belongs to."""
        self.whole.time += time
        self.whole.memory += memory
        self.times[name] = self.times.get(name, 0) + time
        self.memories[name] = self.memories.get(name, 0) + memory

    def largest(self, most: int | None = None) -> list[tuple[str, Amount]]:
        """What is behind it, the largest first; at most so many."""
        sizes = self.memories if self.kind in BY_MEMORY else self.times
        pairs = list(sizes.items())
        if most is not None and len(pairs) > most:
            least = sorted(sizes.values())[-most]
            pairs = [pair for pair in pairs if pair[1] >= least]
        names = [name for name, _size in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))]
        return [(name, Amount(self.times[name], self.memories[name])) for name in names[:most]]


@dataclass(slots=True)
class Waste:
    """The kinds that are parts of bookings, and the jobs of which nothing was ever measured."""

    entries: dict[str, Entry] = field(
        default_factory=lambda: {kind: Entry(kind) for kind in OF_JOBS}
    )
    unmeasured: set[str] = field(default_factory=set)

    def add(self, part: DayPart) -> None:
        """Count one part of a booking."""
        if part.held:
            if part.spare:
                self.entries[UNUSED].add(part.job, part.held, part.spare)
            elif part.spare is None:
                self.unmeasured.add(part.job)
            if part.idle:
                self.entries[IDLE].add(part.job, part.idle, part.idle_memory)
            if part.waste:
                self.entries[part.waste].add(part.job, part.held, part.memory)
        self.throw_away(part.job, part.outcome, part.lost)

    def throw_away(self, job: str, outcome: str, lost: int) -> None:
        """Count the work that an attempt which ended so has lost."""
        if lost and outcome in _THROWN_AWAY:
            self.entries[_THROWN_AWAY[outcome]].add(job, lost, 0)


def of_cards(kind: str, amounts: Iterable[tuple[str, int, int]]) -> Entry:
    """A kind that is of cards or of waiting jobs: names with time and memory."""
    entry = Entry(kind)
    for name, time, memory in amounts:
        if time or memory:
            entry.add(name, time, memory)
    return entry
