"""Whether projects that compete get what their weights say.

Cut the time by which projects have jobs waiting. In the longest stretch, all pieces together, in which the same two or
more projects waited, each of them is *saturated*: it could always have used more. There, and only there, their parts
of the card time must be as their weights.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable


class ShareMeter:
    """Adds up what each project holds, apart for each set of projects that wait."""

    def __init__(self, weight: Callable[[str], float]) -> None:
        self._weight = weight
        self._waiting: Counter[str] = Counter()
        self._held: dict[str, float] = defaultdict(float)  # cards, by project
        self._got: dict[frozenset[str], dict[str, float]] = {}
        self._spans: dict[frozenset[str], float] = defaultdict(float)
        self._saturated: frozenset[str] | None = None

    def wait(self, project: str, jobs: int) -> None:
        """So many more (or, if negative, fewer) jobs of the project wait."""
        before = self._waiting[project] > 0
        self._waiting[project] += jobs
        if before != (self._waiting[project] > 0):
            self._saturated = None

    def hold(self, project: str, cards: float) -> None:
        """The project holds so many cards more or, if negative, fewer."""
        self._held[project] += cards

    def pass_time(self, seconds: float) -> None:
        """Nothing changed for so long."""
        if self._saturated is None:
            self._saturated = frozenset(name for name, jobs in self._waiting.items() if jobs > 0)
        saturated = self._saturated
        if len(saturated) < 2:
            return
        got = self._got.setdefault(saturated, defaultdict(float))
        self._spans[saturated] += seconds
        for project in saturated:
            got[project] += self._held[project] * seconds

    def error(self) -> float | None:
        """The largest relative error of a saturated project's share; None where no two projects competed."""
        shares = self.shares()
        return max((abs(got / due - 1.0) for got, due in shares.values()), default=None)

    def shares(self) -> dict[str, tuple[float, float]]:
        """What each saturated project got and what it was due, as parts of one."""
        if not self._spans:
            return {}
        longest = max(self._spans, key=lambda names: (self._spans[names], sorted(names)))
        got = self._got[longest]
        total = sum(got.values())
        weights = {name: self._weight(name) for name in longest}
        if not total or not all(weights.values()):
            return {}
        whole = sum(weights.values())
        return {name: (got[name] / total, weights[name] / whole) for name in sorted(longest)}
