"""The managers' reports: filters in the address; the same address with `format=csv` is a table for Excel."""

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
from jobs import permissions, reportquery
from jobs.refusals import Refused
from jobs.reports import Report, report
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
    "failed": (_("Failed"), _("What attempts held that failed otherwise than by memory.")),
    "oom": (_("Out of memory"), _("What attempts held that ran out of GPU or main memory.")),
    "lost": (_("Lost"), _("What attempts held whose machine or supervisor was lost.")),
}


@require_safe
@never_cache
def reports(request: HttpRequest) -> HttpResponse:
    """The page, or its figures as CSV; a wrong address gets the page with what is wrong in it."""
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
    if given.get("format") == "csv":
        answer = HttpResponse(reportquery.as_csv(found), content_type=reportquery.CSV_KIND)
        answer["Content-Disposition"] = 'attachment; filename="report.csv"'
        return answer
    return render(request, "reports/reports.html", context | _figures(found))


def _figures(found: Report) -> dict[str, Any]:
    told = reportquery.as_json(found)
    return {
        "report": told,
        "first": told["from"],
        "last": told["to"],
        "is_empty": not found.total.members,
        "tables": [(title, told[f"by_{name}"]) for name, title in TABLES.items()],
        "waste": [(*WASTE[each["name"]], each) for each in told["waste"]],
    }


def _models() -> list[str]:
    return sorted(set(Device.objects.order_by().values_list("name", flat=True)))
