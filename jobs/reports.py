"""Reports for managers, computed from the rows of attempts and bookings themselves; no sums are stored.

docs/reports.md says how each figure is counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Avg, Q
from django.utils import timezone

from gpus.attribution import charge
from gpus.models import Reading
from jobs import bookedspans
from jobs.core.reports import usage, waste
from jobs.core.reports.usage import Hold, Sum
from jobs.core.states import Outcome, Priority
from jobs.models import Allocation, Attempt, Project

LONGEST = timedelta(days=366)
"""The longest period of one report: readings and patience end there."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_COLUMNS = (
    "attempt__job",
    "attempt__job__task_id",
    "attempt__job__run",
    "attempt__job__owner__username",
    "attempt__job__project__slug",
    "device__name",
    "device__memory_total",
    "device__weight",
    "booked",
    "peak",
    "sm_share",
    "key",
    "created_at",
    "released_at",
    "attempt__outcome",
    "attempt__reason",
)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A period [since, until), and which jobs of it: of these projects, of one person, on one card model."""

    since: datetime
    until: datetime
    projects: tuple[Project, ...]
    whole_site: bool = False  # then figures that need everybody's jobs are told, too
    user: str = ""
    card: str = ""


@dataclass(frozen=True, kw_only=True)
class Wait:
    """How long the jobs of one priority waited for their first start, in seconds."""

    priority: str
    jobs: int
    median: float | None
    p90: float | None


@dataclass(frozen=True, kw_only=True)
class Share:
    """A project's part by weight, and the part that it got of all that was charged."""

    project: str
    entitled: float
    received: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """All figures of one period."""

    wanted: Wanted
    total: Sum
    tables: dict[str, dict[str, Sum]]  # "user", "project", "card", "day" -> name -> sum
    waits: list[Wait]
    outcomes: dict[str, int]  # of attempts that ended in the period
    waste: list[waste.Entry]
    unmeasured: int  # bookings without any measured use
    preempted_hours: float  # GPU-hours of work done again, of preemptions in the period
    names: dict[str, str]  # public id -> name of a job
    fairness: list[Share] | None  # None: not told, or filtered
    busy: float | None  # mean share of time in which kernels ran; None: not told, or no readings


def report(wanted: Wanted, now: datetime) -> Report:
    """Compute it; what still runs counts until `now`."""
    holds = list(_holds(wanted, now))
    tables = {
        "user": usage.summed(holds, lambda hold: hold.owner),
        "project": usage.summed(holds, lambda hold: hold.project),
        "card": usage.summed(holds, lambda hold: hold.card),
        "day": _days(holds, wanted),
    }
    return Report(
        wanted=wanted,
        total=usage.total(holds),
        tables=tables,
        waits=_waits(wanted),
        outcomes=_outcomes(wanted),
        waste=[waste.unused(holds), *waste.ended_badly(holds)],
        unmeasured=waste.unmeasured(holds),
        preempted_hours=_preempted(wanted),
        names={hold.job: hold.name for hold in holds},
        fairness=_fairness(holds, wanted),
        busy=_busy(wanted),
    )


def _holds(wanted: Wanted, now: datetime) -> Iterable[Hold]:
    """The bookings that touch the period, cut to it."""
    rows: Any = (
        Allocation.objects.filter(_of("attempt__job__", wanted), created_at__lt=wanted.until)
        .filter(Q(released_at=None) | Q(released_at__gt=wanted.since))
        .order_by("pk")
    )
    if wanted.card:
        rows = rows.filter(device__name=wanted.card)
    first, last = _at(wanted.since), _at(min(wanted.until, now))
    changed = bookedspans.changes_between(wanted.since)
    for row in rows.values_list(*_COLUMNS).iterator(chunk_size=10_000):
        (job, name, run, owner, project, card, size, weight, at_end, peak, busy, key, *end) = row
        created, released, outcome, reason = end
        for span in bookedspans.spans_of(at_end, created, released or now, changed.get(key, ())):
            begun, ended = max(first, _at(span.begun)), min(last, _at(span.ended))
            if ended > begun:
                rate = weight * max(charge(span.booked, peak) / size if size else 0.0, busy)
                told, booked = f"{name}#{run}", span.booked
                yield Hold(
                    job,
                    told,
                    owner,
                    project,
                    card,
                    booked,
                    peak,
                    begun,
                    ended,
                    outcome,
                    reason,
                    rate,
                )


def _of(prefix: str, wanted: Wanted) -> Q:
    chosen = Q(**{f"{prefix}project__in": wanted.projects})
    return chosen & Q(**{f"{prefix}owner__username": wanted.user}) if wanted.user else chosen


def _attempts(wanted: Wanted) -> Any:
    found = Attempt.objects.filter(_of("job__", wanted))
    if wanted.card:
        found = found.filter(allocations__device__name=wanted.card).distinct()
    return found


def _days(holds: Sequence[Hold], wanted: Wanted) -> dict[str, Sum]:
    """By day of the site's time zone."""
    zone = timezone.get_default_timezone()
    day = timezone.localtime(wanted.since, zone).date()
    begins: list[datetime] = []
    while not begins or begins[-1] < wanted.until:
        begins.append(datetime(day.year, day.month, day.day, tzinfo=zone))
        day += timedelta(days=1)
    sums = usage.by_day(holds, [_at(begin) for begin in begins])
    return {str(begin.date()): each for begin, each in zip(begins, sums, strict=False)}


def _waits(wanted: Wanted) -> list[Wait]:
    """From being handed in to the first start, of jobs whose first start lies in the period."""
    first = _attempts(wanted).filter(
        number=1, created_at__gte=wanted.since, created_at__lt=wanted.until
    )
    found: dict[int, list[float]] = defaultdict(list)
    rows = first.values_list("pk", "job__priority", "job__submitted_at", "created_at")
    for _pk, priority, submitted_at, started_at in rows:
        found[priority].append((started_at - submitted_at).total_seconds())
    return [
        Wait(
            priority=Priority(priority).name.lower(),
            jobs=len(found[priority]),
            median=usage.percentile(found[priority], 0.5),
            p90=usage.percentile(found[priority], 0.9),
        )
        for priority in sorted(found, reverse=True)
    ]


def _ended(wanted: Wanted) -> Any:
    return _attempts(wanted).filter(ended_at__gte=wanted.since, ended_at__lt=wanted.until)


def _outcomes(wanted: Wanted) -> dict[str, int]:
    counted = Counter(outcome for _pk, outcome in _ended(wanted).values_list("pk", "outcome"))
    return {outcome.value: counted[outcome.value] for outcome in Outcome if counted[outcome.value]}


def _preempted(wanted: Wanted) -> float:
    lost = _ended(wanted).filter(outcome=Outcome.PREEMPTED).values_list("pk", "lost_seconds")
    return sum(seconds or 0.0 for _pk, seconds in lost) / 3600


def _fairness(holds: Iterable[Hold], wanted: Wanted) -> list[Share] | None:
    if not wanted.whole_site or wanted.user or wanted.card:
        return None
    received = dict.fromkeys((project.slug for project in wanted.projects), 0.0)
    for hold in holds:
        received[hold.project] += hold.rate * hold.length
    entitled = usage.shares({project.slug: project.weight for project in wanted.projects})
    got = usage.shares(received)
    return [Share(project=slug, entitled=entitled[slug], received=got[slug]) for slug in received]


def _busy(wanted: Wanted) -> float | None:
    """Of all cards, from the hourly readings: an hour counts where it begins in the period."""
    if not wanted.whole_site or wanted.user:
        return None
    readings = Reading.objects.filter(
        seconds=3600,
        start__gte=int(wanted.since.timestamp()),
        start__lt=int(wanted.until.timestamp()),
    )
    if wanted.card:
        readings = readings.filter(device__name=wanted.card)
    mean: float | None = readings.aggregate(mean=Avg("busy_mean"))["mean"]
    return mean


def _at(moment: datetime) -> int:
    """Microseconds since the epoch, exactly."""
    return (moment - _EPOCH) // _MICROSECOND
