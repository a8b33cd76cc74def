"""How fast jobs work that share a card.

Of k jobs whose demands on the multiprocessors, each alone, add up to U, each works at

    min(1, (1 + overlap (1 - 1/k)) / U) x (1 - 0.02 (k - 1))

times its speed alone. `overlap` is what jobs gain by filling each other's gaps: near 0 where processes only take
turns, about 0.28 for measured pairs of training jobs (docs/scheduling.md names the measurements).
"""

from __future__ import annotations

from collections.abc import Sequence

SWITCHING_COST = 0.02  # of its speed, for each other job on the card
UNKNOWN_DEMAND = 1.0  # a training job that nobody has measured is taken to fill its card


def speed(demands: Sequence[float], overlap: float = 0.0) -> float:
    """The speed of each of the jobs with these demands (0..1) on one card, as a share of its speed alone."""
    jobs = len(demands)
    if jobs <= 1:
        return 1.0
    together = sum(demands)
    capacity = 1.0 + overlap * (1.0 - 1.0 / jobs)
    shared = min(1.0, capacity / together) if together else 1.0
    return shared * max(0.0, 1.0 - SWITCHING_COST * (jobs - 1))


def busy(demands: Sequence[float]) -> float:
    """The part of a card's multiprocessors that work, 0..1."""
    return min(1.0, sum(demands))


def demand_of(speeds: Sequence[float]) -> float:
    """The demand of each job, taken as alike, that explains these speeds on one card without overlap; 0..1.

    The formula above, solved for U. Jobs alone, or that do not slow each other down, explain none: 0.
    """
    jobs = len(speeds)
    mean = sum(speeds) / jobs if jobs else 1.0
    if jobs <= 1 or mean <= 0:
        return 0.0 if jobs <= 1 else 1.0
    undisturbed = 1.0 - SWITCHING_COST * (jobs - 1)
    together = undisturbed / mean
    return min(1.0, together / jobs) if together > 1.0 else 0.0
