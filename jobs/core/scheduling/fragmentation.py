"""Placement against fragmentation: a job goes where the memory that the usual jobs cannot use grows least.

The measure is that of Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation
Gradient Descent", USENIX ATC 2023. The workload is a set of shapes with weights. To one shape, all that is free on a
machine is lost where the machine cannot take it; where it can, what is free on cards with too little for it is lost.
A machine's fragmentation is the mean of that over the shapes; a shape without cards can use no card at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from jobs.core.constraints import Need
from jobs.core.scheduling.cards import CLOSED, CardState, Machine, standing_for
from jobs.core.scheduling.scored import Score, Scored
from jobs.core.scheduling.stock import Stock

Cards = tuple[tuple[int, int, int], ...]
"""Room, standing and size (bytes, a standing, bytes) of each card of one model on one machine, sorted."""

Left = tuple[float, float, tuple[tuple[str, Cards], ...]]
"""What a machine has left: processors, main memory, its cards by model."""

_MOST_REMEMBERED = 200_000
_STEPS = 25  # in which growth is told apart, for each card
_SLACK = 1e-6  # of a step: sums of weights are not exact


class Workload:
    """The shapes that jobs come in, and what machines have left that these cannot use."""

    def __init__(self, stock: Stock, shapes: Mapping[Need, float]) -> None:
        self._stock = stock
        total = sum(shapes.values()) or 1.0
        self._by_demand: dict[tuple[str | None, int, int], list[tuple[Need, float]]] = {}
        for need, weight in shapes.items():
            demand = need.gpu_type, need.memory, standing_for(need)
            self._by_demand.setdefault(demand, []).append((need, weight / total))
        self._known: dict[Left, float] = {}

    def fragmentation(self, left: Left) -> float:
        """Bytes of room on the machine's cards that are lost to a job of the workload, on average."""
        known = self._known.get(left)
        if known is None:
            if len(self._known) > _MOST_REMEMBERED:
                self._known.clear()
            cpus, host_memory, boxes = left
            known = sum(self._lost(cpus, host_memory, name, cards) for name, cards in boxes)
            self._known[left] = known
        return known

    def _lost(self, cpus: float, host_memory: float, name: str, cards: Cards) -> float:
        free = sum(room for room, _, _ in cards)
        if not free:
            return 0.0
        lost = 0.0
        for (gpu_type, memory, standing), shapes in self._by_demand.items():
            usable = [
                room
                for room, stands, total in cards
                if room >= memory
                and stands >= standing
                and self._stock.matches(gpu_type, name, total)
            ]
            count, unusable = len(usable), free - sum(usable)
            for need, weight in shapes:
                takes = (
                    0 < need.gpus <= count
                    and need.host_cpus <= cpus
                    and need.host_memory <= host_memory
                )
                lost += weight * (unusable if takes else free)
        return lost


class Fragmentation(Scored):
    """Places each job where the fragmentation of its machine grows least; of equals, where the least room is left.

    Growth is counted in whole steps of a twenty-fifth of the largest card. Without steps, differences that mean
    nothing spread the jobs over all machines (benchmarks/README.md has the figures). Without shapes, all are equal.
    """

    def __init__(self, stock: Stock) -> None:
        super().__init__(stock)
        self._workload = Workload(stock, {})

    def expect(self, shapes: Mapping[Need, float]) -> None:
        """Reckon with these shapes from now on; a weight says how often one comes, relative to the others."""
        self._workload = Workload(self._stock, shapes)
        self.forget()

    def score(
        self, need: Need, machine: Machine, fitting: Sequence[CardState]
    ) -> tuple[Score, tuple[CardState, ...]]:
        """By how much the machine's fragmentation grows with the job on the best of these cards, and its room."""
        before = self._workload.fragmentation(left_on(machine))
        ways = _ways(need, fitting)
        growths = [self._grown(need, machine, cards) - before for cards in ways]
        least = min(growths)
        step = max(1, self._stock.largest) / _STEPS
        return (math.floor(least / step + _SLACK), machine.room), ways[growths.index(least)]

    def _grown(self, need: Need, machine: Machine, cards: Iterable[CardState]) -> float:
        return self._workload.fragmentation(left_on(machine, need, frozenset(cards)))


def _ways(need: Need, fitting: Sequence[CardState]) -> list[tuple[CardState, ...]]:
    """The sets of cards worth comparing: each different card for a job on one, the tightest for a gang."""
    if need.gpus != 1:
        return [tuple(fitting[: need.gpus])]
    different = {(card.room, card.standing): card for card in reversed(fitting)}
    return [(card,) for card in reversed(different.values())]


def left_on(
    machine: Machine, need: Need | None = None, taken: frozenset[CardState] = frozenset()
) -> Left:
    """What the machine has left, with the need on these of its cards if it is given."""
    cpus, host_memory = machine.cpus, machine.host_memory
    if need:
        cpus, host_memory = cpus - need.host_cpus, host_memory - need.host_memory
    boxes = []
    for name, box in machine.boxes.items():
        cards = []
        for card in box.cards:
            room, standing = (
                card.after(need) if need and card in taken else (card.room, card.standing)
            )
            if standing != CLOSED:
                cards.append((room, standing, card.total))
        boxes.append((name, tuple(sorted(cards))))
    return cpus, host_memory, tuple(boxes)
