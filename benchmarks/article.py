"""The article's table as a simulation: first come, smart queue and dynamic sharding on one A100-80G.

    python -m benchmarks.article [--part table] [--seeds 8] [--days 40] [--processes 2] [--chart FILE.svg]

Queue and sharding are the production scheduler with the rules of the card's mode. How fast jobs run beside each other
is a model, and some of its numbers are calibrated: docs/article.md tells which, and what this does not prove.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.articlechart import chart
from benchmarks.articleways import EVERY_WAY, FIRST_COME, QUEUE, SHARDING, WAYS, Way
from benchmarks.articleworld import Asked, Figures, World, means, run, spreads
from benchmarks.traces import in_turn, show, verdict

ARTICLE = {
    FIRST_COME.name: {"parallel": (1, 2), "jobs_a_day": (8, 8), "memory": (58, 58)},
    QUEUE.name: {"parallel": (3, 4), "jobs_a_day": (15, 15), "memory": (82, 82)},
    SHARDING.name: {"parallel": (5, 6), "jobs_a_day": (18, 18), "memory": (91, 91)},
}
"""From, to; where the article gives a range, its middle is compared."""

COLUMNS = {"parallel": "parallel", "jobs_a_day": "jobs a day", "memory": "memory %"}
WITHIN = 0.15  # of the article's figure
TIMES = 2.0  # as many jobs a day as first come
SHORTER = 0.40  # part of the completion time with first come that must be saved

LOADS = (4, 5, 6, 7)  # jobs a day; first come manages about eight
WIDER = (0.20, 0.44)  # demands of the range that was narrowed in the calibration
VARIED = {
    "demand 0.20-0.44": World(demand=WIDER),
    "demand 0.20-0.36": World(demand=(0.20, 0.36)),
    "spread 0.3": World(spread=0.3),
    "spread 0.9": World(spread=0.9),
}
SATURATING = World(hours=1.9, demand=(0.85, 1.0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """How much is simulated."""

    seeds: int
    days: int
    processes: int

    def of(self, world: World, way: Way) -> list[Figures]:
        """One run for each seed."""
        asked = [
            Asked(world=world, way=way, days=self.days, seed=seed) for seed in range(self.seeds)
        ]
        return list(in_turn(run, asked, self.processes))

    def of_each(self, world: World, ways: Sequence[Way]) -> dict[str, list[Figures]]:
        """The runs by the name of the way."""
        return {way.name: self.of(world, way) for way in ways}


def middle(span: tuple[float, float]) -> float:
    """Of a range."""
    return sum(span) / 2


def table(runs: Runs) -> tuple[dict[str, list[Figures]], list[str]]:
    """Print the table beside the article's. The runs, and which bars are missed."""
    found = runs.of_each(World(), WAYS)
    for column, title in COLUMNS.items():
        show([("",), (title, "article", "here", "+-", "off")])
        show(_line(name, column, each) for name, each in found.items())
    averages = {name: means(each) for name, each in found.items()}
    _tell_gain(averages)
    return found, problems(averages)


def _line(name: str, column: str, found: Sequence[Figures]) -> tuple[str, ...]:
    article = ARTICLE[name][column]
    here, spread = getattr(means(found), column), getattr(spreads(found), column)
    low, high = article
    said = f"{low}" if low == high else f"{low}-{high}"
    return name, said, f"{here:.2f}", f"{spread:.2f}", f"{here / middle(article) - 1:+.1%}"


def _tell_gain(averages: dict[str, Figures]) -> None:
    first = averages[FIRST_COME.name]
    show([("",), ("against first come", "jobs a day", "hours in all", "saved", "hours held")])
    show(
        (
            name,
            f"x{each.jobs_a_day / first.jobs_a_day:.2f}",
            f"{each.completion:.0f}",
            f"{1 - each.completion / first.completion:.0%}",
            f"{each.service:.2f}",
        )
        for name, each in averages.items()
    )


def problems(averages: dict[str, Figures]) -> list[str]:
    """The bars that these figures miss."""
    missed = [_not_in_order(column, averages) for column in COLUMNS]
    missed += [_off(name, column, each) for name, each in averages.items() for column in COLUMNS]
    first, last = averages[FIRST_COME.name], averages[SHARDING.name]
    if last.jobs_a_day < TIMES * first.jobs_a_day:
        missed.append(f"sharding does less than {TIMES:g} times the jobs of first come")
    if last.completion > (1 - SHORTER) * first.completion:
        missed.append(f"sharding saves less than {SHORTER:.0%} of the completion time")
    return [problem for problem in missed if problem]


def _not_in_order(column: str, averages: dict[str, Figures]) -> str:
    values = [getattr(averages[way.name], column) for way in WAYS]
    return "" if values[0] < values[1] < values[2] else f"{column}: not in the article's order"


def _off(name: str, column: str, found: Figures) -> str:
    off = getattr(found, column) / middle(ARTICLE[name][column]) - 1
    return "" if abs(off) <= WITHIN else f"{name}, {column}: {off:+.1%} off the article's figure"


def loads(runs: Runs) -> None:
    """Print completion times at loads that people at a terminal can carry, too."""
    for overlap in (World().overlap, 0.0):
        show(
            [
                ("", "", "", "", ""),
                (f"beta {overlap:g}", "first come", "queue", "sharding", "saved"),
            ]
        )
        for load in LOADS:
            world = World(jobs_a_day=load, overlap=overlap)
            hours = [means(runs.of(world, way)).completion for way in WAYS]
            saved = f"{1 - hours[-1] / hours[0]:.0%}"
            show([(f"{load} a day, hours", *(f"{each:.2f}" for each in hours), saved)])


def calibration(runs: Runs) -> None:
    """Print what other numbers than the calibrated ones give."""
    for title, world in VARIED.items():
        _show_figures(title, runs, world, WAYS)


def counter(runs: Runs) -> None:
    """Print where sharding gains nothing, or loses."""
    _show_figures("no overlap", runs, World(overlap=0.0), EVERY_WAY)
    _show_figures("no overlap, to 0.44", runs, World(overlap=0.0, demand=WIDER), EVERY_WAY)
    _show_figures("saturating, 0.28", runs, SATURATING, EVERY_WAY)
    _show_figures("saturating, 0", runs, replace(SATURATING, overlap=0.0), EVERY_WAY)


def suspended(runs: Runs) -> None:
    """Print the table where all jobs can be suspended."""
    _show_figures("suspendable", runs, World(suspendable=True), (QUEUE, SHARDING))


def _show_figures(title: str, runs: Runs, world: World, ways: Sequence[Way]) -> None:
    heads = ("parallel", "jobs a day", "memory %", "hours held", "completion", "preemptions")
    show([("",), (title, *heads)])
    for way in ways:
        found = asdict(means(runs.of(world, way)))
        show([(way.name, *(f"{value:.2f}" for value in found.values()))])


PARTS: dict[str, Callable[[Runs], None]] = {
    "loads": loads,
    "calibration": calibration,
    "counter": counter,
    "suspended": suspended,
}


def main() -> None:
    """Print what is asked for; end with 1 where the table misses a bar."""
    options = _options()
    runs = Runs(seeds=options.seeds, days=options.days, processes=options.processes)
    sys.stdout.write(f"One A100-80G; means of {runs.seeds} seeds, {runs.days} days each\n")
    missed: list[str] | None = None
    if options.part in {"table", "all"}:
        found, missed = table(runs)
        if options.chart:
            columns = {column: (title, _bars(column, found)) for column, title in COLUMNS.items()}
            options.chart.write_text(chart(columns, runs.seeds, runs.days), encoding="utf-8")
    for name, part in PARTS.items():
        if options.part in {name, "all"}:
            part(runs)
    sys.stdout.write("\n")
    if missed is not None:
        verdict(missed)


def _bars(
    column: str, found: dict[str, list[Figures]]
) -> dict[str, tuple[tuple[float, float], float]]:
    """For each way the article's range, and ours."""
    return {
        name: (ARTICLE[name][column], getattr(means(each), column)) for name, each in found.items()
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--part", choices=("all", "table", *PARTS), default="all")
    parser.add_argument(
        "--seeds", type=_whole, default=8, help="runs for each figure: seeds from 0"
    )
    parser.add_argument("--days", type=_whole, default=40, help="in which jobs are handed in")
    parser.add_argument("--processes", type=_whole, default=2, help="runs at once")
    parser.add_argument("--chart", type=Path, help="where to write the table as a picture (SVG)")
    return parser.parse_args()


def _whole(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(
            f"{text!r} is given, but a whole number from 1 to 1000 is needed"
        )
    return int(text)


if __name__ == "__main__":
    main()
