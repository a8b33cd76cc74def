"""What really happened -> jobs for the simulator, and an account of what could not be taken over.

Jobs that ran or waited when the period began come first, so that the replay begins with the cards and the queue as
they were. They are replayed for what was left of them, and are not counted in any figure.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from jobs.core.expectation import Expectation, Past
from jobs.core.replay.alone import seconds_alone
from jobs.core.replay.past import PastJob, Period, spans
from jobs.core.simulation.workload import WorkloadJob

BEFORE = 1.0
"""Seconds before the period at which those come that already ran: nobody who waited takes their cards."""

_RUNS = 30  # of a kind, the newest, from which the next one's time is expected


@dataclass(frozen=True, kw_only=True, slots=True)
class Came:
    """A job that is replayed, beside what really became of it."""

    past: PastJob
    queued_at: float  # since when it could start
    started_at: float | None  # when it really got its cards; None: not yet
    counted: bool  # whether it came within the period
    work: float  # seconds alone on its cards, from the beginning of the period on
    demand: float  # its measured SM demand, 0..1; 0: nobody has measured it
    comes: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """A period as the simulator takes it. The counts are of jobs."""

    period: Period
    jobs: tuple[WorkloadJob, ...]
    came: tuple[Came, ...]  # the same jobs, in the same order
    never_ran: int = 0  # left out: they ended before they had a card
    held: int = 0  # left out: somebody kept them from starting
    unknown: int = 0  # left out: they wait, and nobody can tell how long they will run
    unfinished: int = (
        0  # still run, or will again, nobody can tell how long: taken for done as of now
    )
    unmeasured: int = 0  # nobody has measured how much of a card they compute with
    counted: frozenset[str] = field(default_factory=frozenset)  # those whose figures are shown


def workload(past: Sequence[PastJob], period: Period) -> Replayed:
    """The jobs of the period in the order in which they come."""
    left_out = {"never_ran": 0, "held": 0, "unknown": 0}
    came = []
    for job, work, demand in _worked(past, period):
        found = _came(job, period, work, demand)
        if isinstance(found, Came):
            came.append(found)
        else:
            left_out[found] += 1
    came.sort(key=lambda each: (each.comes, each.queued_at, each.past.id))
    return Replayed(
        period=period,
        jobs=tuple(_with_estimates(came, period)),
        came=tuple(came),
        unfinished=sum(each.past.ended_at is None and each.past.left == math.inf for each in came),
        unmeasured=sum(not each.demand for each in came),
        counted=frozenset(each.past.id for each in came if each.counted),
        **left_out,
    )


def _worked(
    past: Sequence[PastJob], period: Period
) -> Iterator[tuple[PastJob, float | None, float]]:
    """Each job, how long it worked within the period if it were alone on its cards, and its measured demand."""
    pieces = [(at, span) for at, job in enumerate(past) for span in spans(job, period)]
    alone: dict[int, float] = defaultdict(float)
    for (at, _span), seconds in zip(
        pieces, seconds_alone([span for _at, span in pieces]), strict=True
    ):
        alone[at] += seconds
    for at, job in enumerate(past):
        later = [each for each in job.attempts if each.ended is None or each.ended > period.since]
        again = sum(each.lost / max(1, len(each.cards)) for each in later)
        demand = max((each.demand for each in job.attempts), default=0.0)
        yield job, max(0.0, alone[at] - again) if at in alone else None, demand


def _came(job: PastJob, period: Period, worked: float | None, demand: float) -> Came | str:
    """How the job is replayed, or the count of those that are left out to which it belongs."""
    first = job.first_after(period.since)
    queued_at = job.queued_at(period.until if first is None else first.booked_at)
    if queued_at is None:
        return "held"
    if worked is None and job.ended_at is not None:
        return "never_ran"
    if worked is None and job.left == math.inf:
        return "unknown"
    runs_already = first is not None and first.booked_at < period.since
    left = 0.0 if job.ended_at is not None or job.left == math.inf else job.left
    return Came(
        past=job,
        queued_at=queued_at,
        started_at=first.booked_at if first else None,
        counted=queued_at >= period.since,
        work=(worked or 0.0) + left + (BEFORE if runs_already else 0.0),
        demand=demand,
        comes=period.since - BEFORE if runs_already else max(queued_at, period.since),
    )


# --- what the scheduler may know of how long they run -------------------------------------------------


def _with_estimates(came: Iterable[Came], period: Period) -> Iterator[WorkloadJob]:
    """Each job with what its owner said or, else, what those of its kind had shown by the time it came."""
    kinds, before = _Kinds(), Period(since=-math.inf, until=period.since)
    for each in came:
        kinds.learn_until(each.comes)
        expectation = Expectation(est_time=each.past.est_time, past=kinds.of(each.past.template))
        yield _job(each, expectation.left_after(_ran(each.past, before)))
        kinds.note(each.past)


def _job(each: Came, est_time: float) -> WorkloadJob:
    job = each.past
    return WorkloadJob(
        id=job.id,
        submit=each.queued_at,
        comes=each.comes,
        duration=each.work,
        gpus=job.gpus,
        memory=job.memory,
        gpu_type=job.gpu_type,
        exclusive=job.exclusive,
        project=job.project,
        user=job.user,
        priority=job.priority,
        sm_share=each.demand,
        preemptible=job.preemptible,
        est_time=est_time,
    )


def _ran(job: PastJob, period: Period) -> float:
    return sum(span.ended - span.began for span in spans(job, period))


class _Kinds:
    """What jobs of each kind have shown so far."""

    def __init__(self) -> None:
        self._known: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_RUNS))
        self._to_come: list[tuple[float, str, float]] = []

    def note(self, job: PastJob) -> None:
        """Remember how long it ran, for those that come after its end."""
        if job.succeeded and job.ended_at is not None and job.template:
            seconds = _ran(job, Period(since=-math.inf, until=math.inf))
            heappush(self._to_come, (job.ended_at, job.template, seconds))

    def learn_until(self, now: float) -> None:
        """Know what had ended by then."""
        while self._to_come and self._to_come[0][0] <= now:
            _ended, template, seconds = heappop(self._to_come)
            self._known[template].append(seconds)

    def of(self, template: str) -> Past:
        """What is known of a kind."""
        return Past.of(self._known.get(template, ()))
