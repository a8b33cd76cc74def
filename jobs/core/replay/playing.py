"""One replay: the jobs of a period on some cards, under some rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jobs.core.policy import BasePolicy
from jobs.core.replay.figures import Side, of_outcome
from jobs.core.replay.workload import Replayed
from jobs.core.scheduling.rules import Rules
from jobs.core.simulation.conditions import Conditions
from jobs.core.simulation.contestants import DEFAULT, contestant
from jobs.core.simulation.fleet_spec import GivenCards
from jobs.core.simulation.simulator import simulate
from jobs.core.snapshot import DeviceView, ProjectView

SUSPEND_SECONDS = 120.0
"""What suspending and resuming a job is taken to cost, half before and half after."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and how the jobs are run."""

    cards: tuple[DeviceView, ...]
    projects: Mapping[str, ProjectView]
    rules: Rules = field(default_factory=Rules)
    policy: BasePolicy | None = None  # None: the default order
    max_workers: int | None = None
    suspend_seconds: float = SUSPEND_SECONDS


def play(replayed: Replayed, setting: Setting, heed: Callable[[float], None] | None = None) -> Side:
    """What the scheduler makes of the jobs. `heed` is told each instant, and may end it by raising.

    Raises:
        SimulationStuck: the scheduler goes round in circles.
    """
    policy = setting.policy or DEFAULT
    decider = contestant(policy, setting.rules, max_workers=setting.max_workers)
    conditions = Conditions(
        projects=setting.projects,
        suspend_seconds=setting.suspend_seconds,
        preemption_window=setting.rules.preemption_window,
    )
    cards = GivenCards(views=setting.cards)
    return of_outcome(simulate(replayed.jobs, cards, decider, conditions, heed=heed), replayed)
