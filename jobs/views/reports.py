"""The managers' reports: filters in the address; the same address with `format=csv` or `format=xlsx` is for Excel."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from gpus.models import Device
from jobs import csvtext, permissions, reportquery, reportsheets
from jobs.refusals import Refused
from jobs.reports import Report, report
from jobs.views.reportcharts import charts_of
from jobs.views.signedin import viewer_of

TABLES: dict[str, str | Promise] = {
    "project": _("By project"),
    "user": _("By person"),
    "card": _("By card"),
    "day": _("By day"),
}
WASTE: dict[str, tuple[str | Promise, str | Promise]] = {
    "unused": (
        _("Booked but unused"),
        _("Booked memory above the highest use ever measured, times the time of the booking."),
    ),
    "idle": (
        _("Idle"),
        _("Hours in which the processes of a job kept its card busy for less than 5 %."),
    ),
    "preempted": (
        _("Lost to preemption"),
        _("Work since the last checkpoint that a preemption threw away, paused time left out."),
    ),
    "paused": (
        _("Lost to pauses"),
        _("Work since the last checkpoint that a pause threw away."),
    ),
    "failed": (_("Failed"), _("What attempts held that failed otherwise than by memory.")),
    "oom": (_("Out of memory"), _("What attempts held that ran out of GPU or main memory.")),
    "lost": (_("Lost"), _("What attempts held whose machine or supervisor was lost.")),
    "ghost": (
        _("Outside the queue"),
        _("Memory that belongs to no job of the queue, ghosts included: the highest of each hour."),
    ),
    "waited": (
        _("Free while somebody waited"),
        _(
            "Cards in service without a booking, while a job was queued that asks for no more than"
            " they have. A job is told with all the time of cards that it could have used."
        ),
    ),
}
DOWNLOADS = {
    "csv": (reportsheets.as_csv, csvtext.KIND),
    "xlsx": (reportsheets.as_xlsx, reportsheets.XLSX_KIND),
}


@require_safe
@never_cache
def reports(request: HttpRequest) -> HttpResponse:
    """The page, or its figures as a file; a wrong address gets the page with what is wrong in it."""
    viewer = viewer_of(request)
    allowed = permissions.projects_reported_to(viewer)
    given = {name: str(value) for name, value in request.GET.items()}
    now = timezone.now()
    context: dict[str, Any] = {
        "given": {"project": "", "card": "", "user": ""} | given,
        "first": given.get("from", ""),
        "last": given.get("to", ""),
        "projects": allowed,
        "models": _models(),
    }
    try:
        wanted = reportquery.wanted_from(given, allowed, is_admin=viewer.is_superuser, now=now)
    except Refused as refused:
        return render(
            request, "reports/reports.html", {**context, "refused": refused}, status=refused.status
        )
    found = report(wanted, now)
    kind = given.get("format", "")
    if kind in DOWNLOADS:
        make, content_type = DOWNLOADS[kind]
        answer = HttpResponse(make(found), content_type=content_type)
        name = f"report-{found.wanted.first}-{found.wanted.last}.{kind}"
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer
    return render(request, "reports/reports.html", context | _figures(found))


def _figures(found: Report) -> dict[str, Any]:
    told = reportsheets.as_json(found)
    return {
        "report": told,
        "first": told["from"],
        "last": told["to"],
        "is_empty": not found.total.jobs and not any(each.whole.time for each in found.waste),
        "charts": list(charts_of(found)),
        "tables": [(title, told[f"by_{name}"]) for name, title in TABLES.items()],
        "waste": [(*WASTE[each["name"]], each) for each in told["waste"]],
    }


def _models() -> list[str]:
    return sorted(set(Device.objects.order_by().values_list("name", flat=True)))
