"""Schedulers by name: the production one, which is the default, and those to compare it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from jobs.core.plan import Plan
from jobs.core.policy import BasePolicy, ordered
from jobs.core.scheduling.planner import Planner
from jobs.core.scheduling.rules import Rules
from jobs.core.simulation.deciding import Decider
from jobs.core.simulation.preemptive import Las, ShortestService, ShortestTime
from jobs.core.simulation.rivals import Easy, Fifo, Greedy, Rival

DEFAULT = "default"

RIVALS: dict[str, type[Rival]] = {
    "fifo": Fifo,
    "greedy": Greedy,
    "easy": Easy,
    "las": Las,
    "srtf": ShortestTime,
    "srsf": ShortestService,
}

NAMES = (DEFAULT, *RIVALS)

PLACEMENTS = {
    "default": "best-fit",
    "bestfit": "bestfit-published",
    "fgd": "fragmentation",
    "random": "random",
}
"""Placement strategies by the names they have in comparisons: jobs/core/scheduling/strategies.py."""


class Ordered(Planner):
    """The production scheduler, with the order of a policy that runs here and now."""

    def __init__(
        self,
        rules: Rules,
        policy: BasePolicy,
        *,
        max_workers: int | None = None,
        pick: Callable[[int], int] | None = None,
    ) -> None:
        super().__init__(rules, most_nodes=None, max_workers=max_workers, pick=pick)
        policy.rules = rules
        self._policy = policy

    def decide(self, now: float) -> Plan:
        """Ask the policy, then decide."""
        order = ordered(self.eligible(), self._policy, now=now)
        self.rank({job.id: place for place, job in enumerate(order.jobs)})
        return replace(super().decide(now), policy_problem=order.problem)


def contestant(
    name: str | BasePolicy,
    rules: Rules,
    *,
    max_workers: int | None = None,
    pick: Callable[[int], int] | None = None,
) -> Decider:
    """The scheduler of this name, or the production one with this policy. Jobs may span any number of machines.

    `max_workers` is the most jobs that may hold cards; the rivals know no such limit.

    Raises:
        KeyError: no such name.
    """
    if isinstance(name, BasePolicy):
        return Ordered(rules, name, max_workers=max_workers, pick=pick)
    if name == DEFAULT:
        return Planner(rules, most_nodes=None, max_workers=max_workers, pick=pick)
    return RIVALS[name](rules, most_nodes=None, pick=pick)


def knows_the_future(name: str | BasePolicy) -> bool:
    """Whether it is an oracle, which must be told how long each job still runs."""
    return isinstance(name, str) and name in RIVALS and RIVALS[name].knows_the_future
