"""How the cost of a cycle grows, as a picture: seconds over queued jobs, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

Row = Mapping[str, float]

WIDTH, HEIGHT = 720, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 560, 60, 320
_LEADING = 15
_SERIES = (
    ("build_s", 1.0, "taking in all jobs", "one"),
    ("fill_s", 1.0, "filling the empty fleet", "two"),
    ("cycle_p95_ms", 1e-3, "a cycle, 95th percentile", "three"),
    ("time_p95_ms", 1e-3, "only time has passed", "five"),
    ("idle_p95_ms", 1e-3, "nothing has changed", "four"),
)
_LABELLED = 'role="img" aria-labelledby="title described"'
_STYLE = """
  .paper { fill: #ffffff; stroke: #d5dae1 }
  text { fill: #1d2530; font: 12px system-ui, sans-serif }
  .title { font-size: 15px; font-weight: 600 }
  .soft { fill: #566173 }
  .grid { stroke: #e3e7ec }
  path { fill: none; stroke-width: 2 }
  .one { stroke: #0072b2 } .two { stroke: #d55e00 } .three { stroke: #117733 } .four { stroke: #aa3377 }
  .five { stroke: #566173 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #12171f; stroke: #2d3645 }
    text { fill: #e6eaf0 }
    .soft { fill: #a3aebd }
    .grid { stroke: #2d3645 }
    .one { stroke: #56b4e9 } .two { stroke: #e69f00 } .three { stroke: #6ee7b7 } .four { stroke: #e58fc0 }
    .five { stroke: #a3aebd }
  }
"""


def chart(rows: Sequence[Row]) -> str:
    """The picture as SVG text; readable on light and dark pages, and by screen readers."""
    powers = range(-6, 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {_LABELLED}>',
        '<title id="title">What a cycle costs as the queue grows</title>',
        f'<desc id="described">{escape(_described(rows))}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8"/>',
        _text(28, 32, "What a cycle costs as the queue grows (seconds of one core)", "title"),
    ]
    for power in powers:
        at = _y(10.0**power)
        parts.append(f'<path class="grid" d="M{_LEFT} {at:.1f}H{_RIGHT}"/>')
        parts.append(_text(_LEFT - 8, at + 4, _seconds(power), "soft", anchor="end"))
    for row in rows:
        label = f"{row['jobs']:,.0f}"
        parts.append(_text(_x(row, rows), _BOTTOM + 20, label, "soft", anchor="middle"))
    parts.append(_text((_LEFT + _RIGHT) / 2, _BOTTOM + 42, "queued jobs", "soft", anchor="middle"))
    parts += [_line(rows, *series) for series in _SERIES]
    parts += _labels(rows[-1])
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(rows: Sequence[Row], name: str, unit: float, _label: str, kind: str) -> str:
    points = [(_x(row, rows), _y(row[name] * unit)) for row in rows]
    path = "L".join(f"{left:.1f} {top:.1f}" for left, top in points)
    return f'<path class="{kind}" d="M{path}"/>'


def _labels(last: Row) -> Iterator[str]:
    """The names of the lines beside their ends, from the top, none over another."""
    ends = sorted((_y(last[name] * unit), label) for name, unit, label, _kind in _SERIES)
    base = 0.0
    for top, label in ends:
        base = max(top + 4, base + _LEADING)
        yield _text(_RIGHT - 10, base, label)


def _x(row: Row, rows: Sequence[Row]) -> float:
    low, high = math.log10(rows[0]["jobs"]), math.log10(rows[-1]["jobs"])
    return _LEFT + 20 + (math.log10(row["jobs"]) - low) / (high - low) * (_RIGHT - _LEFT - 40)


def _y(seconds: float) -> float:
    share = (math.log10(max(seconds, 1e-6)) + 6) / 7
    return _BOTTOM - share * (_BOTTOM - _TOP)


def _seconds(power: int) -> str:
    return {0: "1 s", 1: "10 s"}.get(power, f"{10 ** (power % 3)} {'ms' if power >= -3 else 'µs'}")


def _described(rows: Sequence[Row]) -> str:
    return " ".join(
        f"{row['jobs']:.0f} jobs on {row['cards']:.0f} cards: fill {row['fill_s']} s, "
        f"cycle {row['cycle_p95_ms']} ms."
        for row in rows
    )


def _text(left: float, base: float, text: str, kind: str = "", *, anchor: str = "start") -> str:
    shown = f' class="{kind}"' if kind else ""
    return (
        f'<text{shown} x="{left:.1f}" y="{base:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
