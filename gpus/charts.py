"""Readings -> plotly figures, as JSON that the page's script draws.

The figure names a CSS variable where it wants a colour (`meta` of a trace, `name` of a shape): the script puts in what
the reader's theme gives, so one figure serves light and dark. Times are milliseconds since the epoch. A missing value
is a gap, never a zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from plotly import graph_objects as go

MOST_POINTS = 300  # of one line; more are not seen and cost time in the browser
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Point:
    """What was measured in one period; memory in bytes, busy 0..1, None where the card cannot tell."""

    start: float  # seconds since the epoch
    seconds: int
    used: int | None
    busy: float | None
    foreign: int | None = None


def memory_figure(
    points: Sequence[Point], *, total: int | None = None, booked: int | None = None
) -> dict[str, Any]:
    """Memory used against what is booked or what the card has; below it, on the same time axis, how busy it was."""
    shown = with_gaps(thinned(points))
    times = [each.start * 1000 for each in shown]
    used = [_gib(each.used) for each in shown]
    busy = [_percent(each.busy) for each in shown]
    traces = [
        _ground(times, used),
        curve("used", times, used, "--accent"),
        curve("busy", times, busy, "--state-succeeded", yaxis="y2"),
    ]
    if any(each.foreign for each in points):
        foreign = [_gib(each.foreign) for each in shown]
        traces.append(curve("foreign", times, foreign, "--foreign"))
    layout = {
        "xaxis": {"type": "date", "anchor": "y2"},
        "yaxis": {
            "domain": [0.4, 1],
            "range": [0, _top(points, total, booked)],
            "ticksuffix": " GiB",
            "nticks": 5,
        },
        "yaxis2": {
            "domain": [0, 0.28],
            "range": [0, 105],
            "tickvals": [0, 50, 100],
            "ticktext": ["0 %", "50 %", "100 %"],
        },
        "shapes": [_level(total, "--line-strong", "solid"), _level(booked, "--muted", "dash")],
    }
    return figure(traces, layout)


def figure(traces: Sequence[go.Scatter], layout: dict[str, Any]) -> dict[str, Any]:
    """A figure as JSON; plotly checks every name and value in it."""
    shapes = [shape for shape in layout.pop("shapes", ()) if shape]
    drawn = go.Figure(data=traces, layout={**layout, "shapes": shapes, "template": "none"})
    as_json: dict[str, Any] = drawn.to_plotly_json()
    as_json["layout"].pop("template", None)
    return as_json


def curve(
    name: str,
    x: Sequence[float],
    y: Sequence[float | None],
    colour: str,
    *,
    width: float = 1.5,
    **more: Any,
) -> go.Scatter:
    """One line, in the colour that the CSS variable `colour` has in the reader's theme."""
    return go.Scatter(
        name=name,
        x=list(x),
        y=list(y),
        mode="lines" if len(x) > 1 else "markers",
        line={"width": width},
        connectgaps=False,
        meta=colour,
        **more,
    )


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most `MOST_POINTS`, each the highest of the ones it stands for: a peak must not be lost."""
    if len(points) <= MOST_POINTS:
        return list(points)
    step = -(-len(points) // MOST_POINTS)
    groups = (points[at : at + step] for at in range(0, len(points), step))
    return [max(group, key=lambda each: each.used or 0) for group in groups]


def with_gaps(points: Sequence[Point]) -> list[Point]:
    """The points, with empty ones at both ends of every time in which nothing was measured."""
    if len(points) < 2:
        return list(points)
    steps = sorted(later.start - earlier.start for earlier, later in pairwise(points))
    longest = 2.5 * max(steps[len(steps) // 2], points[0].seconds)
    shown = [points[0]]
    for earlier, later in pairwise(points):
        if later.start - earlier.start > longest:
            shown.extend(_empty(at) for at in (earlier.start + 0.5, later.start - 0.5))
        shown.append(later)
    return shown


def _empty(start: float) -> Point:
    return Point(start=start, seconds=0, used=None, busy=None)


def _ground(times: Sequence[float], values: Sequence[float | None]) -> go.Scatter:
    """What lies under a line. Where that has a gap the ground falls to nothing, else plotly would fill the gap."""
    solid = [0.0 if value is None else value for value in values]
    return curve("", times, solid, "--accent", width=0, fill="tozeroy", hoverinfo="skip")


def _level(value: int | None, colour: str, dash: str) -> dict[str, Any] | None:
    """A level across the whole chart; none where there is no value."""
    if not value:
        return None
    level = value / _GIB
    line = {"width": 1, "dash": dash}
    ends = {"x0": 0, "x1": 1, "y0": level, "y1": level}
    return {"type": "line", "xref": "paper", "line": line, "name": colour, **ends}


def _top(points: Sequence[Point], total: int | None, booked: int | None) -> float:
    """The axis ends a little above the card's size, the booking, or the most that was used."""
    highest = max([total or 0, booked or 0, *(each.used or 0 for each in points)])
    return max(1.0, 1.06 * highest / _GIB)


def _gib(value: int | None) -> float | None:
    return None if value is None else round(value / _GIB, 3)


def _percent(share: float | None) -> float | None:
    return None if share is None else round(share * 100, 1)
