"""Rows of jobs, attempts, bookings and events -> the past of a period, as the replay takes it. Reads only."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet

from gpus.attribution import charge
from jobs import jobviews, sitesettings
from jobs.core.replay.past import PastAttempt, PastJob, Period, Spell
from jobs.core.scheduling.usage import charge_rate
from jobs.core.snapshot import DeviceView
from jobs.core.states import ACTIVE, JobState, Outcome, Priority
from jobs.history import History
from jobs.models import Allocation, Attempt, Job, JobEvent
from jobs.querysets import in_parts
from jobs.usage import HALF_LIVES

MOST_JOBS = 20_000
MOST_BEFORE = 5_000
"""Of the jobs, at most so many that were handed in before the period and had not ended then."""

_PRIORITIES = {priority.value: priority for priority in Priority}
_STOPS_WAITING = {"hold": "held", "submit": "held", "freeze": "frozen"}
_GOES_ON = {"release": "held", "thaw": "frozen"}


class _Row(NamedTuple):
    pk: str
    project: str
    owner: str
    submitted_at: datetime
    finished_at: datetime | None
    state: str
    priority: int
    min_memory: int
    gpus: int
    nodes: int
    gpu_type: str
    exclusive: bool
    preemptible: bool
    est_time: float | None
    template: str


_RENAMED = {"project": "project__slug", "owner": "owner__username"}
_COLUMNS = tuple(_RENAMED.get(name, name) for name in _Row._fields)


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """What was read."""

    period: Period
    jobs: tuple[PastJob, ...]
    left_out: int  # jobs that were too many


def read(since: datetime, now: datetime, *, most: int = MOST_JOBS) -> Past:
    """The jobs that lived between `since` and `now`; where they are too many, the newest, and the period is shorter."""
    inside = Job.objects.filter(submitted_at__gte=since, submitted_at__lte=now)
    asked = inside.count() + _alive_before(since).count()
    before = _alive_before(since)
    room = max(1, most - min(before.count(), MOST_BEFORE, most // 4))
    if inside.count() > room:
        since = _beginning_of_newest(inside, room)
        inside, before = inside.filter(submitted_at__gte=since), _alive_before(since)
    rows = [*_rows(before.order_by("submitted_at", "pk")[: most - room]), *_rows(inside)]
    return Past(
        period=Period(since=since.timestamp(), until=now.timestamp()),
        jobs=tuple(_past(rows, now)),
        left_out=max(0, asked - len(rows)),
    )


def used_before(
    since: datetime, half_life: float, cards: Mapping[int, DeviceView]
) -> dict[str, dict[str, float]]:
    """Weighted GPU-seconds by project and person, decayed, of what they held before the period began.

    Args:
        since: when the period begins.
        half_life: seconds after which usage counts half.
        cards: all cards by the keys of their rows.
    """
    at = since.timestamp()
    oldest = datetime.fromtimestamp(max(0.0, at - HALF_LIVES * half_life), UTC)
    rows: Any = (
        Allocation.objects.filter(created_at__lt=since)
        .filter(Q(released_at=None) | Q(released_at__gt=oldest))
        .values_list(
            *("attempt__job__project__slug", "attempt__job__owner__username", "device"),
            *("booked", "peak", "sm_share", "created_at", "released_at"),
        )
    )
    used: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for project, owner, device, booked, peak, share, created, released in rows.iterator(
        chunk_size=10_000
    ):
        if device in cards:
            rate = charge_rate(charge(booked, peak), cards[device], share)
            end = min(at, released.timestamp()) if released else at
            used[project][owner] += rate * _decayed(created.timestamp(), end, at, half_life)
    return used


def _decayed(began: float, ended: float, at: float, half_life: float) -> float:
    """Seconds from `began` to `ended`, as they count at a later time."""
    first, last = (math.exp2((each - at) / half_life) for each in (began, ended))
    return max(0.0, last - first) * half_life / math.log(2)


def _alive_before(since: datetime) -> QuerySet[Job]:
    alive = Q(finished_at=None) | Q(finished_at__gt=since)
    return Job.objects.filter(alive, submitted_at__lt=since)


def _beginning_of_newest(jobs: QuerySet[Job], most: int) -> datetime:
    newest = jobs.order_by("-submitted_at").values_list("submitted_at", flat=True)
    found: datetime = newest[most - 1]
    return found


def _rows(jobs: QuerySet[Job]) -> list[_Row]:
    rows: Any = (jobs if jobs.query.is_sliced else jobs.order_by("submitted_at", "pk")).values_list(
        *_COLUMNS
    )
    return [_Row._make(row) for row in rows.iterator(chunk_size=10_000)]


def _past(rows: Collection[_Row], now: datetime) -> Iterator[PastJob]:
    ids = [row.pk for row in rows]
    attempts, spells = _attempts(ids), _spells(ids)
    left = _left([row.pk for row in rows if row.state in ACTIVE], now)
    for row in rows:
        yield PastJob(
            id=row.pk,
            project=row.project,
            user=row.owner,
            submitted_at=row.submitted_at.timestamp(),
            ended_at=row.finished_at.timestamp() if row.finished_at else None,
            succeeded=row.state == JobState.SUCCEEDED,
            attempts=tuple(attempts.get(row.pk, ())),
            held=tuple(spells.get((row.pk, "held"), ())),
            frozen=tuple(spells.get((row.pk, "frozen"), ())),
            left=left.get(row.pk, math.inf),
            priority=_PRIORITIES[row.priority],
            memory=row.min_memory,
            gpus=row.gpus * row.nodes,
            gpu_type=row.gpu_type or None,
            exclusive=row.exclusive,
            preemptible=row.preemptible,
            est_time=math.inf if row.est_time is None else row.est_time,
            template=row.template,
        )


def _attempts(ids: Iterable[str]) -> dict[str, list[PastAttempt]]:
    """All attempts of these jobs, the oldest first."""
    found: dict[str, list[PastAttempt]] = defaultdict(list)
    columns = ("pk", "job", "created_at", "started_at", "ended_at", "outcome", "lost_seconds")
    for part in in_parts(ids):
        held = _held(part)
        rows: Any = Attempt.objects.filter(job__in=part).order_by("job", "number")
        for pk, job, booked, began, ended, outcome, lost in rows.values_list(*columns):
            cards, demand = held.get(pk, ((), 0.0))
            found[job].append(
                PastAttempt(
                    booked_at=booked.timestamp(),
                    began=began.timestamp() if began else None,
                    ended=ended.timestamp() if ended else None,
                    cards=cards,
                    demand=demand,
                    lost=lost or 0.0,
                    preempted=outcome == Outcome.PREEMPTED,
                )
            )
    return found


def _held(ids: Collection[str]) -> dict[int, tuple[tuple[str, ...], float]]:
    """The cards of each attempt of these jobs, and the SM demand that it was counted with."""
    rows: Any = (
        Allocation.objects.filter(attempt__job__in=ids)
        .order_by("pk")
        .values_list("attempt", "device__uuid", "sm_share")
    )
    found: dict[int, tuple[tuple[str, ...], float]] = {}
    for attempt, uuid, share in rows.iterator(chunk_size=10_000):
        cards, demand = found.get(attempt, ((), 0.0))
        # One that was swapped out has had its card in several parts.
        found[attempt] = tuple(dict.fromkeys((*cards, uuid))), max(demand, share)
    return found


def _spells(ids: Iterable[str]) -> dict[tuple[str, str], list[Spell]]:
    """When each job was held, and when it was frozen."""
    told = Q(kind__in=("hold", "release", "freeze", "thaw"))
    held_from_the_start = Q(kind="submit", new_state=JobState.HELD)
    found: dict[tuple[str, str], list[Spell]] = defaultdict(list)
    for part in in_parts(ids):
        rows: Any = JobEvent.objects.filter(told | held_from_the_start, job__in=part)
        for job, kind, at in rows.order_by("pk").values_list("job", "kind", "at"):
            _note(found, job, kind, at.timestamp())
    return found


def _note(found: dict[tuple[str, str], list[Spell]], job: str, kind: str, at: float) -> None:
    """Open a spell, or close the one that is open."""
    if what := _STOPS_WAITING.get(kind):
        found[job, what].append((at, math.inf))
    elif spells := found.get((job, _GOES_ON[kind])):
        began, until = spells[-1]
        spells[-1] = began, min(until, at)


def _left(ids: Collection[str], now: datetime) -> dict[str, float]:
    """How long each of these unfinished jobs is still expected to work; infinite where nobody can tell."""
    open_attempts = [
        pk
        for part in in_parts(ids)
        for pk in Attempt.objects.open().filter(job__in=part).values_list("pk", flat=True)
    ]
    runs, queued = jobviews.running(open_attempts), jobviews.queued(ids)
    history = History()
    history.refresh(now, {row.template for row in queued} | {run.job.template for run in runs})
    viewer = jobviews.Viewer(
        now=now.timestamp(),
        rules=sitesettings.rules(),
        history=history,
        earlier=jobviews.earlier(ids),
    )
    left = {row.pk: viewer.job(row).run_time for row in queued}
    return left | {run.job.pk: viewer.run(run, (), {}).expected_end - viewer.now for run in runs}
