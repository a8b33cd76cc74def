"""The state of a simulation: how far each job is, and who is on which card."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from jobs.core.plan import Placement
from jobs.core.simulation import slowdown
from jobs.core.simulation.results import JobResult
from jobs.core.simulation.shapes import Shape
from jobs.core.simulation.workload import WorkloadJob
from jobs.core.snapshot import DeviceView


class Live:
    """One job while the simulation goes on. Times are seconds."""

    __slots__ = (
        "demand",
        "due",
        "end",
        "first_start",
        "job",
        "leaving",
        "left",
        "lost",
        "placements",
        "preempted_at",
        "runs",
        "service",
        "shape",
        "since",
        "speed",
        "started_at",
        "to_start",
        "waiting_since",
    )

    def __init__(self, job: WorkloadJob, shape: Shape) -> None:
        self.job = job
        self.shape = shape
        self.demand = slowdown.UNKNOWN_DEMAND if job.sm_share is None else job.sm_share
        self.left = job.duration  # of work, at full speed
        self.to_start = job.start_overhead  # before it works
        self.speed = 1.0
        self.since = job.submit  # up to when `left` and `to_start` hold
        self.due = 0  # counts the predictions of its end; only the latest one counts
        self.placements: tuple[Placement, ...] | None = None  # while it holds cards
        self.started_at = 0.0
        self.first_start: float | None = None
        self.end: float | None = None
        self.leaving = False
        self.runs = 0
        self.lost = 0.0  # GPU-seconds spent on suspending, resuming and starting again
        self.service = 0.0  # weighted GPU-seconds of what it has had, the present run not counted
        self.preempted_at: list[float] = []
        self.waiting_since: float | None = None

    @property
    def cards(self) -> int:
        """The cards that it is given when it runs."""
        return self.shape.gpus * self.shape.nodes

    def start(self, placements: tuple[Placement, ...], now: float) -> None:
        """Give it cards."""
        self.placements = placements
        self.started_at = self.since = now
        self.runs += 1
        if self.first_start is None:
            self.first_start = now

    def advance(self, now: float) -> None:
        """Work until now, at the speed that held since the last time."""
        passed = now - self.since
        starting = min(passed, self.to_start)
        self.to_start -= starting
        if self.runs > 1:
            self.lost += starting * self.cards
        self.left = max(0.0, self.left - (passed - starting) * self.speed)
        self.since = now

    def expected_end(self) -> float:
        """When it is done if nothing changes."""
        return self.since + self.to_start + self.left / self.speed


def row(job: WorkloadJob, live: Live | None) -> JobResult:
    """What became of a job; None: it was left out."""
    start = live.first_start if live else None
    end = live.end if live else None
    return JobResult(
        job_id=job.id,
        project=job.project,
        gpus=job.gpus,
        submit=job.submit,
        start=start,
        end=end,
        wait=None if start is None else start - job.submit,
        jct=None if end is None else end - job.submit,
        preemptions=len(live.preempted_at) if live else 0,
    )


class CardTable:
    """Who computes on which card, and how much of the cards is busy and booked."""

    def __init__(self, cards: Iterable[DeviceView], overlap: float) -> None:
        self._total = {card.uuid: card.total for card in cards}
        self._jobs: dict[str, list[Live]] = defaultdict(list)
        self._overlap = overlap
        self.busy = 0.0  # cards' worth of computing
        self.booked = 0  # bytes

    @property
    def number(self) -> int:
        """Of all cards."""
        return len(self._total)

    @property
    def memory(self) -> int:
        """Bytes of all cards."""
        return sum(self._total.values())

    def add(self, live: Live) -> set[Live]:
        """A job computes on its cards from now on. Returns the others there, whose speed may have changed."""
        return self._change(live, live.placements or (), on=True)

    def remove(self, live: Live) -> set[Live]:
        """A job computes no more. Returns the others there."""
        return self._change(live, live.placements or (), on=False)

    def book(self, live: Live, sign: int) -> None:
        """Count (1) or uncount (-1) the memory that the job holds."""
        for placement in live.placements or ():
            if placement.uuid in self._total:
                self.booked += sign * placement.memory

    def speed(self, live: Live) -> float:
        """That of the slowest of its cards: a gang waits for its last."""
        return min(
            (
                slowdown.speed([each.demand for each in self._jobs[placement.uuid]], self._overlap)
                for placement in live.placements or ()
                if placement.uuid in self._total
            ),
            default=1.0,
        )

    def _change(self, live: Live, placements: Iterable[Placement], *, on: bool) -> set[Live]:
        others: set[Live] = set()
        for placement in placements:
            if placement.uuid not in self._total:
                continue  # a machine, where a job without cards runs
            there = self._jobs[placement.uuid]
            self.busy -= slowdown.busy([each.demand for each in there])
            if on:
                there.append(live)
            else:
                there.remove(live)
            self.busy += slowdown.busy([each.demand for each in there])
            others.update(there)
        others.discard(live)
        return others
