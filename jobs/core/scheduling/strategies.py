"""Who chooses among the cards that may be used: one class for each name that `Rules.placement` may have.

`best-fit` is for every day. `fragmentation` may pack a large fleet of cards of one size a little tighter. `random` and
`bestfit-published` are there to compare with: benchmarks/README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from jobs.core.constraints import Need
from jobs.core.scheduling.bestfit import BestFit
from jobs.core.scheduling.cards import UNLIMITED, CardState, Machine
from jobs.core.scheduling.fragmentation import Fragmentation
from jobs.core.scheduling.scored import Score, Scored, Site
from jobs.core.scheduling.stock import Stock

Pick = Callable[[int], int]
"""Draws a whole number from 0 up to, and without, the one given."""

_MOST_CARDS, _MOST_CPUS = (
    8,
    128_000,
)  # the largest machine's cards and processors (thousandths), as published

NAMES = ("best-fit", "fragmentation", "random", "bestfit-published")


class Strategy(Protocol):
    """Chooses among the cards that may be used; every rule holds on what it answers."""

    def cards(self, need: Need, also: Collection[str]) -> list[CardState] | None:
        """The cards for a need; those set aside only where they are in `also`. None: it finds no place now."""
        ...

    def machines(self, need: Need) -> list[Machine]:
        """For a need without cards: as many machines as it wants, or fewer where there are too few."""
        ...


class Random(Scored):
    """Any machine that takes the job, and any of its cards that do."""

    def __init__(self, stock: Stock, pick: Pick) -> None:
        super().__init__(stock)
        self._pick = pick

    def score(
        self, _need: Need, _machine: Machine, fitting: Sequence[CardState]
    ) -> tuple[Score, tuple[CardState, ...]]:
        """All are equal, and all cards are kept to draw from."""
        return (0, 0), tuple(fitting)

    def choose(self, sites: Sequence[Site]) -> Site:
        """Any of them."""
        return sites[self._pick(len(sites))]

    def cards(self, need: Need, also: Collection[str]) -> list[CardState] | None:
        """Cards that take the job, drawn."""
        found = super().cards(need, also)
        if found is None or need.nodes > 1:
            return found
        return [found.pop(self._pick(len(found))) for _ in range(need.gpus)]


class PublishedBestFit(Scored):
    """The best fit that published comparisons use: the machine with the least processors and cards left over.

    Both are counted as parts of the largest machine's, with equal weight, and the result in whole hundredths: Weng et
    al., USENIX ATC 2023, and the simulator that was published with it.
    """

    def score(
        self, need: Need, machine: Machine, fitting: Sequence[CardState]
    ) -> tuple[Score, tuple[CardState, ...]]:
        """What is left over, in whole hundredths of the largest machine; less than nothing is the worst."""
        cards = tuple(fitting[: need.gpus])
        free = sum(card.room / card.total for box in machine.boxes.values() for card in box.cards)
        rooms = free - sum(need.memory / card.total for card in cards)
        cpus = 0 if machine.cpus == UNLIMITED else machine.cpus - need.host_cpus
        left = rooms / _MOST_CARDS / 2 + cpus / _MOST_CPUS / 2
        return (-int(100 * (1 - left)), 0), cards


def named(name: str, stock: Stock, pick: Pick | None) -> Strategy:
    """The strategy of this name, over these cards.

    Raises:
        ValueError: no strategy has this name, or it draws and there is no `pick`.
    """
    if name == "best-fit":
        return BestFit(stock)
    if name == "fragmentation":
        return Fragmentation(stock)
    if name == "bestfit-published":
        return PublishedBestFit(stock)
    if name != "random":
        raise ValueError(
            f"The placement {name!r} is unknown. Allowed are {', '.join(NAMES)}: choose one of them."
        )
    if pick is None:
        raise ValueError("The placement 'random' has nothing to draw with: give it `pick`.")
    return Random(stock, pick)
