"""Three ways to give one card away: people by hand, and the production scheduler in its two sharing modes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.rules import DAY, HOUR, Rules
from jobs.core.simulation.deciding import Decider
from jobs.core.simulation.rivals import Fifo
from jobs.core.snapshot import DeviceView, JobView, RunView

MORNING = 8 * HOUR  # until midnight people hand jobs in, and start them by hand


class Spell(NamedTuple):
    """A job held memory on the card, from one instant to another."""

    job: str
    start: float
    end: float
    memory: int  # bytes


class Observed(Decider, Protocol):
    """A scheduler that tells who held the card."""

    spells: list[Spell]


class Recorded:
    """Put before a scheduler: decides nothing, but notes who held what for how long."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.spells: list[Spell] = []

    def end(self, job_id: str, at: float) -> RunView:
        """A job holds nothing any more."""
        run: RunView = super().end(job_id, at)  # type: ignore[misc] # of the scheduler behind this class
        memory = sum(each.memory for each in run.placements)
        self.spells.append(Spell(job_id, run.started_at, at, memory))
        return run


class Production(Recorded, Planner):
    """The production scheduler."""


class Unlearned(Production):
    """The production scheduler before it has learned what jobs demand: its cap on demand then binds nobody."""

    def queue(self, job: JobView) -> None:
        """A job of unknown demand waits."""
        super().queue(replace(job, sm_share=0.0))


class FirstCome(Recorded, Fifo):
    """People at a terminal: strictly in turn, from 8 to 24 h only, at most two at once, and 1 % of memory left free."""

    def put_card(self, card: DeviceView) -> None:
        """The card, by the rules of people."""
        super().put_card(replace(card, threshold=0.99, max_holders=2, max_busy=None))

    def cycle(self) -> None:
        """Start whose turn it is, unless everybody sleeps."""
        if self.now % DAY >= MORNING:
            super().cycle()

    def next_change(self) -> float:
        """At night: in the morning."""
        hour = self.now % DAY
        return self.now - hour + MORNING if self.lines.jobs and hour < MORNING else math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One way to give the card away."""

    name: str
    mode: str  # of the card, a key of `fleet_spec.MODES`
    footprint: float  # what a job holds, as a multiple of its working set
    scheduler: Callable[[Rules], Observed]


FIRST_COME = Way(name="first come", mode="exclusive", footprint=2.2, scheduler=FirstCome)
QUEUE = Way(name="smart queue", mode="smart-queue", footprint=1.4, scheduler=Production)
SHARDING = Way(
    name="dynamic sharding", mode="dynamic-sharding", footprint=1.0, scheduler=Production
)
WAYS = (FIRST_COME, QUEUE, SHARDING)

QUEUE_UNLEARNED = replace(QUEUE, name="queue, not learned", scheduler=Unlearned)
SHARDING_UNLEARNED = replace(SHARDING, name="sharding, not learned", scheduler=Unlearned)
EVERY_WAY = (*WAYS, QUEUE_UNLEARNED, SHARDING_UNLEARNED)
