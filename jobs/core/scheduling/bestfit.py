"""The default placement: the smallest sufficient type, then the tightest fit, so that what is left over is large.

One card: of those in use the one with the least room; else an empty one, of the machine with the fewest empty ones.
A gang: the tightest cards of the machine on which the fewest fitting cards are left over.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from jobs.core.constraints import Need
from jobs.core.scheduling.cards import Box, CardState, Machine, standing_for
from jobs.core.scheduling.choice import Choice, Ranked
from jobs.core.scheduling.pools import Admits
from jobs.core.scheduling.stock import Model, Stock


class BestFit:
    """Looks for cards in the stock's indexes."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock

    def cards(self, need: Need, also: Collection[str]) -> list[CardState] | None:
        """The best cards for the need as things are; those set aside only where they are in `also`."""
        if need.gpus == 1 and need.nodes == 1:
            card = self._one(need, also)
            return [card] if card else None
        choice = Choice(self._stock.matches, need, allowed=also)
        best = best_boxes(self._stock.models.values(), choice, self._stock.boxes_of(also))
        return choice.cards(box for _, box in best) if best else None

    def machines(self, need: Need) -> list[Machine]:
        """For a need without cards: the machines with the least room on their cards, then the fewest processors.

        What it takes is missing for jobs with cards, so it goes where little is left for them anyway.
        """
        hosts = (each for each in self._stock.machines.values() if each.hosts(need))
        return heapq.nsmallest(
            need.nodes, hosts, key=lambda each: (each.room, each.cpus, each.host_memory, each.name)
        )

    def _one(self, need: Need, also: Collection[str]) -> CardState | None:
        memory, standing = need.memory, standing_for(need)
        admits = _hosted(need) if need.host_cpus or need.host_memory else None
        for kinds in self._stock.sizes(need.gpu_type):
            pools = [(kind.open, admits) for kind in kinds]
            if also:
                named = _named(also, admits)
                pools += [(kind.aside, named) for kind in kinds]
            found = [
                entry
                for pool, rule in pools
                if (entry := pool.tightest_in_use(memory, standing, rule))
            ] or [entry for pool, rule in pools if (entry := pool.best_empty(memory, rule))]
            if found:
                return min(found)[2]
        return None


def best_boxes(
    models: Iterable[Model], choice: Choice, special: Collection[Box]
) -> list[Ranked] | None:
    """The best boxes of one model for a gang, as many as it wants machines; None where there are too few.

    `special` are those of which the indexes do not know what the choice knows.
    """
    best: list[Ranked] | None = None
    for model in models:
        found = list(islice(_ranked(model, choice, special), choice.need.nodes))
        if len(found) == choice.need.nodes and (best is None or found[-1] < best[-1]):
            best = found
    return best


def _ranked(model: Model, choice: Choice, special: Collection[Box]) -> Iterator[Ranked]:
    apart = model.mixed.union(box for box in special if box.name == model.name)
    listed = _listed(model, choice, apart)
    return heapq.merge(listed, sorted(choice.ranked(apart))) if apart else listed


def _listed(model: Model, choice: Choice, apart: Collection[Box]) -> Iterator[Ranked]:
    need = choice.need
    for total in model.totals:
        if not choice.matches(need.gpu_type, model.name, total):
            continue
        view = model.view(total, choice.standing)
        for rank, box in view.ranked(need.memory, need.gpus, apart):
            if box.machine.hosts(need):
                yield rank, box


def _hosted(need: Need) -> Admits:
    return lambda card: card.box.machine.hosts(need)


def _named(uuids: Collection[str], admits: Admits | None) -> Admits:
    return lambda card: card.place[2] in uuids and (admits is None or admits(card))
