"""How long a job will still run: by its own progress, else by its owner's estimate, else by others of its kind.

An expectation that has been exceeded counts no more; then the next one does. Infinity: nobody can tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

USUAL, LONG = 0.5, 0.9
"""The quantiles of earlier run times that are expected first, and then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """What succeeded jobs of one kind have shown."""

    count: int = 0
    usual: float = math.inf  # seconds; the median
    long: float = math.inf  # seconds; nine of ten were done by then
    sm_share: float = 0.0  # 0..1, on each card when alone there; 0: not learned
    suspend: float | None = None  # seconds that suspending one took; None: never seen

    @classmethod
    def of(cls, seconds: Sequence[float], sm_share: float = 0.0) -> Past:
        """What these run times tell."""
        if not seconds:
            return cls(sm_share=sm_share)
        return cls(
            count=len(seconds),
            usual=quantile(seconds, USUAL),
            long=quantile(seconds, LONG),
            sm_share=sm_share,
        )


NO_PAST = Past()


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """What is said about one job's run time. Times are seconds."""

    est_time: float = math.inf  # by its owner, for the whole job
    time_limit: float = math.inf  # after which an attempt is ended
    past: Past = NO_PAST

    def left_after(self, ran: float) -> float:
        """Seconds that a job which has got through `ran` seconds of its work has still to run."""
        lengths = (self.est_time, self.past.usual, self.past.long)
        left = next((length - ran for length in lengths if ran < length < math.inf), math.inf)
        return min(left, self.time_limit)

    def end(
        self, started_at: float, now: float, *, ran_before: float = 0.0, by_progress: float | None
    ) -> float:
        """When a running attempt is expected to end.

        Args:
            started_at: when the attempt began.
            now: the present instant; what is expected lies after it.
            ran_before: seconds of work that earlier attempts have saved.
            by_progress: when its last step is due at its own rate.
        """
        begun = started_at - ran_before
        lengths = (self.est_time, self.past.usual, self.past.long)
        ends = (by_progress or 0.0, *(begun + length for length in lengths))
        end = next((each for each in ends if now < each < math.inf), math.inf)
        limit = started_at + self.time_limit
        return min(end, limit) if limit > now else end


def last_step_at(progress: Mapping[str, Any]) -> float | None:
    """When the last step is due, as a training's stored progress says; None where it does not."""
    left, seen = progress.get("eta_s"), progress.get("at")
    if isinstance(left, int | float) and isinstance(seen, int | float):
        return seen + left
    return None


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
