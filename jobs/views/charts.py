"""The charts of one job: its loss, and the memory and busy time of its cards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from gpus.charts import Point, curve, figure, memory_figure
from gpus.models import HolderReading
from jobs import progress
from jobs.core.progress import LossPoint
from jobs.models import Allocation, Job
from jobs.views.signedin import job_for

_FINE_FOR_S = 3600  # a job that ran longer is drawn from readings of a minute


@require_safe
@never_cache
def job_charts(request: HttpRequest, job_id: str) -> JsonResponse:
    """Both figures; None where there is nothing to draw."""
    job = job_for(request, job_id)
    return JsonResponse({"loss": _loss(job), "memory": _memory(job)})


def _loss(job: Job) -> dict[str, Any] | None:
    points = progress.loss_points(job)
    trained = [point for point in points if point.loss is not None]
    if not trained:
        return None
    steps = [point.step for point in trained]
    traces = [
        curve("loss", steps, [point.loss for point in trained], "--line-strong", width=1),
        curve("smoothed", steps, smoothed(trained), "--accent", width=2),
    ]
    evaluated = [point for point in points if point.eval_loss is not None]
    if evaluated:
        values = [point.eval_loss for point in evaluated]
        colour = "--state-paused"
        traces.append(
            curve("eval_loss", [each.step for each in evaluated], values, colour, width=2)
        )
    return figure(traces, {"xaxis": {"rangemode": "tozero"}})


def smoothed(points: Sequence[LossPoint]) -> list[float]:
    """LLaMA-Factory's own smoothing, so that curves look the same in both places.

    An exponential mean whose weight grows with the number of points: 1.8 * (sigmoid(0.05 n) - 0.5).
    """
    weight = 1.8 * (1 / (1 + math.exp(-0.05 * len(points))) - 0.5)
    values: list[float] = []
    for point in points:
        loss = point.loss or 0.0
        last = values[-1] if values else loss
        values.append(last * weight + (1 - weight) * loss)
    return values


def _memory(job: Job) -> dict[str, Any] | None:
    """The job's cards taken together: what matters to its owner is what the job holds and uses."""
    booked = Allocation.objects.filter(attempt__job=job, attempt__number=job.epoch)
    points = _points(job)
    if not points:
        return None
    by_card = dict(booked.order_by("pk").values_list("device", "booked"))
    return memory_figure(points, booked=sum(by_card.values()))


def _points(job: Job) -> list[Point]:
    """Readings of all its attempts, summed over cards."""
    of_job = HolderReading.objects.filter(
        holder__in=[attempt.token for attempt in job.attempts.all()]
    )
    started = job.started_at or job.submitted_at
    ran = ((job.finished_at or job.state_since) - started).total_seconds()
    rows = list(of_job.filter(seconds=10).order_by("start")) if ran <= _FINE_FOR_S else []
    if not rows:
        rows = list(of_job.filter(seconds=60).order_by("start"))
    by_start: dict[int, list[HolderReading]] = {}
    for row in rows:
        by_start.setdefault(row.start, []).append(row)
    return [_summed(start, group) for start, group in by_start.items()]


def _summed(start: int, rows: Sequence[HolderReading]) -> Point:
    used = [row.used_max for row in rows if row.used_max is not None]
    busy = [row.busy_mean for row in rows if row.busy_mean is not None]
    return Point(
        start=start,
        seconds=rows[0].seconds,
        used=sum(used) if used else None,
        busy=sum(busy) / len(busy) if busy else None,
    )
