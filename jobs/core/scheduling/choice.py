"""A gang's cards on a machine, card by card: where the indexes cannot tell, and where cards are imagined otherwise."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from jobs.core.constraints import Need
from jobs.core.scheduling.cards import EMPTY, Box, CardState, Place, standing_for
from jobs.core.scheduling.gangs import NO_CARD, Rank

Ranked = tuple[Rank, Box]

Worlds = Mapping[str, CardState]
"""Cards as they might be, by uuid."""


class Choice:
    """What one need would take of a box.

    `allowed` are cards that may be used although they are set aside; `worlds` shows some cards otherwise than they are.
    """

    def __init__(
        self,
        matches: Callable[[str | None, str, int], bool],
        need: Need,
        *,
        allowed: Collection[str] = (),
        worlds: Worlds | None = None,
    ) -> None:
        self.matches = matches
        self.need = need
        self.standing = standing_for(need)
        self._allowed = allowed
        self._worlds: Worlds = worlds or {}

    def fitting(self, box: Box) -> list[CardState]:
        """The cards of the box that take the job now, the tightest first."""
        memory, standing = self.need.memory, self.standing
        cards = [  # most cards fail one of these two, which cost little
            card
            for card in self._states(box)
            if card.room >= memory and card.standing >= standing and self._takes(card)
        ]
        cards.sort(key=_tightness)
        return cards

    def ranked(self, boxes: Iterable[Box]) -> list[Ranked]:
        """Those of the boxes that have cards enough, with how well they suit."""
        return [(rank, box) for box in boxes if (rank := self._rank(box))]

    def cards(self, boxes: Iterable[Box]) -> list[CardState]:
        """The tightest cards of each box."""
        return [card for box in boxes for card in self.fitting(box)[: self.need.gpus]]

    def uses_worlds(self, box: Box) -> bool:
        """Whether a card that is imagined otherwise is among those of the box that take the job."""
        return any(card.place[2] in self._worlds for card in self.fitting(box))

    def cards_with_worlds(self, boxes: Iterable[Box]) -> list[CardState]:
        """As `cards`, but at least one of them is imagined otherwise: one of the boxes must have such a card."""
        cards = self.cards(boxes)
        if any(card.place[2] in self._worlds for card in cards):
            return cards
        gpus = self.need.gpus
        for number, box in enumerate(boxes, start=1):
            imagined = [card for card in self.fitting(box) if card.place[2] in self._worlds]
            if imagined:
                cards[number * gpus - 1] = imagined[0]
                break
        return cards

    def best_world(self) -> CardState | None:
        """The best of the cards that are imagined otherwise, for a job on one card."""
        fitting = [
            card
            for card in self._worlds.values()
            if self._takes(card) and card.room >= self.need.memory
            if card.box.machine.hosts(self.need)
        ]
        return min(fitting, key=self._suits, default=None)

    def _usable(self, box: Box) -> list[CardState]:
        return [card for card in self._states(box) if self._takes(card)]

    def _states(self, box: Box) -> list[CardState]:
        if not self._worlds:
            return box.cards
        return [self._worlds.get(card.place[2], card) for card in box.cards]

    def _takes(self, card: CardState) -> bool:
        """Whether the card takes such a job, its memory apart."""
        return (
            card.standing >= self.standing
            and (not card.aside or card.place[2] in self._allowed)
            and self.matches(self.need.gpu_type, card.box.name, card.total)
        )

    def _rank(self, box: Box) -> Rank | None:
        memory, rooms = self.need.memory, [card.room for card in self._usable(box)]
        fitting = [room for room in rooms if room >= memory]
        if len(fitting) < self.need.gpus or not fitting or not box.machine.hosts(self.need):
            return None
        return Rank(
            total=max(card.total for card in box.cards),
            fitting=len(fitting),
            least=min(fitting),
            next_room=max((room for room in rooms if room < memory), default=NO_CARD),
            machine=box.machine.name,
            name=box.name,
        )

    def _suits(self, card: CardState) -> tuple[int, bool, int, Place]:
        if card.standing != EMPTY:
            return card.total, False, card.room, card.place
        empty = [
            each
            for each in self._usable(card.box)
            if each.standing == EMPTY and each.total == card.total
        ]
        return card.total, True, len(empty), card.place


def _tightness(card: CardState) -> tuple[int, int, Place]:
    return card.total, card.room, card.place
