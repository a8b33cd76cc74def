"""Open allocations as the sampler knows them: what is booked on which card, and whose processes may use it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import models

from gpus.models import Node
from gpus.readings import Holding
from jobs import rundir
from jobs.core.states import JobState
from jobs.engines.base import AttemptRef, Engine
from jobs.models import Allocation, Attempt
from jobs.refs import ref_of

TREE_KEPT = (
    10.0  # seconds after which a process tree is read anew, even if nothing seems to have changed
)


@dataclass(kw_only=True, slots=True)
class _Tree:
    pids: frozenset[int]
    read_at: float  # on the monotonic clock


class ProcessTrees:
    """Which processes belong to which attempt, asking the engine no more often than it takes.

    Where attempts are kept together by a PID namespace or a tag, each question reads all processes of the
    machine. A known tree is asked for again when one of its processes has ended, when it is empty, after
    `TREE_KEPT` seconds, or when the sampler sees a process on a card that belongs to nobody.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._trees: dict[AttemptRef, _Tree] = {}

    def refresh(self, refs: Iterable[AttemptRef], now: float, *, all_of_them: bool = False) -> None:
        """Know the trees of these attempts, and forget all others."""
        known, self._trees = self._trees, {}
        for ref in refs:
            tree = known.get(ref)
            if tree is None or all_of_them or _is_out_of_date(tree, now):
                tree = _Tree(pids=self._engine.pids(ref), read_at=now)
            self._trees[ref] = tree

    def pids(self, ref: AttemptRef) -> frozenset[int]:
        """The processes of an attempt, as they were known at the last refresh."""
        return self._trees[ref].pids


def open_bookings(node: Node) -> list[Allocation]:
    """The open allocations on the node's cards, in one query, the oldest first."""
    return list(
        Allocation.objects.open()
        .filter(device__node=node)
        .select_related("attempt__job", "device")
        .only(
            "key",
            "booked",
            "peak",
            "over_since",
            "device__uuid",
            "attempt__number",
            "attempt__created_at",
            "attempt__started_at",
            "attempt__job__state",
        )
        .order_by("pk")
    )


def open_attempts(node: Node) -> models.QuerySet[Attempt]:
    """The node's open attempts with the states of their jobs."""
    return (
        Attempt.objects.open().filter(node=node).select_related("job").only("number", "job__state")
    )


def refs_of(bookings: Iterable[Allocation]) -> set[AttemptRef]:
    """The attempts that the bookings belong to."""
    return {_ref(booking) for booking in bookings}


def holdings_of(bookings: Sequence[Allocation], trees: ProcessTrees, home: Path) -> list[Holding]:
    """The bookings as holdings; the trees of their attempts must be known."""
    return [_holding(booking, trees, home) for booking in bookings]


def _holding(booking: Allocation, trees: ProcessTrees, home: Path) -> Holding:
    attempt, ref = booking.attempt, _ref(booking)
    return Holding(
        key=booking.key,
        holder=ref.token,
        uuid=booking.device.uuid,
        booked=booking.booked,
        peak=booking.peak,
        pids=trees.pids(ref),
        frozen=attempt.job.state == JobState.SUSPENDED,
        since=(attempt.started_at or attempt.created_at).timestamp(),
        usage_file=rundir.attempt_directory(home, ref.job_id, ref.number) / rundir.SIM_USAGE,
    )


def _ref(booking: Allocation) -> AttemptRef:
    return ref_of(booking.attempt)


def _is_out_of_date(tree: _Tree, now: float) -> bool:
    if not tree.pids or now - tree.read_at >= TREE_KEPT:
        return True
    return not all(os.path.exists(f"/proc/{pid}") for pid in tree.pids)  # noqa: PTH110 (hot path)
