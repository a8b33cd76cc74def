"""Real training jobs of three Microsoft clusters (ElasticFlow, ASPLOS 2023) under our scheduler and its rivals.

    COOP_TRACES=... python -m benchmarks.elasticflow [CLUSTER ...] [--policies default,easy] [--processes 2]

All jobs can be preempted, which costs 120 s of their cards; nobody is preempted in the first half hour of a run. EASY,
SRTF and SRSF know how long each job will run, the others do not. A wait is the time from submit to the first start.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass

from benchmarks.convert import workload_of
from benchmarks.traces import in_turn, show, traces, verdict
from jobs.core.scheduling.rules import Rules
from jobs.core.simulation.conditions import Conditions
from jobs.core.simulation.contestants import NAMES, contestant, knows_the_future
from jobs.core.simulation.fleet_spec import parse_fleet
from jobs.core.simulation.results import Figures
from jobs.core.simulation.simulator import simulate

FLEETS = {"02": "13x8xV100-32G", "03": "20x8xV100-32G", "06": "13x8xV100-32G"}
"""The clusters and their machines: 104, 160 and 104 cards."""

SUSPEND_SECONDS = 120.0
MIN_RUN = 1800.0

BARS = (
    ("mean JCT", "easy", 0.5),
    ("mean JCT", "srsf", 2.0),
    ("longest wait of 16+ GPUs", "greedy", 0.75),
)
"""What the default may have at most, as a multiple of another's figure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One simulation."""

    cluster: str
    policy: str
    figures: Figures
    never_fit: int
    seconds: float  # that it took

    def value(self, name: str) -> float:
        """One of the figures that have bars, in seconds."""
        found = (
            self.figures.mean_jct_s
            if name == "mean JCT"
            else self.figures.max_wait_s_by_gpus["16+"]
        )
        return found or 0.0


def measure(asked: tuple[str, str]) -> Measured:
    """Simulate one cluster under one scheduler."""
    cluster, policy = asked
    workload = workload_of("elasticflow", traces() / "elasticflow" / f"raw_cluster{cluster}.csv")
    world = Conditions(
        suspend_seconds=SUSPEND_SECONDS,
        all_preemptible=True,
        perfect_estimates=knows_the_future(policy),
    )
    scheduler = contestant(policy, Rules(min_run=MIN_RUN))
    began = time.monotonic()
    found = simulate(workload.jobs, parse_fleet(FLEETS[cluster]), scheduler, world)
    return Measured(
        cluster=cluster,
        policy=policy,
        figures=found.figures,
        never_fit=len(found.never_fit),
        seconds=time.monotonic() - began,
    )


def hours(seconds: float | None) -> str:
    """A time in hours."""
    return "-" if seconds is None else f"{seconds / 3600:.1f}"


def cells(found: Measured) -> tuple[object, ...]:
    """One line of the table."""
    figures = found.figures
    waits = (hours(figures.max_wait_s_by_gpus[name]) for name in ("1", "8-15", "16+"))
    return (
        f"{found.cluster} {found.policy}",
        f"{figures.finished}/{figures.jobs}",
        hours(figures.mean_jct_s),
        hours(figures.p99_jct_s),
        hours(figures.mean_wait_s),
        *waits,
        figures.preemptions,
        hours(figures.lost_gpu_s),
        f"{found.seconds:.0f} s",
    )


HEAD = (
    *("cluster", "finished", "mean JCT", "p99 JCT", "mean wait", "longest: 1", "8-15", "16+ GPUs"),
    *("preemptions", "lost GPU-h", "took"),
)


def missed(by_policy: dict[str, Measured]) -> list[str]:
    """The bars that the default does not hold, where what it is compared with was measured."""
    ours = by_policy.get("default")
    problems = []
    for name, other, most in BARS:
        if ours and other in by_policy:
            ratio = ours.value(name) / by_policy[other].value(name)
            show([(f"{ours.cluster}: {name}, default / {other}: {ratio:.2f}, bar {most}",)])
            if ratio > most:
                problems.append(f"cluster {ours.cluster}: {name} {ratio:.2f} x {other}, bar {most}")
    return problems


def main() -> None:
    """Print the table and the bars."""
    parser = argparse.ArgumentParser(description="ElasticFlow's clusters.")
    parser.add_argument("clusters", nargs="*", default=tuple(FLEETS), metavar="CLUSTER")
    parser.add_argument("--policies", default=",".join(NAMES))
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    pairs = [(cluster, name) for cluster in asked.clusters for name in asked.policies.split(",")]
    by_cluster: dict[str, dict[str, Measured]] = defaultdict(dict)
    show([HEAD])
    for found in in_turn(measure, pairs, asked.processes):
        by_cluster[found.cluster][found.policy] = found
        show([cells(found)])
        if found.never_fit:
            show(
                [(f"({found.never_fit} jobs ask for more cards than there are and were left out)",)]
            )
    if "default" in asked.policies.split(","):
        verdict([problem for each in by_cluster.values() for problem in missed(each)])


if __name__ == "__main__":
    main()
