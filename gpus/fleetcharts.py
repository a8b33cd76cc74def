"""What all cards together have used and how busy they were, added up in the database to few points."""

from __future__ import annotations

from typing import Any

from django.core.cache import cache
from django.db.models import Avg, Count, ExpressionWrapper, F, PositiveBigIntegerField, Sum
from django.utils import timezone

from gpus.charts import Point, memory_figure
from gpus.models import Device, Reading

MOST_POINTS = 120  # of one line, on a page that has more to do than to draw
_KEPT_FOR = 5  # seconds that one answer serves all readers


def fleet_figure(span: str, seconds: int, resolution: int) -> dict[str, Any] | None:
    """Memory used on all cards and their mean busy time over the last `seconds`; None without any reading.

    Args:
        span: the name of the time, under which the answer is kept.
        seconds: how far back.
        resolution: of the readings that are added up, seconds.
    """
    key = f"fleet-figure:{span}"
    kept = cache.get(key)
    if kept is None:
        kept = [_figure(seconds, resolution)]
        cache.set(key, kept, _KEPT_FOR)
    figure: dict[str, Any] | None = kept[0]
    return figure


def _figure(seconds: int, resolution: int) -> dict[str, Any] | None:
    step = resolution * -(-seconds // (MOST_POINTS * resolution))
    points = _points(timezone.now().timestamp() - seconds, resolution, step)
    if not points:
        return None
    sums = Device.objects.aggregate(total=Sum("memory_total"), booked=Sum("booked"))
    return memory_figure(points, total=sums["total"], booked=sums["booked"])


def _points(since: float, resolution: int, step: int) -> list[Point]:
    """For each `step` seconds the sum over the cards of what each used on average."""
    bucket = ExpressionWrapper(F("start") - F("start") % step, PositiveBigIntegerField())
    rows = (
        Reading.objects.filter(seconds=resolution, start__gte=since)
        .annotate(at=bucket)
        .values("at")
        .annotate(
            cards=Count("device", distinct=True),
            used=Avg("used_mean"),
            foreign=Avg("foreign_max"),
            busy=Avg("busy_mean"),
        )
        .order_by("at")
    )
    return [
        Point(
            start=row["at"],
            seconds=step,
            used=_times(row["used"], row["cards"]),
            foreign=_times(row["foreign"], row["cards"]),
            busy=row["busy"],
        )
        for row in rows
    ]


def _times(mean: float | None, cards: int) -> int | None:
    return None if mean is None else round(mean * cards)
