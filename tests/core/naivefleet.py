"""Placement by looking at every card, as plainly as its rules are written: what the indexed fleet must answer too."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from jobs.core.constraints import OBSTACLE_CHECKS, PASSING_RULES, Need, has_room, is_of_type, room
from jobs.core.snapshot import DeviceView, NodeView

Key = tuple[Any, ...]
Gang = tuple[Key, list[DeviceView]]


class NaiveFleet:
    """Cards and machines as data, and a search that reads them all."""

    def __init__(
        self, cards: Iterable[DeviceView], nodes: Iterable[NodeView], most_nodes: int | None
    ):
        self.cards = {card.uuid: card for card in cards}
        self.nodes = {node.name: node for node in nodes}
        self.most_nodes = most_nodes
        self.aside: set[str] = set()

    def find(self, need: Need, also: Collection[str] = ()) -> list[str] | None:
        usable = [c for c in self.cards.values() if c.uuid not in self.aside or c.uuid in also]
        return self._answer(need, usable, None)

    def find_if(self, need: Need, changed: Mapping[str, DeviceView]) -> list[str] | None:
        cards = [changed.get(uuid, card) for uuid, card in self.cards.items()]
        usable = [c for c in cards if c.uuid not in self.aside or c.uuid in changed]
        return self._answer(need, usable, changed.keys())

    def _answer(
        self, need: Need, usable: Sequence[DeviceView], wanted: Collection[str] | None
    ) -> list[str] | None:
        if self.most_nodes is not None and need.nodes > self.most_nodes:
            return None
        if need.gpus == 1 and need.nodes == 1:
            chosen = self._one(need, usable, wanted)
        else:
            chosen = self._gang(need, usable, wanted)
        return [card.uuid for card in chosen] if chosen else None

    def _one(
        self, need: Need, usable: Sequence[DeviceView], wanted: Collection[str] | None
    ) -> list[DeviceView]:
        def tightness(card: DeviceView) -> Key:
            place = (card.node, card.index, card.uuid)
            if not is_empty(card):
                return card.total, 0, room(card), place
            everywhere = self.cards.values() if wanted is None else usable
            pool = [
                each
                for each in everywhere
                if (each.node, each.name, each.total) == (card.node, card.name, card.total)
                and (is_empty(each) and may_come(need, each))
                and (wanted is not None or (each.uuid in self.aside) == (card.uuid in self.aside))
            ]
            return card.total, 1, len(pool), place

        fitting = [
            card
            for card in usable
            if self._fits(need, card) and (wanted is None or card.uuid in wanted)
        ]
        return [min(fitting, key=tightness)] if fitting else []

    def _gang(
        self, need: Need, usable: Sequence[DeviceView], wanted: Collection[str] | None
    ) -> list[DeviceView]:
        answers = []
        for name in {card.name for card in usable}:
            gangs = sorted(self._gangs(need, [card for card in usable if card.name == name]))
            chosen = gangs[: need.nodes]
            if wanted is not None:
                chosen = _with_wanted(gangs, chosen, wanted)
            if len(chosen) == need.nodes:
                answers.append((chosen[-1][0], _cards(need, chosen, wanted)))
        return min(answers, key=lambda each: each[0])[1] if answers else []

    def _gangs(self, need: Need, cards: Sequence[DeviceView]) -> list[Gang]:
        gangs = []
        for node in {card.node for card in cards}:
            here = [card for card in cards if card.node == node]
            fitting = sorted((card for card in here if self._fits(need, card)), key=in_gang)
            if len(fitting) < need.gpus:
                continue
            short = [
                room(card)
                for card in here
                if may_come(need, card) and is_of_type(need, card) and not has_room(need, card)
            ]
            largest = max(
                card.total
                for card in self.cards.values()
                if (card.node, card.name) == (node, here[0].name)
            )
            least = min(map(room, fitting))
            key = largest, len(fitting), least, max(short, default=-1), node, here[0].name
            gangs.append((key, fitting))
        return gangs

    def _fits(self, need: Need, card: DeviceView) -> bool:
        node = self.nodes.get(card.node)
        hosted = node is None or (
            (not need.host_cpus or need.host_cpus <= node.cpus)
            and (not need.host_memory or need.host_memory <= node.host_memory)
        )
        return hosted and all(rule.holds(need, card) for rule in OBSTACLE_CHECKS)


def is_empty(card: DeviceView) -> bool:
    return not card.holders and not card.booked and card.foreign <= card.safety


def may_come(need: Need, card: DeviceView) -> bool:
    """Whether only memory could keep the job from this card."""
    passing = all(rule.holds(need, card) for rule in PASSING_RULES if rule.holds is not has_room)
    return passing and not card.drained and card.measured_free is not None


def in_gang(card: DeviceView) -> Key:
    return card.total, room(card), card.node, card.index, card.uuid


def _with_wanted(gangs: list[Gang], chosen: list[Gang], wanted: Collection[str]) -> list[Gang]:
    having = [gang for gang in gangs if any(card.uuid in wanted for card in gang[1])]
    if not having:
        return []
    return chosen if any(gang in having for gang in chosen) else [*chosen[:-1], having[0]]


def _cards(need: Need, gangs: list[Gang], wanted: Collection[str] | None) -> list[DeviceView]:
    chosen = [card for _, cards in gangs for card in cards[: need.gpus]]
    if wanted is None or any(card.uuid in wanted for card in chosen):
        return chosen
    for number, (_, cards) in enumerate(gangs, start=1):
        having = [card for card in cards if card.uuid in wanted]
        if having:
            chosen[number * need.gpus - 1] = having[0]
            break
    return chosen
