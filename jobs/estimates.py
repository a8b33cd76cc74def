"""Expected starts of the head of the queue, worked out beside the requests: nobody waits long for them.

A forecast plays the plan forward three times, which takes seconds where many jobs run. So it is made in a thread of its
own, for a bounded time, and serves every reader until there is a newer one. The thread reads no database.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from jobs.core.scheduling.forecast import Expected, forecast
from jobs.core.snapshot import Snapshot

FRESH_FOR = 5.0  # seconds that one forecast serves at least
BUDGET = 1.5  # seconds of playing the likely course; what is not known by then gets no time
SHARE = 0.1  # of the time that forecasts may take, where they take long
PATIENCE = 0.2  # seconds that a reader waits where there is none yet

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What is decided from, with the first jobs of the queue only."""

    snapshot: Snapshot
    ranks: Mapping[str, int] | None  # the order of the site's policy; None: the default order


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """What was expected at one moment."""

    expected: Mapping[str, Expected] = field(default_factory=lambda: MappingProxyType({}))
    asked: frozenset[str] = frozenset()  # the jobs that were looked at
    endless: frozenset[str] = (
        frozenset()
    )  # those, and running ones, that nobody knows the length of


class Estimates:
    """The latest forecast of this process, and the thread that makes the next one."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._latest: Forecast | None = None
        self._is_busy = False
        self._fresh_until = 0.0

    def latest(self, head: Callable[[], Head]) -> Forecast | None:
        """The latest forecast; None where the first one is still being made.

        `head` gives what to look ahead from. It is called at once, where a new forecast is due.
        """
        with self._change:
            if not self._is_busy and time.monotonic() >= self._fresh_until:
                self._is_busy = True
                work = threading.Thread(
                    target=self._work, args=(head(),), name="forecast", daemon=True
                )
                work.start()
            if self._latest is None:
                self._change.wait_for(lambda: self._latest is not None, PATIENCE)
            return self._latest

    def _work(self, head: Head) -> None:
        begun = time.monotonic()
        try:
            made = _forecast(head, begun + BUDGET)
        except Exception:
            log.exception("The starts of the queue could not be forecast.")
            made = Forecast()
        now = time.monotonic()
        with self._change:
            self._latest, self._is_busy = made, False
            self._fresh_until = now + max(FRESH_FOR, (now - begun) / SHARE)
            self._change.notify_all()


def _forecast(head: Head, deadline: float) -> Forecast:
    snapshot = head.snapshot
    wanted = frozenset(job.id for job in snapshot.queued)
    return Forecast(
        expected=forecast(
            snapshot, wanted, ranks=head.ranks, go_on=lambda: time.monotonic() < deadline
        ),
        asked=wanted,
        endless=endless(snapshot),
    )


def endless(snapshot: Snapshot) -> frozenset[str]:
    """The running and queued jobs of which nobody knows how long they will run."""
    running = {run.job.id for run in snapshot.running if math.isinf(run.expected_end)}
    return frozenset(running | {job.id for job in snapshot.queued if math.isinf(job.run_time)})
