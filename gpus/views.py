"""The page of one card: what it is, and how full and busy it was; and the same of all cards together."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from gpus.charts import Point, memory_figure
from gpus.fleetcharts import fleet_figure
from gpus.models import Device, Reading

SPANS: Mapping[str, tuple[str | Promise, int, int]] = {
    "15m": (gettext_lazy("15 minutes"), 15 * 60, 10),
    "1h": (gettext_lazy("1 hour"), 3600, 10),
    "6h": (gettext_lazy("6 hours"), 6 * 3600, 60),
    "24h": (gettext_lazy("24 hours"), 24 * 3600, 60),
    "7d": (gettext_lazy("7 days"), 7 * 24 * 3600, 3600),
}
"""How far back one may look: its words, its seconds, and the seconds of the readings that it shows."""


USUAL_SPAN = "1h"


@require_safe
def device_page(request: HttpRequest, uuid: str) -> HttpResponse:
    """The card's page."""
    device = _device(uuid)
    span = _span(request)
    context = {"device": device, "spans": SPANS, "span": span}
    return render(request, "gpus/device.html", context)


@require_safe
@never_cache
def device_charts(request: HttpRequest, uuid: str) -> JsonResponse:
    """Its readings of the chosen span as a figure."""
    device = _device(uuid)
    _words, seconds, resolution = SPANS[_span(request)]
    since = timezone.now().timestamp() - seconds
    rows = Reading.objects.filter(device=device, seconds=resolution, start__gte=since).order_by(
        "start"
    )
    points = [
        Point(
            start=row.start,
            seconds=resolution,
            used=row.used_max,
            busy=row.busy_mean,
            foreign=row.foreign_max,
        )
        for row in rows
    ]
    figure = memory_figure(points, total=device.memory_total) if points else None
    return JsonResponse({"memory": figure})


@require_safe
@never_cache
def fleet_charts(request: HttpRequest) -> JsonResponse:
    """All cards together in the chosen span, as a figure."""
    span = _span(request)
    _words, seconds, resolution = SPANS[span]
    return JsonResponse({"memory": fleet_figure(span, seconds, resolution)})


def _device(uuid: str) -> Device:
    device = Device.objects.select_related("node").filter(uuid=uuid).first()
    if device is None:
        raise Http404(_("There is no card “%(uuid)s”.") % {"uuid": uuid})
    return device


def _span(request: HttpRequest) -> str:
    span = request.GET.get("span", "")
    return span if span in SPANS else USUAL_SPAN
