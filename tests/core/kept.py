"""Worlds in which somebody waits for a card that others use, and who has which card kept."""

from __future__ import annotations

import math
from typing import Any

from jobs.core.decide import decide
from jobs.core.scheduling.rules import HOUR
from tests.builders import NOW, a100, evolve, job, run, world

NEVER = math.inf


def waiting(name: str = "waits", memory: str = "60G", hours: float = 1.0, **fields: Any):
    return evolve(job(name, memory, **fields), submitted_at=NOW - hours * HOUR)


def busy(index: int = 0, memory: str = "60G", *, ends: float = NEVER, **fields: Any):
    """A card and the one job on it, which ends so many seconds from now."""
    name = fields.pop("named", f"r{index}")
    card = a100(index, booked=memory)
    return card, run(name, memory, [card.uuid], ends=ends, **fields)


def decided(cards, queued, running, **fields: Any):
    return decide(world(cards, queued, running=running, **fields))


def kept(plan) -> dict[str, list[str]]:
    return {each.job: [uuid[-4:] for uuid in each.uuids] for each in plan.reservations}


def occupied(memories, **fields: Any):
    """Cards in a row with one job on each: the cards, and the jobs."""
    pairs = [busy(at, memory, **fields) for at, memory in enumerate(memories)]
    return [card for card, _run in pairs], [run for _card, run in pairs]


def ending(seconds, **fields: Any):
    """Cards in a row with one job on each that ends so many seconds from now."""
    pairs = [busy(at, ends=ends, **fields) for at, ends in enumerate(seconds)]
    return [card for card, _run in pairs], [run for _card, run in pairs]
