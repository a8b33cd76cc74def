"""What the fleet keeps of each card and machine while decisions are made: mutable, and quick to ask.

`DeviceView` and `NodeView` are for those who ask; copying one costs more than finding a card.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from jobs.core.constraints import BUSY_SLACK, SHARE_STEPS, Need
from jobs.core.snapshot import DeviceView, NodeView

if TYPE_CHECKING:
    from jobs.core.scheduling.pools import Pool

Place = tuple[str, int, str]
"""Machine, index, uuid: the order among cards that are equal otherwise."""

CLOSED = -1  # takes no job whatever it asks for
VACANT = 100  # nobody on it, though something else is in its memory
EMPTY = 101
"""Where a card stands. From 0 to `SHARE_STEPS`: jobs are on it, and so many steps of SM demand may be added.

The greater the number, the more sorts of jobs may come: one comparison answers sharing, cap and SM demand together.
"""

UNLIMITED = math.inf  # however much is taken of it


def standing_for(need: Need) -> int:
    """The least standing of a card that takes jobs with this need, if their memory fits."""
    return VACANT if need.exclusive else round(need.sm_share * SHARE_STEPS)


class CardState:
    """One card: what is booked on it now, and what follows from that."""

    __slots__ = (
        "aside",
        "booked",
        "box",
        "busy",
        "exclusive",
        "holders",
        "is_stale",
        "measured",
        "place",
        "pool",
        "room",
        "seen",
        "spot",
        "standing",
        "total",
    )

    def __init__(self, view: DeviceView, box: Box) -> None:
        self.box = box
        self.place: Place = (view.node, view.index, view.uuid)
        self.total = view.total
        self.aside = False
        self.pool: Pool | None = None  # the index that lists it
        self.spot: tuple[int, Place, CardState] | None = None  # its entry there
        self.see(view)

    def see(self, view: DeviceView) -> None:
        """Take over everything that the view says; call `settle` after it."""
        self.seen = view
        self.is_stale = False
        self.booked = view.booked
        self.measured = view.measured_free
        self.holders = view.holders
        self.exclusive = view.exclusive
        self.busy = view.busy
        self.settle()

    def view(self) -> DeviceView:
        """The card as it is now."""
        if self.is_stale:
            self.seen = replace(
                self.seen,
                booked=self.booked,
                measured_free=self.measured,
                holders=self.holders,
                exclusive=self.exclusive,
                busy=self.busy,
            )
            self.is_stale = False
        return self.seen

    def add(self, need: Need, memory: int) -> None:
        """Count one more job, with `memory` bytes."""
        self.is_stale = True
        self.booked += memory
        self.holders += 1
        self.busy += need.sm_share
        if self.measured is not None:
            self.measured -= memory
        self.exclusive = self.exclusive or need.exclusive
        self.settle()

    def subtract(self, need: Need, memory: int) -> None:
        """Count one job less; what it gives back counts as measured free."""
        self.is_stale = True
        self.booked = max(0, self.booked - memory)
        self.holders = max(0, self.holders - 1)
        self.busy = max(0.0, self.busy - need.sm_share) if self.holders else 0.0
        if self.measured is not None:
            self.measured = min(self.total, self.measured + memory)
        self.exclusive = self.exclusive and not need.exclusive and self.holders > 0
        self.settle()

    def settle(self) -> None:
        """Work out `room` (as `constraints.room` does) and `standing`."""
        seen = self.seen
        is_empty = not self.holders and not self.booked and seen.foreign <= seen.safety
        ceiling = self.total if is_empty else int(seen.threshold * self.total)
        left = ceiling - seen.foreign - seen.safety - self.booked
        self.room = max(0, min(left, self.measured or 0))
        self.standing = EMPTY if is_empty else self._standing()
        is_full = seen.max_holders is not None and self.holders >= seen.max_holders
        if is_full or self.measured is None or seen.drained or self.exclusive:
            self.standing = CLOSED

    def after(self, need: Need) -> tuple[int, int]:
        """What `room` and `standing` would be with one more job on it."""
        seen = self.seen
        ceiling = int(seen.threshold * self.total)
        left = ceiling - seen.foreign - seen.safety - self.booked - need.memory
        room = max(0, min(left, (self.measured or 0) - need.memory))
        is_full = seen.max_holders is not None and self.holders + 1 >= seen.max_holders
        if is_full or need.exclusive:
            return room, CLOSED
        return room, _steps_left(seen.max_busy, self.busy + need.sm_share)

    def _standing(self) -> int:
        return _steps_left(self.seen.max_busy, self.busy) if self.holders else VACANT


def _steps_left(most: float | None, busy: float) -> int:
    if most is None:
        return SHARE_STEPS
    return max(0, min(SHARE_STEPS, int((most - busy + BUSY_SLACK) * SHARE_STEPS)))


class Box:
    """The cards of one model on one machine: what a gang is chosen from."""

    __slots__ = ("cards", "machine", "name", "total")

    def __init__(self, name: str, machine: Machine) -> None:
        self.name = name
        self.machine = machine
        self.cards: list[CardState] = []
        self.total: int | None = None  # bytes of each card; None: they differ, or there is none

    def put(self, card: CardState) -> None:
        """One card more."""
        self.cards.append(card)
        self._measure()

    def drop(self, card: CardState) -> None:
        """One card less."""
        self.cards.remove(card)
        self._measure()

    def _measure(self) -> None:
        sizes = {card.total for card in self.cards}
        self.total = sizes.pop() if len(sizes) == 1 else None


class Machine:
    """What one machine has beside its cards; nothing is limited until a view says so."""

    __slots__ = ("boxes", "cpus", "host_memory", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.cpus: float = UNLIMITED
        self.host_memory: float = UNLIMITED
        self.boxes: dict[str, Box] = {}

    def see(self, view: NodeView) -> None:
        """Take over what the view says is left."""
        self.cpus = view.cpus
        self.host_memory = view.host_memory

    @property
    def room(self) -> int:
        """Bytes that may still be booked on its cards."""
        return sum(
            card.room
            for box in self.boxes.values()
            for card in box.cards
            if card.standing != CLOSED
        )

    def hosts(self, need: Need) -> bool:
        """Whether it has the processors and the main memory; who asks for none gets none anywhere."""
        return (not need.host_cpus or need.host_cpus <= self.cpus) and (
            not need.host_memory or need.host_memory <= self.host_memory
        )

    def add(self, need: Need, times: int = 1) -> None:
        """Count what a job takes of it; `times` -1 gives it back."""
        self.cpus -= times * need.host_cpus
        self.host_memory -= times * need.host_memory
