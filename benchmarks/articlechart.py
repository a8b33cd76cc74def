"""The article's table as a picture: one panel for each column, the article's bar beside ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

Bars = Mapping[str, tuple[tuple[float, float], float]]
"""Name of the way -> the article's range, and what was simulated."""

WIDTH, HEIGHT = 860, 330
_LEFT, _TOP, _BOTTOM = 28, 84, 262
_PANEL, _GAP = 252, 24
_BAR = 26

_LABELLED = 'role="img" aria-labelledby="title described"'
_STYLE = """
  .paper { fill: #ffffff; stroke: #d5dae1 }
  text { fill: #1d2530; font: 12px system-ui, sans-serif }
  .title { font-size: 15px; font-weight: 600 }
  .head { font-weight: 600 }
  .soft { fill: #566173 }
  .base { stroke: #98a2b1 }
  .article { fill: #a9b4c3 }
  .here { fill: #1f6fd0 }
  .range { stroke: #1d2530; stroke-width: 1.5; fill: none }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #12171f; stroke: #2d3645 }
    text { fill: #e6eaf0 }
    .soft { fill: #a3aebd }
    .base { stroke: #5c6879 }
    .article { fill: #66738a }
    .here { fill: #5aa2f5 }
    .range { stroke: #e6eaf0 }
  }
"""


def chart(columns: Mapping[str, tuple[str, Bars]], seeds: int, days: int) -> str:
    """The picture as SVG text; readable on light and dark pages, and by screen readers."""
    told = f"Simulated: one A100-80G, means of {seeds} seeds, {days} days each, a calibrated model."
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {_LABELLED}>',
        '<title id="title">The article\'s table beside the simulation</title>',
        f'<desc id="described">{escape(_described(columns))}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8"/>',
        _text(_LEFT, 30, "The article's table beside the simulation", "title"),
        *_legend(),
    ]
    for place, (title, bars) in enumerate(columns.values()):
        parts += _panel(_LEFT + place * (_PANEL + _GAP), title, bars)
    parts += [_text(_LEFT, HEIGHT - 16, told, "soft"), "</svg>"]
    return "\n".join(parts) + "\n"


def _described(columns: Mapping[str, tuple[str, Bars]]) -> str:
    return " ".join(
        f"{title}: "
        + "; ".join(
            f"{name}, article {_range(said)}, here {here:.1f}"
            for name, (said, here) in bars.items()
        )
        + "."
        for title, bars in columns.values()
    )


def _legend() -> Iterator[str]:
    yield f'<rect class="article" x="{_LEFT}" y="42" width="12" height="12"/>'
    yield _text(_LEFT + 18, 52, "article (a range is drawn to its middle)")
    yield f'<rect class="here" x="{_LEFT + 270}" y="42" width="12" height="12"/>'
    yield _text(_LEFT + 288, 52, "simulated here")


def _panel(left: float, title: str, bars: Bars) -> Iterator[str]:
    highest = max(max(said[1], here) for said, here in bars.values())
    scale = (_BOTTOM - _TOP - 34) / highest
    yield _text(left, _TOP, title, "head")
    yield f'<path class="base" d="M{left} {_BOTTOM}H{left + _PANEL}"/>'
    step = _PANEL / len(bars)
    for place, (name, (said, here)) in enumerate(bars.items()):
        middle = left + step * (place + 0.5)
        yield from _bar(
            middle - _BAR - 2, sum(said) / 2 * scale, "article", _range(said), said[1] * scale
        )
        if said[0] != said[1]:
            yield _whisker(middle - _BAR / 2 - 2, said[0] * scale, said[1] * scale)
        yield from _bar(middle + 2, here * scale, "here", f"{here:.1f}")
        for line, word in enumerate(name.split(" ", 1)):
            yield _text(middle, _BOTTOM + 16 + 14 * line, word, "soft", anchor="middle")


def _bar(left: float, height: float, kind: str, label: str, reach: float = 0.0) -> Iterator[str]:
    """A bar with its figure above it, and above a whisker that reaches higher."""
    top = _BOTTOM - height
    yield f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{_BAR}" height="{height:.1f}"/>'
    yield _text(left + _BAR / 2, _BOTTOM - max(height, reach) - 6, label, anchor="middle")


def _whisker(middle: float, low: float, high: float) -> str:
    ends = "".join(f"M{middle - 4:.1f} {_BOTTOM - at:.1f}h8" for at in (low, high))
    return f'<path class="range" d="M{middle:.1f} {_BOTTOM - low:.1f}V{_BOTTOM - high:.1f}{ends}"/>'


def _range(said: tuple[float, float]) -> str:
    low, high = said
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def _text(left: float, base: float, text: str, kind: str = "", *, anchor: str = "start") -> str:
    shown = f' class="{kind}"' if kind else ""
    return (
        f'<text{shown} x="{left:.1f}" y="{base:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
