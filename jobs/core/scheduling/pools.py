"""Which single card a job gets: sorted lists that answer without a look at every card.

Cards in use are listed by their room, apart for each standing; empty ones by how many empty cards their machine has.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable

from jobs.core.scheduling.cards import CLOSED, EMPTY, CardState, Place

Entry = tuple[int, Place, CardState]
"""Its first number, its place, the card: entries of one list compare without reaching the card."""

Admits = Callable[[CardState], bool]


class Pool:
    """The cards of one type that take jobs. `add` and `remove` whenever a card's room or standing changes."""

    __slots__ = ("_empty", "_machines", "_used")

    def __init__(self) -> None:
        self._used: dict[int, list[Entry]] = {}  # by standing, each sorted by room
        self._empty: dict[str, list[Entry]] = {}  # by machine
        self._machines: dict[int, list[str]] = {}  # by how many empty cards they have

    def add(self, card: CardState) -> None:
        """List the card, unless it takes nothing."""
        if card.standing == CLOSED:
            card.pool = None
            return
        card.pool = self
        if card.standing == EMPTY:
            card.spot = entry = (EMPTY, card.place, card)
            self._change_empty(card.place[0], entry, 1)
        else:
            card.spot = entry = (card.room, card.place, card)
            insort(self._used.setdefault(card.standing, []), entry)

    def remove(self, card: CardState, standing: int) -> None:
        """Take the card out; `standing` is what it had when it was added."""
        entry = card.spot
        card.pool = card.spot = None
        if entry is None:
            return
        if standing == EMPTY:
            self._change_empty(card.place[0], entry, -1)
        else:
            entries = self._used[standing]
            del entries[bisect_left(entries, entry)]

    def tightest_in_use(self, memory: int, standing: int, admits: Admits | None) -> Entry | None:
        """The card in use with the least room of those that take the job."""
        best: Entry | None = None
        for each, entries in self._used.items():
            if each < standing:
                continue
            for at in range(bisect_left(entries, (memory,)), len(entries)):
                entry = entries[at]
                if best is not None and entry >= best:
                    break
                if admits is None or admits(entry[2]):
                    best = entry
                    break
        return best

    def best_empty(self, memory: int, admits: Admits | None) -> Entry | None:
        """An empty card of the machine with the fewest of them. The first number tells how many it has."""
        for count in sorted(self._machines):
            for name in self._machines[count]:
                for _, place, card in self._empty[name]:
                    if card.room >= memory and (admits is None or admits(card)):
                        return count, place, card
        return None

    def _change_empty(self, machine: str, entry: Entry, by: int) -> None:
        entries = self._empty.setdefault(machine, [])
        if entries:
            self._recount(machine, len(entries), remove=True)
        if by > 0:
            insort(entries, entry)
        else:
            entries.remove(entry)
        if entries:
            self._recount(machine, len(entries), remove=False)

    def _recount(self, machine: str, count: int, *, remove: bool) -> None:
        names = self._machines.setdefault(count, [])
        if remove:
            del names[bisect_left(names, machine)]
        else:
            insort(names, machine)
