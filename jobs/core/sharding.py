"""Dynamic sharding: bookings on a card follow what its jobs really use. Pure: measurements in, verdicts out.

A booking shrinks to the job's measured peak and a margin once the peak has been steady for some time and some steps.
It grows while the card has room, and where the card has none, the verdict says how much is short: then somebody has to
give way (jobs/core/scheduling/givingway.py). Sizes are bytes, times are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

HARDLY = 1.02
"""A peak that grows by less than this factor is still the same one: allocators creep."""

WITHOUT_STEPS = 3.0
"""Times as long must a peak be steady where no steps are known to go by."""

_MIB = 2**20
_LEAST_GAIN = 256 * _MIB
_LEAST_SHARE = 0.05  # of the booking: smaller gains are not worth an entry in everybody's books


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardingRules:
    """The numbers that a site may change."""

    margin: float = 1.1  # times the measured peak
    stable_seconds: float = 600.0
    stable_steps: int = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Steady:
    """Since when a peak has hardly grown."""

    peak: int
    since: float
    step: int | None = None  # of the training then; None: none was known


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """One booking on a card, as the rules see it."""

    key: str
    booked: int
    charge: int  # what it counts for now: the booking, or the measured peak and a little where that is more
    peak: int | None = None  # most ever measured; None: never seen
    steady: Steady | None = None
    step: int | None = None  # that its training has reached; None: it tells none
    tells_steps: bool = False  # a training that will tell steps, even if it has not yet
    runs_since: float | None = None  # None: it does not run now


class Change(StrEnum):
    """What becomes of a booking."""

    KEEP = "keep"
    SHRINK = "shrink"
    GROW = "grow"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What one booking should be. With `short`, so many bytes that the job uses already have no room on the card."""

    key: str
    change: Change
    memory: int
    short: int = 0


def steadied(known: Steady | None, peak: int, now: float, step: int | None) -> Steady:
    """What is known of a peak after one more look at it; `step` is what the training has reached."""
    if known is None or peak > known.peak * HARDLY:
        return Steady(peak=peak, since=now, step=step)
    if step is not None and (known.step is None or step < known.step):
        return replace(
            known, step=step
        )  # steps count from the first that is seen, and again after a restart
    return known


def target(peak: int, margin: float) -> int:
    """What a job with this peak is booked with, in whole MiB."""
    return math.ceil(round(peak * margin) / _MIB) * _MIB


def is_stable(share: Share, rules: ShardingRules, now: float) -> bool:
    """Whether the job runs, and its peak has been steady for long enough, by time and by steps."""
    steady = share.steady
    if share.runs_since is None or steady is None or not share.peak:
        return False
    if share.peak > steady.peak * HARDLY:
        return False
    waited = now - max(steady.since, share.runs_since)
    if share.step is None:
        return not share.tells_steps and waited >= rules.stable_seconds * WITHOUT_STEPS
    if steady.step is None:
        return False
    return waited >= rules.stable_seconds and share.step - steady.step >= rules.stable_steps


def follow(
    space: int, shares: Sequence[Share], rules: ShardingRules, now: float
) -> tuple[Verdict, ...]:
    """What becomes of each booking on one card.

    `space` is what all bookings together may take: the card less its safety margin and what is not ours. No booking
    falls below what the job has ever been seen to use, and none grows beyond the space.
    """
    held = {share.key: share.charge for share in shares}
    found: dict[str, Verdict] = {}
    for share in shares:
        smaller = _shrunken(share, rules, now)
        if smaller is not None:
            held[share.key] = smaller
            found[share.key] = Verdict(key=share.key, change=Change.SHRINK, memory=smaller)
    for share in _growing(shares):
        left = max(0, space - (sum(held.values()) - held[share.key]))
        found[share.key] = grown = _grown(share, left, rules)
        held[share.key] = max(held[share.key], grown.memory)
    return tuple(
        found.get(each.key) or Verdict(key=each.key, change=Change.KEEP, memory=each.booked)
        for each in shares
    )


def _shrunken(share: Share, rules: ShardingRules, now: float) -> int | None:
    """The smaller booking; None where the job keeps what it has."""
    if share.charge > share.booked or not is_stable(share, rules, now):
        return None
    smaller = target(share.peak or 0, rules.margin)
    gain = share.booked - smaller
    return smaller if gain >= max(_LEAST_GAIN, share.booked * _LEAST_SHARE) else None


def _growing(shares: Iterable[Share]) -> Iterable[Share]:
    """Running jobs that use more than they have booked."""
    return (each for each in shares if each.charge > each.booked and each.runs_since is not None)


def _grown(share: Share, left: int, rules: ShardingRules) -> Verdict:
    wanted = max(share.charge, target(share.peak or 0, rules.margin))
    memory = max(share.booked, min(wanted, left))
    is_worth_it = memory >= share.charge or memory - share.booked >= _LEAST_GAIN
    change = Change.GROW if memory > share.booked and is_worth_it else Change.KEEP
    return Verdict(
        key=share.key,
        change=change,
        memory=memory if change is Change.GROW else share.booked,
        short=max(0, share.charge - left),
    )
