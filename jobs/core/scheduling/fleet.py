"""The cards while decisions are made: find room for a job, count it there, take it away again.

Production and simulations use the same fleet. Finding, counting and giving back cost about as much for ten thousand
cards as for ten: see pools.py (one card) and gangs.py (several).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from jobs.core.constraints import LASTING_RULES, Need, is_of_type
from jobs.core.plan import Placement
from jobs.core.scheduling.bestfit import best_boxes
from jobs.core.scheduling.cards import Box, CardState
from jobs.core.scheduling.choice import Choice, Ranked
from jobs.core.scheduling.fragmentation import Fragmentation
from jobs.core.scheduling.stock import Stock
from jobs.core.scheduling.strategies import Pick, named
from jobs.core.snapshot import DeviceView, NodeView

Placements = tuple[Placement, ...]
_RULES_BUT_TYPE = [rule for rule in LASTING_RULES if rule.holds is not is_of_type]


class Fleet:
    """All cards and machines as they are after what has been placed.

    `strategy` names who chooses: jobs/core/scheduling/strategies.py. `most_nodes` is how many machines one job may span
    (None: any number). `pick(n)` draws a number below n, for strategies that draw.

    A need without cards (`gpus` 0) is placed on machines: its placements carry the machine's name as `uuid`.
    """

    def __init__(
        self,
        devices: Iterable[DeviceView] = (),
        nodes: Iterable[NodeView] = (),
        *,
        strategy: str = "best-fit",
        most_nodes: int | None = 1,
        pick: Pick | None = None,
    ) -> None:
        self._stock = Stock()
        self._most_nodes = most_nodes
        self._strategy = named(strategy, self._stock, pick)
        for node in nodes:
            self.put_node(node)
        for card in devices:
            self.put(card)

    @property
    def cards(self) -> tuple[DeviceView, ...]:
        """All cards as they are now, in the order in which they came."""
        return tuple(card.view() for card in self._stock.cards.values())

    def card(self, uuid: str) -> DeviceView:
        """One card as it is now.

        Raises:
            KeyError: no such card.
        """
        return self._stock.cards[uuid].view()

    def get(self, uuid: str) -> DeviceView | None:
        """One card as it is now; None where there is no such card."""
        card = self._stock.cards.get(uuid)
        return card.view() if card else None

    def seen(self, uuid: str) -> DeviceView | None:
        """One card as it was put: quicker than `get`, but without what has been counted since."""
        card = self._stock.cards.get(uuid)
        return card.seen if card else None

    def __len__(self) -> int:
        return len(self._stock.cards)

    @property
    def most_nodes(self) -> int | None:
        """The most machines that one job may span."""
        return self._most_nodes

    @property
    def shape(self) -> int:
        """A number that changes when cards come or go; readings and bookings leave it alone."""
        return self._stock.shape

    @property
    def weight(self) -> float:
        """The weights of all cards together."""
        return self._stock.weight

    @property
    def largest(self) -> int:
        """Bytes of the largest card."""
        return self._stock.largest

    def put(self, card: DeviceView) -> None:
        """Take over a card as this view shows it, whatever was counted on it."""
        self._stock.put(card)

    def drop(self, uuid: str) -> None:
        """Forget a card; one that is not known is no matter."""
        self._stock.drop(uuid)

    def put_node(self, node: NodeView) -> None:
        """Take over what a machine has left beside its cards."""
        self._stock.put_node(node)

    def expect(self, shapes: Mapping[Need, float]) -> None:
        """Tell what jobs are to come, and how often relative to each other; only `fragmentation` asks."""
        if isinstance(self._strategy, Fragmentation):
            self._strategy.expect(shapes)

    def find(self, need: Need, *, also: Collection[str] = ()) -> Placements | None:
        """The best place for a job with this need now, all of it or None; nothing is counted.

        `also` are cards that are set aside but open to this job.
        """
        if self._spans_too_many(need):
            return None
        if need.gpus == 0:
            machines = self._strategy.machines(need)
            whole = len(machines) == need.nodes
            return (
                tuple(Placement(uuid=each.name, memory=0) for each in machines) if whole else None
            )
        self._stock.settle_aside()
        return _placements(need, self._strategy.cards(need, also))

    def find_if(self, need: Need, changed: Mapping[str, DeviceView]) -> Placements | None:
        """What best fit would answer if these cards were like this, using at least one of them.

        Cards that are set aside are used only where they are in `changed`. What the machines have beside their cards is
        taken as it is now. Costs as much as the machines of the changed cards have cards.
        """
        if self._spans_too_many(need) or need.gpus == 0:
            return None
        self._stock.settle_aside()
        worlds = {uuid: self._imagined(view) for uuid, view in changed.items() if self._has(uuid)}
        choice = Choice(self._stock.matches, need, allowed=worlds.keys(), worlds=worlds)
        if need.gpus == 1 and need.nodes == 1:
            card = choice.best_world()
            return _placements(need, [card] if card else None)
        boxes = self._boxes_if(choice, self._stock.boxes_of(worlds))
        return _placements(need, choice.cards_with_worlds(boxes) if boxes else None)

    def take(self, need: Need, placements: Iterable[Placement]) -> None:
        """Count a job there.

        Raises:
            KeyError: a placement on a card that is not known.
        """
        for card, placement in self._counted(need, placements, 1):
            before = card.room, card.standing
            card.add(need, placement.memory)
            self._stock.relist(card, before)

    def give_back(self, need: Need, placements: Iterable[Placement]) -> None:
        """Undo `take`; cards that have gone since are passed over."""
        there = (
            placements if need.gpus == 0 else [each for each in placements if self._has(each.uuid)]
        )
        for card, placement in self._counted(need, there, -1):
            before = card.room, card.standing
            card.subtract(need, placement.memory)
            self._stock.relist(card, before)

    def set_aside(self, uuids: Iterable[str]) -> None:
        """Let `find` pass these cards over from now on, except for jobs to which they are open."""
        self._stock.set_aside(uuids)

    def set_aside_nothing(self) -> None:
        """Undo every `set_aside`."""
        self._stock.set_aside_nothing()

    def suitable(self, need: Need) -> Iterator[DeviceView]:
        """Cards that could take the job one day without anybody's doing: of its type, large enough, in service."""
        for card in self._stock.of_type(need):
            view = card.view()
            if all(rule.holds(need, view) for rule in LASTING_RULES):
                yield view

    def is_suitable(self, need: Need, card: DeviceView) -> bool:
        """Whether `suitable` would name this card."""
        is_of_type = self._stock.matches(need.gpu_type, card.name, card.total)
        return is_of_type and all(rule.holds(need, card) for rule in _RULES_BUT_TYPE)

    def may_span(self, need: Need) -> bool:
        """Whether a job may use as many machines as this need asks for."""
        return self._most_nodes is None or need.nodes <= self._most_nodes

    def kinds(self, need: Need) -> Sequence[DeviceView]:
        """Cards that stand for all, where only models and sizes matter; all cards for a gang."""
        if need.gpus * need.nodes > 1:
            return self.cards
        return self._stock.kinds()

    def _spans_too_many(self, need: Need) -> bool:
        return self._most_nodes is not None and need.nodes > self._most_nodes

    def _has(self, uuid: str) -> bool:
        return uuid in self._stock.cards

    def _imagined(self, view: DeviceView) -> CardState:
        card = CardState(view, self._stock.cards[view.uuid].box)
        card.aside = self._stock.cards[view.uuid].aside
        return card

    def _boxes_if(self, choice: Choice, special: set[Box]) -> list[Box] | None:
        """The boxes for a gang, at least one of which has an imagined card for it."""
        imagined = sorted(choice.ranked(box for box in special if choice.uses_worlds(box)))
        if choice.need.nodes == 1:
            return [imagined[0][1]] if imagined else None
        found: list[list[Ranked]] = []
        for name in {box.name for _, box in imagined}:
            best = best_boxes([self._stock.models[name]], choice, special)
            same = [each for each in imagined if each[1].name == name]
            if best and not any(each in same for each in best):
                best[-1] = same[0]
            if best:
                found.append(best)
        best = min(found, key=lambda each: each[-1], default=None)
        return [box for _, box in best] if best else None

    def _counted(
        self, need: Need, placements: Iterable[Placement], times: int
    ) -> list[tuple[CardState, Placement]]:
        """Counts the machines, and names the cards that are to be counted."""
        if need.gpus == 0:
            machines = {self._stock.machine(each.uuid) for each in placements}
            found = []
        else:
            found = [(self._stock.cards[each.uuid], each) for each in placements]
            machines = {card.box.machine for card, _ in found}
        if need.host_cpus or need.host_memory:
            for machine in machines:
                machine.add(need, times)
                self._stock.tell(machine)
        return found


def _placements(need: Need, cards: list[CardState] | None) -> Placements | None:
    if cards is None:
        return None
    return tuple(Placement(uuid=card.place[2], memory=need.memory) for card in cards)
