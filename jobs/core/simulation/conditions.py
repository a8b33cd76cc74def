"""How a simulated world behaves, whoever schedules in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from jobs.core.scheduling.rules import DAY
from jobs.core.snapshot import ProjectView


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """Times are seconds."""

    mode: str = "exclusive"  # of the cards, a key of `fleet_spec.MODES`
    suspend_seconds: float = 120.0
    """What suspending and resuming a job costs, half before and half after."""
    all_preemptible: bool = False
    departures: bool = True  # False: jobs never end, as in studies of packing
    perfect_estimates: bool = False
    """Whether the scheduler is told how long each job still runs; else it is told nothing."""
    weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Shares of projects; 1 where none is given."""
    projects: Mapping[str, ProjectView] = field(default_factory=lambda: MappingProxyType({}))
    """Projects with quotas and weights of their own, as a site has them."""
    preemption_window: float = DAY  # over which preemptions are counted, `Rules.preemption_window`
    overlap: float = 0.0  # what jobs on one card gain by filling each other's gaps: slowdown.py

    def weight(self, project: str) -> float:
        """The share of a project, by its weight."""
        known = self.projects.get(project)
        return known.weight if known else self.weights.get(project, 1.0)
