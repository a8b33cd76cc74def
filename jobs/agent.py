"""The agent: one process a node that looks at the cards once a second and follows the jobs' progress.

It decides nothing and owns no job's process: killed at any point, jobs go on, and its successor goes on sampling.
"""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, close_old_connections
from django.db.models import Q
from django.utils import timezone

from gpus.fleetspec import AUTO
from gpus.inventory import register_node
from gpus.models import Node
from gpus.probes import probe_from
from gpus.readings import NVML, Holding, Probe
from gpus.sampler import Sampler, Tick
from jobs import heartbeats, watchdog
from jobs.bus import Bus
from jobs.core.states import JobState
from jobs.engines import local_engine
from jobs.engines.base import Engine
from jobs.events import bus
from jobs.holdings import (
    ProcessTrees,
    holdings_of,
    open_attempts,
    open_bookings,
    refs_of,
)
from jobs.models import Allocation
from jobs.progress import Following

PERIOD = 1.0  # seconds between two looks
PEAK_STEP = 2**20  # bytes by which a peak must have grown to be stored again

log = logging.getLogger(__name__)

ProbeMaker = Callable[[str, Callable[[], Sequence[Holding]], str], Probe]


class Metronome:
    """Beats at fixed distances on the monotonic clock: work does not shift it, and missed beats are left out."""

    def __init__(self, period: float, start: float) -> None:
        self._period, self._start = period, start
        self._beat = -1

    def next_beat(self, now: float) -> float:
        """When the next beat is due; one that was missed is not made up for."""
        missed = math.ceil((now - self._start) / self._period)
        self._beat = max(self._beat + 1, missed)
        return self._start + self._beat * self._period


class Agent:
    """Samples this node's cards, stores what it sees, and tells the pages."""

    def __init__(
        self,
        *,
        engine: Engine | None = None,
        messages: Bus | None = None,
        make_probe: ProbeMaker | None = None,
        node: str = "",
        home: Path | None = None,
    ) -> None:
        self._engine = engine or local_engine()
        self._bus = messages or bus()
        self._home = home or settings.COOP_HOME
        self._trees = ProcessTrees(self._engine)
        self._bookings: list[Allocation] = []
        self._holdings: list[Holding] = []
        self._notice: str | None = None
        self._following = Following()
        self.node = register_node(node or socket.gethostname())
        self._probe = (make_probe or _probe)(
            cards_of(self.node), lambda: self._holdings, self.node.name
        )
        self._sampler = Sampler(self._probe, self.node)

    def run(self, stop: threading.Event) -> None:
        """Tick once a second until `stop` is set."""
        log.info(
            "The agent of %s has started and looks at the cards of %r.",
            self.node,
            settings.COOP_GPUS,
        )
        metronome = Metronome(PERIOD, time.monotonic())
        while not stop.wait(max(0.0, metronome.next_beat(time.monotonic()) - time.monotonic())):
            self._survive(self.tick)
        self._survive(self._sampler.flush)
        self._probe.close()
        log.info("The agent of %s has stopped. Running jobs go on.", self.node)

    def tick(self) -> Tick:
        """One look: holdings, reading, storing, telling."""
        # 1. Who holds what, with which processes?
        self._bookings = open_bookings(self.node)
        self._know_holdings()
        # 2. Look at the cards and store what was seen, all in one transaction
        tick = self._sampler.tick(self._holdings, self._refreshed, also=self._also_store)
        # 3. Tell the pages
        self._bus.send("web", dict(tick.message))
        self._say(tick)
        # 4. Read how far the jobs' trainings are
        self._following.follow(open_attempts(self.node), time.monotonic())
        return tick

    def _survive(self, work: Callable[[], object]) -> None:
        """A database that is away for a moment must not end the agent; the next beat tries again."""
        try:
            close_old_connections()
            work()
        except DatabaseError:
            log.exception("The database did not answer; the next look tries again.")

    def _know_holdings(self, *, all_trees: bool = False) -> None:
        refs = refs_of(self._bookings)
        self._trees.refresh(refs, time.monotonic(), all_of_them=all_trees)
        self._holdings = holdings_of(self._bookings, self._trees, self._home)

    def _refreshed(self) -> list[Holding]:
        self._know_holdings(all_trees=True)
        return self._holdings

    def _also_store(self, tick: Tick) -> None:
        """What belongs to a look but is not a reading: peaks of the bookings, and that the agent lives."""
        for booking in self._bookings:
            peak = tick.peaks.get(booking.key, 0)
            if peak >= (booking.peak or 0) + PEAK_STEP:
                lower = Q(peak=None) | Q(peak__lt=peak)
                Allocation.objects.filter(lower, pk=booking.pk).update(peak=peak)
            if booking.attempt.job.state == JobState.SUSPENDING:
                self._note_measured(booking, tick)
        watchdog.note(self._bookings, tick.used, timezone.now())
        Node.objects.filter(pk=self.node.pk).update(seen_at=timezone.now())
        fleet = tick.fleet
        heartbeats.beat(
            f"{heartbeats.AGENT}:{self.node.name}",
            source=fleet.source,
            notice=fleet.notice,
            cards=len(fleet.devices),
            silent=len(fleet.silent),
        )

    def _note_measured(self, booking: Allocation, tick: Tick) -> None:
        """What a job that gives its cards back still uses: a swap counts only when this shows it."""
        used, read_at = tick.used.get(booking.key), datetime.fromtimestamp(tick.fleet.at, UTC)
        if used is not None and booking.device.uuid in tick.answered:
            rows = Allocation.objects.filter(pk=booking.pk)
            rows.update(measured=used, measured_at=read_at)

    def _say(self, tick: Tick) -> None:
        """Put a new notice into the log once."""
        if tick.fleet.notice != self._notice:
            self._notice = tick.fleet.notice
            log.warning("%s", self._notice or "The cards can be read again without a remark.")


def cards_of(node: Node) -> str:
    """What COOP_GPUS names, except that `auto` never simulates cards where this node has had real ones.

    A driver that is broken after an upgrade must not turn a server into a place where nothing is real.
    """
    return NVML if settings.COOP_GPUS == AUTO and node.source == NVML else settings.COOP_GPUS


def _probe(spec: str, holdings: Callable[[], Sequence[Holding]], node: str) -> Probe:
    scenario = Path(settings.COOP_SIM_SCENARIO) if settings.COOP_SIM_SCENARIO else None
    return probe_from(spec, holdings, node=node, scenario=scenario)
