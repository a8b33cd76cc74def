"""How long suspensions took: from the order to the moment in which the memory was free, as the event rows tell.

A person's pause and a preemption count alike, on every rung that gives memory back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from statistics import median
from typing import Any

from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Window
from django.db.models.functions import RowNumber

from jobs.core.states import JobState
from jobs.models import Job, JobEvent
from jobs.querysets import in_parts

DONE = ("suspend", "requeue")
"""The kinds of event rows that say that a job has given its cards back."""

SWAP = "swap"
"""What such a row has as its `rung` where the memory went to main memory."""

EXPERIENCES = 20
"""The newest suspensions of a kind, or of the site, from which the usual time is taken."""


def took_by_kind(templates: Collection[str], since: datetime) -> dict[str, list[float]]:
    """Seconds that the newest suspensions of these kinds of jobs took, the newest first."""
    found: dict[str, list[float]] = defaultdict(list)
    order = Window(RowNumber(), partition_by=F("job__template"), order_by=F("pk").desc())
    for some in in_parts(sorted(set(templates) - {""})):
        done = JobEvent.objects.filter(job__template__in=some, kind__in=DONE, at__gte=since)
        newest = _with_order(done).annotate(place=order).filter(place__lte=EXPERIENCES)
        rows: Any = newest.order_by("job__template", "place")
        for template, told, freed in rows.values_list("job__template", "told", "at"):
            if told is not None:
                found[template].append(_seconds(told, freed))
    return dict(found)


def usual_seconds(job: Job, *, saves: bool, swaps: bool = False) -> float | None:
    """What suspending the job will take: the median of its kind, else of the site's jobs of the same sort; or None."""
    rung = Q(data__rung=SWAP) if swaps else Q(data__rung__isnull=True)
    done = JobEvent.objects.filter(rung, kind__in=DONE)
    own = _newest(done.filter(job__template=job.template)) if job.template else []
    took = own or _newest(done if swaps else done.filter(attempt__saves_itself=saves))
    return median(took) if took else None


def _newest(done: QuerySet[JobEvent]) -> list[float]:
    rows: Any = _with_order(done).order_by("-pk").values_list("told", "at")[:EXPERIENCES]
    return [_seconds(told, freed) for told, freed in rows if told is not None]


def _with_order(done: QuerySet[JobEvent]) -> Any:
    """With the time at which the attempt was told to give its cards back, this time."""
    orders = JobEvent.objects.filter(
        attempt=OuterRef("attempt"), new_state=JobState.SUSPENDING, pk__lt=OuterRef("pk")
    )
    return done.annotate(told=Subquery(orders.order_by("-pk").values("at")[:1]))


def _seconds(told: datetime, freed: datetime) -> float:
    return max(0.0, (freed - told).total_seconds())
