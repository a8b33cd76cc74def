"""Which machines a gang gets: for each count of cards, the machines by the room that so many cards of theirs have.

A machine with five cards that take the job and a sixth that does not stands in the fifth list at or above the job's
memory, and below it in the sixth. So bisection tells how many machines leave how many cards over, without a look at
each.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from jobs.core.scheduling.cards import Box

NO_CARD = -1  # room of a card that is not there

_Entry = tuple[int, int, str, Box]  # room of the n-th card, of the next one, machine, box


class Rank(NamedTuple):
    """How well a box suits a gang: smaller is better."""

    total: int  # bytes of its largest card
    fitting: int  # its cards that take the job: the fewer, the fewer are left over
    least: int  # the least room of these
    next_room: int  # the most room of the others
    machine: str
    name: str


class GangView:
    """The boxes of one type of cards as gangs of one sort see them.

    Boxes that changed are looked at again when somebody asks, so a change costs little while nobody does.
    """

    __slots__ = ("_dirty", "_lists", "_rooms", "_standing", "_total")

    def __init__(self, total: int, standing: int, boxes: Iterable[Box]) -> None:
        self._total = total
        self._standing = standing
        self._rooms: dict[Box, tuple[int, ...]] = {}  # of its usable cards, falling
        self._lists: list[list[_Entry]] = [[]]
        self._dirty = set(boxes)

    def touch(self, box: Box) -> None:
        """This box has changed."""
        self._dirty.add(box)

    def ranked(self, memory: int, gpus: int, but: Iterable[Box]) -> Iterator[tuple[Rank, Box]]:
        """Boxes with at least `gpus` cards for the job, the best first, without those in `but`."""
        self._catch_up()
        starts = [bisect_left(entries, (memory,)) for entries in self._lists]
        for at in range(gpus - 1, len(self._lists) - 1):
            entries = self._lists[at]
            beyond = len(self._lists[at + 1]) - starts[at + 1]
            exact = len(entries) - starts[at] - beyond
            for entry in _exactly(entries, starts[at], memory, exact):
                least, next_room, machine, box = entry
                if box not in but:
                    yield Rank(self._total, at + 1, least, next_room, machine, box.name), box

    def _catch_up(self) -> None:
        for box in self._dirty:
            before, after = self._rooms.get(box, ()), self._seen(box)
            if before != after:
                self._move(box, before, after)
        self._dirty.clear()

    def _seen(self, box: Box) -> tuple[int, ...]:
        if box.total != self._total:
            return ()
        standing = self._standing
        rooms = [card.room for card in box.cards if card.standing >= standing and not card.aside]
        rooms.sort(reverse=True)
        return tuple(rooms)

    def _move(self, box: Box, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        self._rooms[box] = after
        while len(self._lists) <= len(after):
            self._lists.append([])
        for at, entries in enumerate(self._lists):
            old, new = _entry(box, before, at), _entry(box, after, at)
            if old == new:
                continue
            if old:
                del entries[bisect_left(entries, old)]
            if new:
                insort(entries, new)


def _entry(box: Box, rooms: tuple[int, ...], at: int) -> _Entry | None:
    if at >= len(rooms):
        return None
    next_room = rooms[at + 1] if at + 1 < len(rooms) else NO_CARD
    return rooms[at], next_room, box.machine.name, box


def _exactly(entries: list[_Entry], at: int, memory: int, count: int) -> Iterator[_Entry]:
    """The `count` entries from `at` on whose next card has too little room.

    Of equal rooms the smallest next room comes first: if that one is too large, so are the others, and are passed over.
    """
    while count:
        entry = entries[at]
        if entry[1] < memory:
            yield entry
            count -= 1
            at += 1
        elif at + 1 < len(entries) and entries[at + 1][0] == entry[0]:
            at = bisect_left(entries, (entry[0] + 1,), at + 1)
        else:
            at += 1
