"""Muri's published baselines (Zhao et al., SIGCOMM 2022, figures 9 and 10) on our fleet and event loop.

    COOP_TRACES=... python -m benchmarks.muri [TRACE ...] [--processes 2]

Shortest remaining time, shortest remaining service and Tiresias-L on 8 machines of 8 cards, with the rules of their
simulator (Rivendile/Muri, simulator/): everybody is placed anew, consolidated, at each arrival and each end; moving is
free but a start takes seconds; Tiresias-L has its queues at 3,250 and 7,200 GPU-seconds. Two rules differ: they charge
the start at each event and not at each start, and their Tiresias-L counts cards without looking at machines.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import dataclass

from benchmarks.convert import workload_of
from benchmarks.traces import in_turn, show, traces, verdict
from jobs.core.scheduling.rules import Rules
from jobs.core.simulation.conditions import Conditions
from jobs.core.simulation.fleet_spec import parse_fleet
from jobs.core.simulation.preemptive import Las, Preemptive, ShortestService, ShortestTime
from jobs.core.simulation.simulator import simulate

TRACES = ("trace1", "trace3", "trace4", "trace1_pr", "trace3_pr", "trace4_pr")
POLICIES: dict[str, type[Preemptive]] = {
    "SRTF": ShortestTime,
    "SRSF": ShortestService,
    "Tiresias-L": Las,
}
FLEET = "8x8xV100-32G"
RULES = Rules(min_run=0.0, service_levels=(3250.0, 7200.0))

MAKESPAN_BAR = 0.03
JCT_BARS = {"SRTF": 0.06, "SRSF": 0.06, "Tiresias-L": 0.15}
"""How far, as a share of the published figure, ours may be from it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One simulation. Times are seconds."""

    trace: str
    policy: str
    jct: float  # mean
    makespan: float
    seconds: float  # that it took


def measure(asked: tuple[str, str]) -> Measured:
    """Simulate one trace under one policy."""
    trace, policy = asked
    rival = POLICIES[policy](RULES, moves=True)
    world = Conditions(
        suspend_seconds=0.0, all_preemptible=True, perfect_estimates=rival.knows_the_future
    )
    workload = workload_of("muri", traces() / "muri" / f"{trace}.csv")
    began = time.monotonic()
    figures = simulate(workload.jobs, parse_fleet(FLEET), rival, world).figures
    if figures.finished != len(workload.jobs):
        raise AssertionError(f"only {figures.finished} of {len(workload.jobs)} jobs finished")
    return Measured(
        trace=trace,
        policy=policy,
        jct=figures.mean_jct_s or 0.0,
        makespan=figures.makespan_s or 0.0,
        seconds=time.monotonic() - began,
    )


def published() -> dict[tuple[str, str, str], float]:
    """(policy, avg_jct_s or makespan_s, trace) -> seconds."""
    path = traces() / "muri" / "ref_simulation_fig9_10.csv"
    with path.open(encoding="utf-8", newline="") as lines:
        return {
            (row["policy"], row["metric"], trace): float(row[trace])
            for row in csv.DictReader(lines)
            for trace in TRACES
        }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Muri's baselines beside ours.")
    parser.add_argument("traces", nargs="*", default=TRACES, metavar="TRACE")
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    theirs = published()
    problems = []
    show([("trace, policy", "JCT theirs", "ours", "", "makespan", "ours", "", "took")])
    pairs = [(trace, policy) for trace in asked.traces for policy in POLICIES]
    for found in in_turn(measure, pairs, asked.processes):
        jct = theirs[found.policy, "avg_jct_s", found.trace]
        makespan = theirs[found.policy, "makespan_s", found.trace]
        off, late = found.jct / jct - 1, found.makespan / makespan - 1
        cells = (f"{jct:,.0f}", f"{found.jct:,.0f}", f"{off:+.2%}")
        more = (f"{makespan:,.0f}", f"{found.makespan:,.0f}", f"{late:+.2%}")
        show([(f"{found.trace} {found.policy}", *cells, *more, f"{found.seconds:.0f} s")])
        if abs(off) > JCT_BARS[found.policy] or abs(late) > MAKESPAN_BAR:
            problems.append(
                f"{found.policy} on {found.trace}: JCT {off:+.2%}, makespan {late:+.2%}"
            )
    verdict(problems)


if __name__ == "__main__":
    main()
