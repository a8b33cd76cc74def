"""Strategies that give each machine a score for a need, and remember it until something changes there.

A find costs as much as scoring the machines that have changed since the same need was looked for last.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from jobs.core.constraints import Need
from jobs.core.scheduling.bestfit import BestFit
from jobs.core.scheduling.cards import CardState, Machine
from jobs.core.scheduling.choice import Choice
from jobs.core.scheduling.stock import Stock

_MOST_TABLES = 200  # needs whose scores are remembered
_LONGEST_LOG = 20_000  # changes; after so many, all scores are forgotten


Score = tuple[int, int]
"""What a site is measured by, and what decides between equals: the less, the better."""


class Site(NamedTuple):
    """One way to place a job, with the score by which it is found; machine and model make the order definite."""

    score: Score
    machine: str
    model: str  # empty for a need without cards
    cards: tuple[CardState, ...]


class _Table:
    """The sites of one need, the best first."""

    def __init__(self) -> None:
        self.sites: list[Site] = []
        self.read = 0  # how far it has read the log
        self._of: dict[str, list[Site]] = {}

    def replace(self, machine: str, sites: list[Site]) -> None:
        """These are the machine's sites now."""
        before = self._of.get(machine, [])
        if before == sites:
            return
        for old in before:
            del self.sites[bisect_left(self.sites, old)]
        self._of[machine] = sites
        for new in sites:
            insort(self.sites, new)


class Scored(ABC):
    """What is common to strategies with scores. A job on several machines is placed by best fit."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._best_fit = BestFit(stock)
        self._log: list[Machine] = []
        self._tables: OrderedDict[Need, _Table] = OrderedDict()
        stock.listeners.append(self._log.append)

    @abstractmethod
    def score(
        self, need: Need, machine: Machine, fitting: Sequence[CardState]
    ) -> tuple[Score, tuple[CardState, ...]]:
        """How bad it is to place the need here, and on which of the cards that take it (the tightest come first)."""

    def choose(self, sites: Sequence[Site]) -> Site:
        """One of at least one site."""
        return sites[0]

    def forget(self) -> None:
        """Score everything anew from now on."""
        self._tables.clear()
        self._log.clear()

    def cards(self, need: Need, also: Collection[str]) -> list[CardState] | None:
        """The cards for the need; those set aside only where they are in `also`. None: it finds no place now."""
        if need.nodes > 1:
            return self._best_fit.cards(need, also)
        sites: Sequence[Site] = self._sites(need)
        if also:
            sites = self._with(need, sites, also)
        return list(self.choose(sites).cards) if sites else None

    def machines(self, need: Need) -> list[Machine]:
        """As many machines as the need wants, or fewer where there are too few; it wants no cards."""
        sites = self._sites(need)
        if need.nodes == 1 and sites:
            return [self._stock.machines[self.choose(sites).machine]]
        return [self._stock.machines[site.machine] for site in islice(sites, need.nodes)]

    def _sites(self, need: Need) -> list[Site]:
        if len(self._log) > _LONGEST_LOG:
            self.forget()
        table = self._tables.get(need)
        if table is None:
            changed: Iterable[Machine] = self._stock.machines.values()
            table = self._tables[need] = _Table()
            if len(self._tables) > _MOST_TABLES:
                self._tables.popitem(last=False)
        else:
            changed = set(self._log[table.read :])
            self._tables.move_to_end(need)
        table.read = len(self._log)
        choice = Choice(self._stock.matches, need)
        for machine in changed:
            table.replace(machine.name, list(self._scored(choice, machine)))
        return table.sites

    def _with(self, need: Need, sites: Iterable[Site], also: Collection[str]) -> list[Site]:
        """The sites where cards that are set aside may be used too."""
        machines = {box.machine for box in self._stock.boxes_of(also)}
        names = {machine.name for machine in machines}
        choice = Choice(self._stock.matches, need, allowed=also)
        special = sorted(site for machine in machines for site in self._scored(choice, machine))
        return list(heapq.merge((site for site in sites if site.machine not in names), special))

    def _scored(self, choice: Choice, machine: Machine) -> Iterator[Site]:
        need = choice.need
        if not machine.hosts(need):
            return
        if need.gpus == 0:
            score, _ = self.score(need, machine, ())
            yield Site(score, machine.name, "", ())
            return
        for box in machine.boxes.values():
            fitting = choice.fitting(box)
            if len(fitting) >= need.gpus:
                score, cards = self.score(need, machine, fitting)
                yield Site(score, machine.name, box.name, cards)
