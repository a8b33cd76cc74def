"""The policies that come with the service; each is also an example of how to write one (docs/policies.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from jobs.core.policy import BasePolicy
from jobs.core.snapshot import JobView


class Fifo(BasePolicy):
    """First come, first served; priorities do not count."""

    def schedule(self, tasks: list[JobView]) -> list[JobView]:
        return sorted(tasks, key=lambda t: t.submitted_at)


class ShortestFirst(BasePolicy):
    """The shortest expected run first; those that nobody can tell come last, in the default order."""

    def schedule(self, tasks: list[JobView]) -> list[JobView]:
        return sorted(tasks, key=lambda t: t.run_time)


class WeekendLongFirst(BasePolicy):
    """At weekends the longest expected run first, so that the long ones are done by Monday; else the default."""

    def schedule(self, tasks: list[JobView]) -> list[JobView]:
        default = super().schedule(tasks)
        if self.local_time.weekday() < 5:  # Monday is 0
            return default
        return sorted(default, key=lambda t: 0 if t.run_time == math.inf else -t.run_time)


DEFAULT = "default"

SHIPPED: Mapping[str, type[BasePolicy]] = MappingProxyType(
    {
        DEFAULT: BasePolicy,
        "fifo": Fifo,
        "shortest-first": ShortestFirst,
        "weekend-long-first": WeekendLongFirst,
    }
)
"""By the name that the setting `policy` takes."""
