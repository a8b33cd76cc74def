"""What a report's address asks for, the same on the page, in the API and in CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _

from jobs.core.problems import shortened
from jobs.core.reports.usage import Sum
from jobs.models import Project
from jobs.refusals import Refused
from jobs.reports import LONGEST, Report, Wanted

USUAL_DAYS = 30
CSV_KIND = "text/csv; charset=utf-8"
MOST_JOBS = 20
"""Jobs that are named behind each figure of the waste ledger."""

_COLUMNS = ("table", "name", "gpu_hours", "memory_gib_hours", "jobs")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def wanted_from(
    given: Mapping[str, str], allowed: Sequence[Project], *, is_admin: bool, now: datetime
) -> Wanted:
    """Read `from` and `to` (days, both included), `project`, `user` and `card`.

    Raises:
        Refused: nothing is open to the reader, or a value is wrong.
    """
    if not allowed:
        raise Refused(
            code="forbidden",
            title=_("You may not do this"),
            detail=_("Reports are for those who lead a project, and for admins."),
            hint=_("Ask a lead of your project for the figures."),
            status=403,
        )
    today = timezone.localdate(now, timezone.get_default_timezone())
    last = _day(given, "to", today)
    first = _day(given, "from", last - timedelta(days=USUAL_DAYS - 1))
    if not timedelta(0) <= last - first < LONGEST:
        raise _wrong(
            _("The period from %(first)s to %(last)s cannot be reported.")
            % {"first": first, "last": last},
            _("Give a day `from` that is not after `to`, and at most %(days)s days.")
            % {"days": LONGEST.days},
        )
    slug = given.get("project", "")
    chosen = tuple(each for each in allowed if slug in {"", each.slug})
    if not chosen:
        raise _wrong(
            _("There is no project %(slug)s that you lead.") % {"slug": shortened(slug)},
            _("Allowed: %(allowed)s.") % {"allowed": ", ".join(each.slug for each in allowed)},
        )
    return Wanted(
        since=_midnight(first),
        until=_midnight(last + timedelta(days=1)),
        projects=chosen,
        whole_site=is_admin and not slug,
        user=given.get("user", "").strip()[:150],
        card=given.get("card", "").strip()[:96],
    )


def as_csv(report: Report) -> bytes:
    """All tables below each other; with a mark at the beginning from which Excel knows UTF-8."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(_COLUMNS)
    rows.writerows(_rows(report))
    return text.getvalue().encode("utf-8-sig")


def as_json(report: Report) -> dict[str, Any]:
    """The report as the API tells it."""
    wanted = report.wanted
    return {
        "from": _date(wanted.since),
        "to": _date(wanted.until - timedelta(days=1)),
        "projects": [each.slug for each in wanted.projects],
        "total": _line("", report.total),
        **{
            f"by_{table}": [_line(name, each) for name, each in sums.items()]
            for table, sums in report.tables.items()
        },
        "waits": [
            {"priority": w.priority, "jobs": w.jobs, "median_s": w.median, "p90_s": w.p90}
            for w in report.waits
        ],
        "outcomes": report.outcomes,
        "waste": [
            {
                **_line(entry.kind, entry.whole),
                "by_job": [
                    {**_line(report.names[job], each), "id": job}
                    for job, each in list(entry.jobs.items())[:MOST_JOBS]
                ],
            }
            for entry in report.waste
        ],
        "preempted_gpu_hours": report.preempted_hours,
        "unmeasured_bookings": report.unmeasured,
        "fairness": None
        if report.fairness is None
        else [
            {"project": each.project, "entitled": each.entitled, "received": each.received}
            for each in report.fairness
        ],
        "busy_mean": report.busy,
    }


def _rows(report: Report) -> Iterator[tuple[object, ...]]:
    yield _row("total", "", report.total)
    for table, sums in report.tables.items():
        for name, each in sums.items():
            yield _row(table, name, each)
    for entry in report.waste:
        yield _row("waste", entry.kind, entry.whole)
        for job, each in entry.jobs.items():
            yield _row(f"waste: {entry.kind}", report.names[job], each)


def _row(table: str, name: str, each: Sum) -> tuple[object, ...]:
    """A name that a spreadsheet would take for a formula is made a text."""
    shown = f"'{name}" if name.startswith(_FORMULA) else name
    return table, shown, each.gpu_hours, each.memory_hours, len(each.members)


def _line(name: str, each: Sum) -> dict[str, Any]:
    return {
        "name": name,
        "gpu_hours": each.gpu_hours,
        "memory_gib_hours": each.memory_hours,
        "jobs": len(each.members),
    }


def _day(given: Mapping[str, str], name: str, usual: Any) -> Any:
    text = given.get(name, "")
    if not text:
        return usual
    try:
        found = parse_date(text)
    except ValueError:
        found = None
    if found is None or not 2000 <= found.year < 9000:
        raise _wrong(
            _("`%(name)s` is %(given)s, which is no day.")
            % {"name": name, "given": shortened(text)},
            _("Write a day as 2026-02-03, of the year 2000 or later."),
        )
    return found


def _midnight(day: Any) -> datetime:
    return datetime.combine(day, time(), timezone.get_default_timezone())


def _date(moment: datetime) -> str:
    return str(timezone.localtime(moment, timezone.get_default_timezone()).date())


def _wrong(detail: str, hint: str) -> Refused:
    return Refused(
        code="request_invalid",
        title=_("This report cannot be made"),
        detail=detail,
        hint=hint,
        status=422,
    )
