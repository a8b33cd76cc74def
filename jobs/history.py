"""What jobs of each kind have shown: how long they ran, how busy they keep a card alone, how long a suspension takes.

Kinds are `Job.template`. What is known of a kind is read when a job of it first turns up, and again some minutes after
another one has succeeded or was suspended; a value that hardly changes stays as it is, so that nobody's plans change
for nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import median
from typing import Any, NamedTuple

from django.db.models import Avg, Count, Exists, F, Max, OuterRef, Q, Subquery, Window
from django.db.models.functions import Coalesce, RowNumber

from gpus.models import HolderReading, Reading
from jobs.core.expectation import NO_PAST, Past
from jobs.core.plan import PreemptionRule
from jobs.core.states import JobState, Outcome
from jobs.models import Attempt, JobEvent
from jobs.querysets import in_parts
from jobs.suspendtimes import DONE, took_by_kind

LOOK_AGAIN = timedelta(minutes=5)
"""Between two looks for what has succeeded meanwhile."""

REMEMBERED = timedelta(days=90)
RUNS = 30
"""The newest runs of a kind from which its times are taken."""

PACKING_REMEMBERED = timedelta(hours=24)
"""For which kinds whose packing did not pay count as demanding as that showed."""

RUNS_WATCHED = 3
"""The newest runs of a kind whose load is taken."""

_MINUTE = 60  # the period of the readings that are looked at
_LEAST_MINUTES = 5  # alone on a card, or nothing is learned
_SM_STEP = 0.05
_HARDLY = 0.1  # a run time that differs by less stays as it was


class _Run(NamedTuple):
    """A succeeded attempt."""

    template: str
    job: str
    number: int
    started_at: datetime
    ended_at: datetime

    @property
    def token(self) -> str:
        return f"{self.job}-{self.number}"


class History:
    """What is known of the kinds of jobs that wait or run."""

    def __init__(self) -> None:
        self._known: dict[str, Past] = {}
        self._looked_at: datetime | None = None
        self._seen_event = 0
        self._demands: dict[str, tuple[float, datetime]] = {}  # by kind, and until when
        self._changed: set[str] = set()  # kinds whose demand has changed since the last refresh

    def of(self, template: str) -> Past:
        """What is known of a kind."""
        past = self._known.get(template, NO_PAST)
        demand = self._demands.get(template)
        if demand is None or demand[0] <= past.sm_share:
            return past
        return replace(past, sm_share=demand[0])

    def note_demands(self, demands: Mapping[str, float], at: datetime) -> None:
        """What a packing that did not pay has shown of these kinds; it counts for a while, then is tried again."""
        until = at + PACKING_REMEMBERED
        for template, demand in demands.items():
            known = self._demands.get(template)
            if template and (known is None or known[1] <= until):
                self._demands[template] = demand, until
                self._changed.add(template)

    def refresh(self, now: datetime, templates: Collection[str]) -> frozenset[str]:
        """Know these kinds too; those of which something else is known now than before."""
        new = frozenset(templates) - self._known.keys() - {""}
        is_time = self._is_time(now)
        if is_time:
            self._read_demands(now)
        grown = self._shown_since(now) & self._known.keys() if is_time else set()
        changed, self._changed = self._changed, set()
        learned = _learn(now, new | grown)
        for template in new | grown:
            known, past = self._known.get(template), learned.get(template, NO_PAST)
            if known is None or _differ(known, past):
                self._known[template] = past
                changed.add(template)
        return frozenset(changed - new)

    def _read_demands(self, now: datetime) -> None:
        """What was noted by any process, and forget what is too old."""
        for template in [name for name, (_, until) in self._demands.items() if until <= now]:
            del self._demands[template]
            self._changed.add(template)
        rows = JobEvent.objects.filter(
            at__gte=now - PACKING_REMEMBERED, kind="preempt", data__rule=PreemptionRule.PACKING
        )
        for at, data in rows.order_by("pk").values_list("at", "data"):
            demands = data.get("demands") or {}
            self.note_demands({str(kind): float(each) for kind, each in demands.items()}, at)

    def _is_time(self, now: datetime) -> bool:
        return self._looked_at is None or now - self._looked_at >= LOOK_AGAIN

    def _shown_since(self, now: datetime) -> frozenset[str]:
        """Kinds of which a job has succeeded, or gave its cards back, since the last look."""
        first, self._looked_at = self._looked_at is None, now
        events = JobEvent.objects.filter(pk__gt=self._seen_event)
        self._seen_event = events.aggregate(last=Max("pk"))["last"] or self._seen_event
        if first:
            return frozenset()
        shows = Q(new_state=JobState.SUCCEEDED) | Q(kind__in=DONE)
        ends = events.filter(shows, pk__lte=self._seen_event)
        return frozenset(ends.values_list("job__template", flat=True))


def _differ(known: Past, past: Past) -> bool:
    if (known.sm_share, known.count == 0) != (past.sm_share, past.count == 0):
        return True
    if (known.suspend is None) != (past.suspend is None):
        return True
    times = [(known.usual, past.usual), (known.long, past.long)] if past.count else []
    times += [(known.suspend or 0.0, past.suspend or 0.0)]
    return any(abs(new - old) > _HARDLY * old for old, new in times)


def _learn(now: datetime, templates: Collection[str]) -> dict[str, Past]:
    """What the newest runs of these kinds show."""
    runs: dict[str, list[_Run]] = defaultdict(list)
    for run in _newest_runs(now, templates):
        runs[run.template].append(run)
    saved = _saved_before(run for each in runs.values() for run in each)
    watched = [run for each in runs.values() for run in each[:RUNS_WATCHED]]
    busy = _busy_alone([run.token for run in watched])
    shown = {
        template: Past.of(
            [_seconds(run) + saved.get(run.job, 0.0) for run in each],
            _share([busy[run.token] for run in each[:RUNS_WATCHED] if run.token in busy]),
        )
        for template, each in runs.items()
    }
    for template, took in took_by_kind(templates, now - REMEMBERED).items():
        shown[template] = replace(shown.get(template, NO_PAST), suspend=median(took))
    return shown


def _newest_runs(now: datetime, templates: Collection[str]) -> Iterator[_Run]:
    """The newest runs of each kind, the newest first."""
    succeeded = Attempt.objects.filter(
        outcome=Outcome.SUCCEEDED,
        started_at__isnull=False,
        job__state=JobState.SUCCEEDED,
        job__finished_at__gte=now - REMEMBERED,
    )
    order = Window(
        RowNumber(), partition_by=F("job__template"), order_by=F("job__finished_at").desc()
    )
    for some in in_parts(sorted(templates)):
        rows: Any = (
            succeeded.filter(job__template__in=some)
            .annotate(place=order)
            .filter(place__lte=RUNS)
            .order_by("job__template", "place")
            .values_list("job__template", "job", "number", "started_at", "ended_at")
        )
        yield from (_Run(*row) for row in rows)


def _saved_before(runs: Iterable[_Run]) -> dict[str, float]:
    """Seconds of work, by job, that its earlier attempts had saved when they ended."""
    saved: dict[str, float] = defaultdict(float)
    for some in in_parts([run.job for run in runs if run.number > 1]):
        rows: Any = Attempt.objects.filter(
            job__in=some, saved_at__isnull=False, started_at__isnull=False
        ).exclude(outcome=Outcome.SUCCEEDED)
        for job, started_at, saved_at in rows.values_list("job", "started_at", "saved_at"):
            saved[job] += max(0.0, (saved_at - started_at).total_seconds())
    return saved


def _busy_alone(tokens: Sequence[str]) -> dict[str, tuple[int, float]]:
    """Minutes that each attempt was alone on its cards, and the share of them in which kernels ran.

    Where a driver does not tell it by process, the card's own share is the attempt's, because nobody else was there.
    """
    same = {"device": OuterRef("device"), "seconds": _MINUTE, "start": OuterRef("start")}
    others = HolderReading.objects.filter(**same).exclude(holder=OuterRef("holder"))
    of_card = Subquery(Reading.objects.filter(**same).values("busy_mean")[:1])
    found: dict[str, tuple[int, float]] = {}
    for some in in_parts(tokens):
        rows = (
            HolderReading.objects.filter(~Exists(others), holder__in=some, seconds=_MINUTE)
            .annotate(busy=Coalesce(F("busy_mean"), of_card))
            .filter(busy__isnull=False)
            .values_list("holder")
            .annotate(minutes=Count("pk"), mean=Avg("busy"))
        )
        found |= {holder: (minutes, mean) for holder, minutes, mean in rows}
    return found


def _share(watched: Sequence[tuple[int, float]]) -> float:
    """The mean over all minutes, in steps that keep it steady; 0 where there are too few."""
    minutes = sum(count for count, _mean in watched)
    if minutes < _LEAST_MINUTES:
        return 0.0
    mean = sum(count * mean for count, mean in watched) / minutes
    return min(1.0, round(max(1, round(mean / _SM_STEP)) * _SM_STEP, 2))


def _seconds(run: _Run) -> float:
    return max(0.0, (run.ended_at - run.started_at).total_seconds())
