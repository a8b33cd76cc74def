"""Who chooses among the cards that may be used: one class for each name that `Rules.placement` may have."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from jobs.core.constraints import Need
from jobs.core.scheduling.bestfit import BestFit
from jobs.core.scheduling.cards import CardState, Machine
from jobs.core.scheduling.stock import Stock

Pick = Callable[[int], int]
"""Draws a whole number from 0 up to, and without, the one given."""


class Strategy(Protocol):
    """Chooses among the cards that may be used; every rule holds on what it answers."""

    def cards(self, need: Need, also: Collection[str]) -> list[CardState] | None:
        """The cards for a need; those set aside only where they are in `also`. None: it finds no place now."""
        ...

    def machines(self, need: Need) -> list[Machine]:
        """For a need without cards: as many machines as it wants, or fewer where there are too few."""
        ...


def named(name: str, stock: Stock, pick: Pick | None) -> Strategy:
    """The strategy of this name, over these cards.

    Raises:
        ValueError: no strategy has this name, or it draws and there is no `pick`.
    """
    if name == "best-fit":
        return BestFit(stock)
    raise ValueError(f"The placement {name!r} is unknown. Allowed is best-fit: choose it.")
