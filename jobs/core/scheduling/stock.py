"""All cards and machines, with the indexes over them kept up to date. What is found in it is the fleet's matter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from jobs.core.constraints import Need
from jobs.core.gputypes import matches_gpu_type
from jobs.core.scheduling.cards import Box, CardState, Machine
from jobs.core.scheduling.gangs import GangView
from jobs.core.scheduling.pools import Pool
from jobs.core.snapshot import DeviceView, NodeView


class CardType:
    """Cards of one model and size."""

    __slots__ = ("aside", "name", "open", "total")

    def __init__(self, name: str, total: int) -> None:
        self.name = name
        self.total = total
        self.open = Pool()
        self.aside = Pool()  # cards that are kept from most jobs


class Model:
    """Cards of one model, box by box."""

    __slots__ = ("boxes", "mixed", "name", "totals", "views")

    def __init__(self, name: str) -> None:
        self.name = name
        self.boxes: dict[str, Box] = {}  # by machine
        self.mixed: set[Box] = set()  # whose cards differ in size: too rare for an index
        self.totals: list[int] = []  # sizes that its cards come in, rising
        self.views: dict[tuple[int, int], GangView] = {}  # by size and standing

    def view(self, total: int, standing: int) -> GangView:
        """The index for gangs of one sort, made when it is first asked for."""
        if (total, standing) not in self.views:
            self.views[total, standing] = GangView(total, standing, self.boxes.values())
        return self.views[total, standing]

    def touch(self, box: Box) -> None:
        """A card of this box has changed."""
        for view in self.views.values():
            view.touch(box)


class Stock:
    """The cards, by everything that they are looked for by."""

    def __init__(self) -> None:
        self.cards: dict[str, CardState] = {}
        self.machines: dict[str, Machine] = {}
        self.models: dict[str, Model] = {}
        self.shape = 0  # rises when cards come or go
        self.weight = 0.0  # of all cards together
        self.listeners: list[Callable[[Machine], None]] = []  # told of every change on a machine
        self._types: dict[tuple[str, int], CardType] = {}
        self._aside: set[str] = set()
        self._moved_aside: set[str] = set()  # for which the indexes know it already
        self._matches: dict[tuple[str | None, str, int], bool] = {}
        self._sizes: dict[str | None, list[list[CardType]]] = {}

    def put(self, view: DeviceView) -> None:
        """Take over a card as this view shows it: a new one, or a new reading of a known one."""
        card = self.cards.get(view.uuid)
        if card and not _is_same_card(card.seen, view):
            self.drop(view.uuid)
            card = None
        if card is None:
            self._add(view)
        else:
            before = card.room, card.standing
            self.weight += view.weight - card.seen.weight
            card.see(view)
            self.relist(card, before)

    def drop(self, uuid: str) -> None:
        """Forget a card; one that is not known is no matter."""
        card = self.cards.pop(uuid, None)
        if card is None:
            return
        self.shape += 1
        self.weight -= card.seen.weight
        self._moved_aside.discard(uuid)
        if card.pool:
            card.pool.remove(card, card.standing)
        card.box.drop(card)
        self._recast(card.box)

    @property
    def largest(self) -> int:
        """Bytes of the largest type of card."""
        return max((total for _name, total in self._types), default=0)

    def kinds(self) -> list[DeviceView]:
        """One card of each model, size and safety margin."""
        return list(
            {
                (card.seen.name, card.total, card.seen.safety): card.seen
                for card in self.cards.values()
            }.values()
        )

    def put_node(self, view: NodeView) -> None:
        """Take over what a machine has left beside its cards."""
        machine = self.machine(view.name)
        machine.see(view)
        self.tell(machine)

    def machine(self, name: str) -> Machine:
        """The machine of this name, known or new."""
        if name not in self.machines:
            self.machines[name] = Machine(name)
        return self.machines[name]

    def tell(self, machine: Machine) -> None:
        """Let the strategies know that something has changed on this machine."""
        for listener in self.listeners:
            listener(machine)

    def relist(self, card: CardState, before: tuple[int, int]) -> None:
        """Bring the indexes up to date after a change of the card; `before`: its room and standing until then."""
        if before == (card.room, card.standing):
            return
        self._list(card, before[1])
        self._touch(card.box)

    def set_aside(self, uuids: Iterable[str]) -> None:
        """Keep these cards from all searches that do not name them."""
        self._aside.update(uuids)

    def set_aside_nothing(self) -> None:
        """Undo `set_aside`."""
        self._aside.clear()

    def settle_aside(self) -> None:
        """Tell the indexes what is set aside. Setting the same cards aside in each cycle so costs nothing."""
        if self._aside == self._moved_aside:
            return
        for uuid in self._aside ^ self._moved_aside:
            card = self.cards.get(uuid)
            if card:
                card.aside = not card.aside
                self._list(card, card.standing)
                self._touch(card.box)
        self._moved_aside = self._aside & self.cards.keys()

    def sizes(self, gpu_type: str | None) -> list[list[CardType]]:
        """The types of cards that a `gpu_type` means: by size, smallest first, those of one size together."""
        if gpu_type not in self._sizes:
            by_size: dict[int, list[CardType]] = {}
            for (name, total), kind in sorted(self._types.items()):
                if self.matches(gpu_type, name, total):
                    by_size.setdefault(total, []).append(kind)
            self._sizes[gpu_type] = [by_size[total] for total in sorted(by_size)]
        return self._sizes[gpu_type]

    def matches(self, gpu_type: str | None, name: str, total: int) -> bool:
        """As `matches_gpu_type`, remembered."""
        key = gpu_type, name, total
        if key not in self._matches:
            self._matches[key] = matches_gpu_type(gpu_type, name, total)
        return self._matches[key]

    def of_type(self, need: Need) -> Iterator[CardState]:
        """The cards of the type asked for, in the order in which they came."""
        for card in self.cards.values():
            if self.matches(need.gpu_type, card.box.name, card.total):
                yield card

    def boxes_of(self, uuids: Collection[str]) -> set[Box]:
        """The boxes in which these cards are; unknown ones are in none."""
        return {self.cards[uuid].box for uuid in uuids if uuid in self.cards}

    def _add(self, view: DeviceView) -> None:
        machine = self.machine(view.node)
        model = self.models.setdefault(view.name, Model(view.name))
        box = model.boxes.get(view.node)
        if box is None:
            box = model.boxes[view.node] = machine.boxes[view.name] = Box(view.name, machine)
        card = CardState(view, box)
        self.cards[view.uuid] = card
        self.shape += 1
        self.weight += view.weight
        box.put(card)
        if (view.name, view.total) not in self._types:
            self._types[view.name, view.total] = CardType(view.name, view.total)
            self._sizes.clear()
        if view.total not in model.totals:
            model.totals = sorted([*model.totals, view.total])
        self._list(card, card.standing)
        self._recast(box)

    def _list(self, card: CardState, standing: int) -> None:
        if card.pool:
            card.pool.remove(card, standing)
        kind = self._types[card.box.name, card.total]
        (kind.aside if card.aside else kind.open).add(card)

    def _touch(self, box: Box) -> None:
        self.models[box.name].touch(box)
        self.tell(box.machine)

    def _recast(self, box: Box) -> None:
        """After a card has come to the box or gone from it."""
        model = self.models[box.name]
        if box.cards and box.total is None:
            model.mixed.add(box)
        else:
            model.mixed.discard(box)
        self._touch(box)


def _is_same_card(one: DeviceView, other: DeviceView) -> bool:
    return (one.node, one.index, one.name, one.total) == (
        other.node,
        other.index,
        other.name,
        other.total,
    )
