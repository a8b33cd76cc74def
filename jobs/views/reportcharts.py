"""The charts of a report: at most 120 points a line, several days to a bar where there are more."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils.translation import gettext as _
from plotly import graph_objects as go

from gpus.charts import curve, figure
from jobs.core.reports.usage import HOUR, percentile
from jobs.reports import Report

MOST_POINTS = 120
_PROJECTS = 7  # with a colour of their own; the others are taken together
_PEOPLE = 15


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One chart: its id and title, what its lines are (name, CSS class of the colour), and the figure as JSON."""

    id: str
    title: str
    legend: Sequence[tuple[str, str]]
    figure: str


def charts_of(report: Report) -> Iterator[Chart]:
    """Those for which there is something to draw."""
    step = -(-((report.wanted.last - report.wanted.first).days + 1) // MOST_POINTS)
    if report.total.jobs:
        yield _hours(report, step)
        yield _memory(report)
    if report.waits_by_day:
        yield _waits(report, step)
    if report.cards:
        yield _cards(report, step)
    if report.fairness:
        yield _fairness(report)


def _hours(report: Report, step: int) -> Chart:
    """GPU-hours by day, stacked by project."""
    known = list(report.tables["project"])[:_PROJECTS]
    others = _("other projects")
    sums: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(_bins(report, step), 0.0))
    for (day, slug), each in report.day_projects.items():
        name = slug if slug in known else others
        sums[name][_bin(report, day, step)] += each.gpu_hours
    names = [name for name in (*known, others) if name in sums]
    slots = [
        f"job-{place + 1}" if name in known else "job-other" for place, name in enumerate(names)
    ]
    traces = [
        _bars(name, list(sums[name]), list(sums[name].values()), f"--{slot}")
        for name, slot in zip(names, slots, strict=True)
    ]
    layout = {"barmode": "stack", "xaxis": {"type": "date"}, "yaxis": {"rangemode": "tozero"}}
    legend = [(name, slot.replace("job", "slot")) for name, slot in zip(names, slots, strict=True)]
    return _chart("hours", _("GPU-hours by project"), legend, traces, layout)


def _memory(report: Report) -> Chart:
    """GiB-hours of each person: what was used at most, and what was booked beyond."""
    people = list(report.tables["user"].items())[:_PEOPLE][::-1]
    names = [name for name, _each in people]
    spare = [round(each.spare_hours, 3) for _name, each in people]
    used = [round(each.memory_hours - each.spare_hours, 3) for _name, each in people]
    told = (_("used or not measured"), _("booked but unused"))
    traces = [
        _bars(told[0], used, names, "--job-1", orientation="h"),
        _bars(told[1], spare, names, "--job-other", orientation="h"),
    ]
    layout = {"barmode": "stack", "xaxis": {"ticksuffix": " GiB h"}, "yaxis": {"type": "category"}}
    legend = [(told[0], "slot-1"), (told[1], "slot-other")]
    return _chart("memory", _("Booked memory by person, GiB-hours"), legend, traces, layout)


def _waits(report: Report, step: int) -> Chart:
    """Median and 90th percentile of the waits, in hours."""
    waits: dict[str, list[int]] = defaultdict(list)
    for day, values in report.waits_by_day.items():
        waits[_bin(report, day, step)] += values
    days = list(waits)
    told = ((_("median"), 0.5, "1"), (_("9 of 10 within"), 0.9, "2"))
    traces = []
    for name, share, slot in told:
        found = (percentile(sorted(values), share) for values in waits.values())
        hours = [None if each is None else round(each / HOUR, 4) for each in found]
        traces.append(curve(name, days, hours, f"--job-{slot}"))  # type: ignore[arg-type] # days
    layout = {
        "xaxis": _days(report),
        "yaxis": {"rangemode": "tozero", "ticksuffix": " h"},
    }
    legend = [(name, f"slot-{slot}") for name, _share, slot in told]
    return _chart("waits", _("Waits for the first start, hours"), legend, traces, layout)


def _cards(report: Report, step: int) -> Chart:
    """How much of the cards was booked, busy, and filled, in per cent."""
    bins: dict[str, list[Any]] = defaultdict(list)
    for day, each in (report.cards or {}).items():
        bins[_bin(report, day, step)].append(each)
    told = (
        (_("booked"), "1", "occupied", "service"),
        (_("busy"), "2", "busy", "hours"),
        (_("memory used"), "5", "used", "size"),
    )
    traces = []
    for name, slot, part, whole in told:
        values = [_percent(group, part, whole) for group in bins.values()]
        traces.append(curve(name, list(bins), values, f"--job-{slot}"))  # type: ignore[arg-type] # days
    layout = {"xaxis": _days(report), "yaxis": {"range": [0, 105], "ticksuffix": " %"}}
    legend = [(name, f"slot-{slot}") for name, slot, _part, _whole in told]
    return _chart("cards", _("Utilisation of the cards"), legend, traces, layout)


def _days(report: Report) -> dict[str, Any]:
    """The axis of the whole time that was asked for: of a single point plotly would show microseconds."""
    wanted = report.wanted
    return {"type": "date", "range": [f"{wanted.first} 00:00", f"{wanted.last} 23:59"]}


def _fairness(report: Report) -> Chart:
    """Entitled and received of each project, in per cent."""
    shares = (report.fairness or [])[:_PEOPLE]
    names = [each.project for each in shares]
    told = (_("entitled"), _("received"))
    entitled = [round(each.entitled * 100, 1) for each in shares]
    received = [round(each.received * 100, 1) for each in shares]
    traces = [
        _bars(told[0], names, entitled, "--job-other"),
        _bars(told[1], names, received, "--job-1"),
    ]
    layout = {
        "barmode": "group",
        "xaxis": {"type": "category"},
        "yaxis": {"range": [0, 105], "ticksuffix": " %"},
    }
    legend = [(told[0], "slot-other"), (told[1], "slot-1")]
    return _chart("fairness", _("Entitled and received share"), legend, traces, layout)


def _bars(name: str, x: Sequence[Any], y: Sequence[Any], colour: str, **more: Any) -> go.Bar:
    return go.Bar(name=name, x=list(x), y=list(y), meta=colour, **more)


def _chart(
    name: str,
    title: str,
    legend: Sequence[tuple[str, str]],
    traces: Sequence[Any],
    layout: dict[str, Any],
) -> Chart:
    drawn = json.dumps(figure(traces, layout))
    return Chart(id=f"chart-{name}", title=title, legend=legend, figure=drawn)


def _percent(group: Sequence[Any], part: str, whole: str) -> float | None:
    size = sum(getattr(each, whole) for each in group)
    return round(100 * sum(getattr(each, part) for each in group) / size, 1) if size else None


def _bin(report: Report, day: int, step: int) -> str:
    first = report.wanted.first.toordinal()
    return str(date.fromordinal(first + (day - first) // step * step))


def _bins(report: Report, step: int) -> list[str]:
    days = range(report.wanted.first.toordinal(), report.wanted.last.toordinal() + 1, step)
    return [str(date.fromordinal(day)) for day in days]
