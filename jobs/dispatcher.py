"""The dispatcher: one long-lived process that runs the cycle on every wake-up, and at least once a second.

It holds a lease in the database, so that a second one stands by instead of deciding too. Nothing of a job hangs
on its life: killed at any point, its successor finds intents, records and controls where they were left.
"""

from __future__ import annotations

import gc
import logging
import threading
import time

from django.db import DatabaseError, close_old_connections

from jobs import heartbeats
from jobs.cycle import Cycle
from jobs.events import bus
from jobs.leases import LeaseHolder

LEASE = "dispatcher"
LEASE_SECONDS = 4.0
LONGEST_PAUSE = 1.0  # seconds between two cycles when nothing wakes us
STANDBY_PAUSE = 0.3
SWEEP_EVERY = 60.0  # seconds; garbage is collected between two passes, never in the middle of one

log = logging.getLogger(__name__)


class Dispatcher:
    """Runs cycles while it holds the lease."""

    def __init__(self) -> None:
        self._lease = LeaseHolder(LEASE, LEASE_SECONDS)
        self._cycle: Cycle | None = None
        self._full_pass_at = 0.0
        self._sweep_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; what has been started is finished first."""
        log.info("The dispatcher has started (%s).", self._lease.identity)
        gc.disable()
        with bus().listen("dispatcher") as listener:
            while not stop.is_set():
                messages = listener.receive(self._pause())
                self._survive(messages)
                self._sweep()
        self._lease.give_up()
        self._stand_by()
        log.info("The dispatcher has stopped. Running jobs go on.")

    def _pause(self) -> float:
        if self._cycle is None:
            return STANDBY_PAUSE
        return max(0.0, min(LONGEST_PAUSE, self._full_pass_at - time.monotonic()))

    def _survive(self, messages: list[dict[str, object]]) -> None:
        """A database that is away for a moment must not end the dispatcher; the next pass tries again."""
        try:
            close_old_connections()
            self._pass(messages)
        except DatabaseError:
            log.exception("The database did not answer; the next cycle tries again.")

    def _pass(self, messages: list[dict[str, object]]) -> None:
        if not self._lease.hold():
            self._stand_by()
            return
        if self._cycle is None:
            log.info("The dispatcher holds the lease and decides from now on.")
            self._cycle = Cycle()
            self._full_pass_at = 0.0
        if time.monotonic() >= self._full_pass_at:
            self._full_pass_at = time.monotonic() + LONGEST_PAUSE
            self._cycle.run()
            heartbeats.beat(heartbeats.DISPATCHER)
        else:
            self._cycle.run(hinted=_jobs_in(messages))

    def _sweep(self) -> None:
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_EVERY
            gc.collect()

    def _stand_by(self) -> None:
        if self._cycle is not None:
            self._cycle.close()
            self._cycle = None


def _jobs_in(messages: list[dict[str, object]]) -> frozenset[str]:
    """The jobs that somebody reported about: a supervisor its start or end, a person's door its change."""
    return frozenset(str(message["job"]) for message in messages if "job" in message)
