"""Reports for managers: the ledger of finished days, and what has ended since or goes on, computed when asked.

docs/reports.md says how each figure is counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any

from django.db.models import Q

from gpus.models import Device
from jobs.core.reports import usage, waste
from jobs.core.reports.bookings import GIB, DayPart, parts
from jobs.core.reports.usage import Sum, Usage
from jobs.core.reports.waste import Entry, Waste
from jobs.core.states import Outcome, Priority
from jobs.ledger import sums
from jobs.ledger.bookings import HOUR_S, bookings_of
from jobs.ledger.cards import CardPart, WaitedPart, card_parts
from jobs.ledger.days import SECOND, date_of, days_between, midnight
from jobs.ledger.rollup import through
from jobs.models import CardDay, Job, Project, User, WaitedDay
from jobs.querysets import in_parts

LONGEST = timedelta(days=366)
"""The longest period of one report: readings and patience end there."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Days from `first` to `last`, both included, and which jobs: of which projects, person and card model."""

    first: date
    last: date
    projects: tuple[Project, ...]
    whole_site: bool = False  # then figures that need everybody's jobs are told, too
    user: str = ""
    card: str = ""


@dataclass(frozen=True, kw_only=True)
class Wait:
    """How long the jobs of one priority waited for their first start, in microseconds."""

    priority: str
    jobs: int
    median: int | None
    p90: int | None


@dataclass(frozen=True, kw_only=True)
class Share:
    """A project's part by weight, and the part that it got of all that was charged."""

    project: str
    entitled: float
    received: float


@dataclass(slots=True)
class Cards:
    """What cards were, added up. Times are microseconds."""

    service: int = 0
    occupied: int = 0
    waited: int = 0
    hours: int = 0
    busy: float = 0.0
    memory_hours: int = 0
    used: int = 0
    size: int = 0  # of the cards' memory, over the hours that tell what was used

    @property
    def occupied_share(self) -> float | None:
        """Of the time in service, in which at least one job held the card."""
        return self.occupied / self.service if self.service else None

    @property
    def busy_share(self) -> float | None:
        """Mean share of time in which kernels ran."""
        return self.busy / self.hours if self.hours else None

    @property
    def memory_share(self) -> float | None:
        """Mean share of memory that was used, by whomever."""
        return self.used / self.size if self.size else None


@dataclass(frozen=True, kw_only=True)
class Report:
    """All figures of one period."""

    wanted: Wanted
    total: Sum
    tables: dict[str, dict[str, Sum]]  # "user", "project", "card", "day" -> name -> sum
    day_projects: dict[tuple[int, str], Sum]
    waits: list[Wait]
    waits_by_day: dict[int, list[int]]  # in order
    outcomes: dict[str, int]  # of attempts that ended in the period
    waste: list[Entry]
    unmeasured: int  # jobs with a booking of which no use was ever measured
    fairness: list[Share] | None  # None: not told, or filtered
    cards: dict[int, Cards] | None  # by day; None: not told


def report(wanted: Wanted, now: datetime) -> Report:
    """Compute it; what still runs counts until `now`."""
    while True:
        stored_until = through()
        found = _report(wanted, now, stored_until)
        if through() == stored_until:  # else a day moved into the ledger in between
            return found


def job_names(ids: Iterable[str]) -> dict[str, str]:
    """What people call these jobs."""
    found: dict[str, str] = {}
    for part in in_parts(ids):
        rows: Any = Job.objects.filter(pk__in=part).values_list("pk", "task_id", "run")
        found |= {pk: f"{task_id}#{run}" for pk, task_id, run in rows}
    return found


def _report(wanted: Wanted, now: datetime, stored_until: datetime | None) -> Report:
    used, wasted = Usage(), Waste()
    waits: dict[int, list[int]] = defaultdict(list)
    by_day: dict[int, list[int]] = defaultdict(list)
    outcomes: Counter[str] = Counter()
    ranks = Q(rank__gt=0) if wanted.card else Q(rank=1)
    started: Iterable[tuple[int, int, int]] = ()
    if stored_until:
        chosen = _stored(wanted)
        sums.add(chosen, used, wasted)
        started = sums.waits(chosen & ranks)
        outcomes.update(sums.outcomes(chosen & ranks))
    fresh = list(_parts(wanted, now, stored_until))
    for part in fresh:
        used.add(part)
        wasted.add(part)
    ranked = [part for part in fresh if part.rank == 1 or (part.rank and wanted.card)]
    outcomes.update(part.outcome for part in ranked if part.outcome)
    for day, priority, wait in chain(started, _starts(ranked)):
        waits[priority].append(wait)
        by_day[day].append(wait)
    cards, entries = None, list(wasted.entries.values())
    if wanted.whole_site and not wanted.user:
        cards, more = _cards(wanted, now, stored_until)
        entries += more
    return Report(
        wanted=wanted,
        total=usage.total(used.by_who.values()),
        **_tables(used, wanted),
        waits=[
            _wait(priority, sorted(waits[priority])) for priority in sorted(waits, reverse=True)
        ],
        waits_by_day={day: sorted(values) for day, values in sorted(by_day.items())},
        outcomes={each.value: outcomes[each] for each in Outcome if outcomes[each]},
        waste=entries,
        unmeasured=len(wasted.unmeasured),
        fairness=_fairness(used, wanted),
        cards=cards,
    )


def _starts(parts: Iterable[DayPart]) -> Iterator[tuple[int, int, int]]:
    for part in parts:
        if part.wait is not None and part.priority is not None:
            yield part.day, part.priority, part.wait


def _stored(wanted: Wanted) -> Q:
    """The rows of the ledger that are wanted."""
    chosen = Q(day__range=(wanted.first.toordinal(), wanted.last.toordinal()))
    chosen &= Q(project__in=wanted.projects)
    if wanted.user:
        chosen &= Q(owner__username=wanted.user)
    return chosen & Q(device__in=_devices(wanted)) if wanted.card else chosen


def _parts(wanted: Wanted, now: datetime, stored_until: datetime | None) -> Iterator[DayPart]:
    """The parts in the period of the bookings that are not in the ledger."""
    devices = _devices(wanted)
    since = max(midnight(wanted.first), stored_until or midnight(wanted.first))
    attempts = Q(job__project__in=wanted.projects, created_at__lt=midnight(wanted.last + _DAY))
    attempts &= Q(ended_at=None) | Q(ended_at__gte=since)
    if wanted.user:
        attempts &= Q(job__owner__username=wanted.user)
    days = days_between(wanted.first, wanted.last)
    for _key, booking in bookings_of(attempts, now):
        if booking.device in devices:
            yield from parts(booking, days)


def _devices(wanted: Wanted) -> set[int]:
    named = Device.objects.filter(name=wanted.card) if wanted.card else Device.objects.all()
    return set(named.values_list("pk", flat=True))


def _tables(used: Usage, wanted: Wanted) -> dict[str, Any]:
    people = dict(User.objects.values_list("pk", "username"))
    slugs = {project.pk: project.slug for project in wanted.projects}
    models = dict(Device.objects.values_list("pk", "name"))
    day_projects = {(day, slugs[pk]): each for (day, pk), each in used.by_day.items()}
    days = usage.folded(used.by_day, lambda key: str(date.fromordinal(key[0])))
    count = (wanted.last - wanted.first).days + 1
    every = (str(wanted.first + number * _DAY) for number in range(count))
    return {
        "tables": {
            "user": usage.folded(used.by_who, lambda key: people[key[0]]),
            "project": usage.folded(used.by_who, lambda key: slugs[key[1]]),
            "card": usage.folded(used.by_who, lambda key: models[key[2]]),
            "day": {day: days.get(day, Sum()) for day in every},
        },
        "day_projects": day_projects,
    }


def _wait(priority: int, waits: list[int]) -> Wait:
    return Wait(
        priority=Priority(priority).name.lower(),
        jobs=len(waits),
        median=usage.percentile(waits, 0.5),
        p90=usage.percentile(waits, 0.9),
    )


def _fairness(used: Usage, wanted: Wanted) -> list[Share] | None:
    if not wanted.whole_site or wanted.user or wanted.card:
        return None
    weights = dict(Device.objects.values_list("pk", "weight"))
    received = {project.pk: 0.0 for project in wanted.projects}
    for (_owner, project, device), each in used.by_who.items():
        received[project] += each.charged * weights[device]
    slugs = {project.pk: project.slug for project in wanted.projects}
    got = usage.shares({slugs[pk]: amount for pk, amount in received.items()})
    entitled = usage.shares({project.slug: project.weight for project in wanted.projects})
    return [Share(project=slug, entitled=entitled[slug], received=got[slug]) for slug in got]


def _cards(
    wanted: Wanted, now: datetime, stored_until: datetime | None
) -> tuple[dict[int, Cards], list[Entry]]:
    """By day, and the two kinds of waste that are of cards."""
    rows, waited = _card_rows(wanted, now, stored_until)
    cards = {card.pk: card for card in Device.objects.select_related("node")}
    devices = _devices(wanted)
    found: dict[int, Cards] = defaultdict(Cards)
    ghost: list[tuple[str, int, int]] = []
    free = 0
    for row in rows:
        if row.device not in devices:
            continue
        of = found[row.day]
        of.service += row.service
        of.occupied += row.occupied
        of.waited += row.waited
        of.hours += row.hours
        of.busy += row.busy
        of.memory_hours += row.memory_hours
        of.used += row.used
        of.size += row.memory_hours * cards[row.device].memory_total
        free += row.waited
        if row.foreign:
            hour = HOUR_S * SECOND
            ghost.append((str(cards[row.device]), 0, round(row.foreign * hour / GIB)))
    waiting = waste.of_cards(waste.WAITED, ((part.job, part.time, 0) for part in waited))
    waiting.whole = waste.Amount(time=free)
    return dict(sorted(found.items())), [waste.of_cards(waste.GHOST, ghost), waiting]


def _card_rows(
    wanted: Wanted, now: datetime, stored_until: datetime | None
) -> tuple[list[CardPart], list[WaitedPart]]:
    period = Q(day__range=(wanted.first.toordinal(), wanted.last.toordinal()))
    parts, waited = [], []
    first = wanted.first
    if stored_until:
        rows: Any = CardDay.objects.filter(period)
        columns = ["device_id" if name == "device" else name for name in CardPart._fields]
        parts = [CardPart(*row) for row in rows.values_list(*columns)]
        told: Any = WaitedDay.objects.filter(period).values_list("day", "job_id", "time")
        waited = [WaitedPart(*row) for row in told]
        first = max(first, date_of(stored_until))
    last = min(wanted.last, date_of(now))
    if first <= last:
        fresh, queued = card_parts(days_between(first, last), now)
        parts += fresh
        waited += queued
    return parts, waited
