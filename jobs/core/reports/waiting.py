"""Cards that were free while a job waited that they would have sufficed for: swept over time, in whole microseconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jobs.core.reports.spans import Span


class Want(NamedTuple):
    """What a waiting job asks for: the cards that it could use (as bits), how many on a machine, how many machines."""

    cards: int
    gpus: int
    nodes: int


class Spell(NamedTuple):
    """A job in the queue, from one instant to another."""

    job: str
    want: Want
    begun: int
    ended: int


@dataclass(slots=True)
class Found:
    """Card time that was free while somebody waited: by card (its bit's place), and by the job that waited."""

    cards: dict[int, int] = field(default_factory=dict)
    jobs: dict[str, int] = field(default_factory=dict)


def free_while_waiting(
    free: Mapping[int, Sequence[Span]], nodes: Sequence[int], spells: Iterable[Spell]
) -> Found:
    """Sweep over one stretch of time.

    Args:
        free: when each card (by the place of its bit) had no booking and was in service.
        nodes: the cards of each machine, as bits.
        spells: jobs in the queue, cut to the same stretch.
    """
    spells = list(spells)
    changes = _changes(free, spells)
    waiting: Counter[Want] = Counter()
    seen: Counter[Want] = Counter()  # card time so far that each want could have had
    entered: dict[int, int] = {}
    found, by_mask, idle, last = Found(), Counter[int](), 0, 0
    for at, kind, which in changes:
        if at > last and idle:
            by_mask[_pass(at - last, idle, nodes, waiting, seen)] += at - last
        last = at
        if kind == _CARD:
            idle ^= 1 << which
            continue
        spell = spells[which]
        if kind == _ENTER:
            waiting[spell.want] += 1
            entered[which] = seen[spell.want]
        else:
            waiting[spell.want] -= 1
            if gained := seen[spell.want] - entered[which]:
                found.jobs[spell.job] = found.jobs.get(spell.job, 0) + gained
    for mask, time in by_mask.items():
        for card in _bits(mask):
            found.cards[card] = found.cards.get(card, 0) + time
    return found


_CARD, _LEAVE, _ENTER = 0, 1, 2


def _changes(
    free: Mapping[int, Sequence[Span]], spells: Sequence[Spell]
) -> list[tuple[int, int, int]]:
    changes = [(at, _CARD, card) for card, spans in free.items() for span in spans for at in span]
    for place, spell in enumerate(spells):
        if spell.begun < spell.ended:
            changes += [(spell.begun, _ENTER, place), (spell.ended, _LEAVE, place)]
    return sorted(changes)


def _pass(
    time: int, idle: int, nodes: Sequence[int], waiting: Mapping[Want, int], seen: Counter[Want]
) -> int:
    """Let time pass: what each want could have had grows; the cards that anybody could have had."""
    together = 0
    for want, count in waiting.items():
        if count:
            cards = _usable(want, idle, nodes)
            seen[want] += time * cards.bit_count()
            together |= cards
    return together


def _usable(want: Want, idle: int, nodes: Sequence[int]) -> int:
    """The free cards on machines that have enough of them; none where there are too few such machines."""
    enough = [
        cards for node in nodes if (cards := idle & want.cards & node).bit_count() >= want.gpus
    ]
    return 0 if len(enough) < want.nodes else sum(enough)


def _bits(mask: int) -> list[int]:
    return [place for place in range(mask.bit_length()) if mask >> place & 1]
