"""A report as the API tells it, as CSV and as a workbook. A name that looks like a formula stays a text."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _
from xlsxwriter import Workbook

from jobs import csvtext
from jobs.core.reports.usage import Sum
from jobs.core.reports.waste import GHOST, Amount, Entry
from jobs.reports import Report, job_names

XLSX_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MOST_JOBS = 20
"""Jobs that are named behind each figure of the waste ledger, but for CSV and workbook, which name all."""

_SECOND = 1_000_000
_COLUMNS = ("table", "name", "gpu_hours", "paused_gpu_hours", "memory_gib_hours", "jobs")

Line = tuple[str, float, float | None, float, int | None]


def as_json(report: Report) -> dict[str, Any]:
    """The report as the API tells it."""
    wanted = report.wanted
    largest = {entry.kind: entry.largest(MOST_JOBS) for entry in report.waste}
    names = job_names(name for kind, each in largest.items() if kind != GHOST for name, _a in each)
    return {
        "from": str(wanted.first),
        "to": str(wanted.last),
        "projects": [each.slug for each in wanted.projects],
        "total": _told("", report.total),
        **{
            f"by_{table}": [_told(name, each) for name, each in sums.items()]
            for table, sums in report.tables.items()
        },
        "waits": [
            {
                "priority": each.priority,
                "jobs": each.jobs,
                "median_s": _seconds(each.median),
                "p90_s": _seconds(each.p90),
            }
            for each in report.waits
        ],
        "outcomes": report.outcomes,
        "waste": [_waste(entry, largest[entry.kind], names) for entry in report.waste],
        "unmeasured_jobs": report.unmeasured,
        "fairness": None
        if report.fairness is None
        else [
            {"project": each.project, "entitled": each.entitled, "received": each.received}
            for each in report.fairness
        ],
        "cards": None if report.cards is None else _cards(report),
    }


def as_csv(report: Report) -> bytes:
    """All tables below each other."""
    rows = [(table, *line) for table, lines in _tables(report).items() for line in lines]
    return csvtext.file_of([_COLUMNS, *rows])


def as_xlsx(report: Report) -> bytes:
    """A workbook with one sheet for each table."""
    kept = io.BytesIO()
    with Workbook(kept, {"in_memory": True, "strings_to_formulas": False}) as book:
        bold = book.add_format({"bold": True})
        for table, lines in _tables(report).items():
            sheet = book.add_worksheet(table)
            sheet.write_row(0, 0, _titles(), bold)
            sheet.set_column(0, 0, 32)
            sheet.set_column(1, 4, 16)
            sheet.freeze_panes(1, 0)
            for place, line in enumerate(lines, 1):
                sheet.write_string(place, 0, line[0])
                for column, value in enumerate(line[1:], 1):
                    if value is not None:
                        sheet.write_number(place, column, value)
    return kept.getvalue()


def _titles() -> list[str]:
    return [
        _("Name"),
        _("GPU-hours"),
        _("GPU-hours paused in memory"),
        _("GiB-hours booked"),
        _("Jobs"),
    ]


def _tables(report: Report) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {"total": [_line("", report.total)]}
    for table, sums in report.tables.items():
        found[table] = [_line(name, each) for name, each in sums.items()]
    behind = [name for each in report.waste if each.kind != GHOST for name in each.behind]
    names = job_names(dict.fromkeys(behind))
    found["waste"] = [_amount(entry.kind, entry.whole, len(entry.behind)) for entry in report.waste]
    for entry in report.waste:
        found[f"waste {entry.kind}"] = [
            _amount(names.get(name, name), each, None) for name, each in entry.largest()
        ]
    return found


def _line(name: str, each: Sum) -> Line:
    return name, each.gpu_hours, each.paused_hours, each.memory_hours, len(each.jobs)


def _amount(name: str, amount: Amount, behind: int | None) -> Line:
    return name, amount.gpu_hours, None, amount.memory_hours, behind


def _told(name: str, each: Sum) -> dict[str, Any]:
    return {
        "name": name,
        "gpu_hours": each.gpu_hours,
        "paused_gpu_hours": each.paused_hours,
        "memory_gib_hours": each.memory_hours,
        "jobs": len(each.jobs),
    }


def _waste(
    entry: Entry, largest: list[tuple[str, Amount]], names: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "name": entry.kind,
        "gpu_hours": entry.whole.gpu_hours,
        "memory_gib_hours": entry.whole.memory_hours,
        "behind": len(entry.behind),
        "largest": [
            {
                "name": names.get(name, name),
                "id": "" if entry.kind == GHOST else name,
                "gpu_hours": each.gpu_hours,
                "memory_gib_hours": each.memory_hours,
            }
            for name, each in largest
        ],
    }


def _cards(report: Report) -> dict[str, float | None]:
    """Of the whole period."""
    days = list((report.cards or {}).values())
    return {
        "occupied": _share(
            _sum(each.occupied for each in days), _sum(each.service for each in days)
        ),
        "busy": _share(_sum(each.busy for each in days), _sum(each.hours for each in days)),
        "memory_used": _share(_sum(each.used for each in days), _sum(each.size for each in days)),
    }


def _sum(values: Iterator[float]) -> float:
    return sum(values)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _seconds(time: int | None) -> float | None:
    return None if time is None else time / _SECOND
