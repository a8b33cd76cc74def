"""The waste ledger: what was held and brought nothing, with the jobs behind it. Amounts are as in `usage.Sum`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobs.core.reports.usage import Hold, Sum, summed
from jobs.core.states import Outcome, Reason

OUT_OF_MEMORY = frozenset({Reason.GPU_OUT_OF_MEMORY.value, Reason.HOST_OUT_OF_MEMORY.value})
UNUSED, FAILED, OOM, LOST = "unused", "failed", "oom", "lost"


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of waste, and the jobs behind it, the largest first."""

    kind: str
    whole: Sum
    jobs: dict[str, Sum]  # by public id


def unused(holds: Iterable[Hold]) -> Entry:
    """Booked memory above the highest use ever measured, over the time of the booking; only measured ones count."""
    spare = [
        hold._replace(booked=hold.booked - hold.peak)
        for hold in holds
        if hold.peak is not None and hold.peak < hold.booked
    ]
    by_job = summed(spare, lambda hold: hold.job)
    entry = _entry(UNUSED, spare)
    ordered = sorted(by_job.items(), key=lambda pair: (-pair[1].memory, pair[0]))
    return Entry(UNUSED, entry.whole, dict(ordered))


def ended_badly(holds: Iterable[Hold]) -> list[Entry]:
    """Card time of attempts that failed, ran out of memory, or were lost with their machine or supervisor."""
    kinds: dict[str, list[Hold]] = {FAILED: [], OOM: [], LOST: []}
    for hold in holds:
        if kind := _kind(hold):
            kinds[kind].append(hold)
    return [_entry(kind, found) for kind, found in kinds.items()]


def unmeasured(holds: Iterable[Hold]) -> int:
    """Bookings of which no use was ever measured: their waste is not known."""
    return sum(hold.peak is None for hold in holds)


def _kind(hold: Hold) -> str:
    if hold.outcome == Outcome.LOST:
        return LOST
    if hold.outcome != Outcome.FAILED:
        return ""
    return OOM if hold.reason in OUT_OF_MEMORY else FAILED


def _entry(kind: str, holds: list[Hold]) -> Entry:
    jobs = summed(holds, lambda hold: hold.job)
    whole = Sum()
    for each in jobs.values():
        whole.time += each.time
        whole.memory += each.memory
        whole.members |= each.members
    return Entry(kind, whole, jobs)
