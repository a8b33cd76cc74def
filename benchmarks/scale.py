"""What a cycle costs as queue and fleet grow: the production scheduler with its state kept between cycles.

    python -m benchmarks.scale                                      the table of docs/scheduling.md
    python -m benchmarks.scale --chart docs/images/scale.svg        and its picture
    python -m benchmarks.scale 100000 10000                         one line of it

Each line is measured in a process of its own, so that its memory is its own, and in seconds of the processor. The jobs
of 64 projects and 256 people are drawn from 200 templates, as real queues are (Alibaba's openb trace has 151 shapes):
one in six is a gang, a third may be preempted, half have an estimate.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.scalechart import chart
from jobs.core.scheduling.planner import Planner
from jobs.core.snapshot import DeviceView, JobView, ProjectView
from jobs.core.states import Priority
from jobs.core.units import GIB

SIZES = [
    (10_000, 1_000),
    (30_000, 3_000),
    (100_000, 10_000),
    (300_000, 10_000),
    (1_000_000, 10_000),
]
MODELS = [("NVIDIA A100-SXM4-80GB", 80), ("NVIDIA H100 80GB HBM3", 80), ("NVIDIA RTX 4090", 24)]
MEMORY = [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 30, 40, 60, 78]
ENDS = 200
CYCLES = 90  # of a minute each: in the last two thirds, jobs may be preempted


def cards(count: int) -> list[DeviceView]:
    """Machines of eight cards, three models."""
    found = []
    for at in range(count):
        node = at // 8
        name, total = MODELS[node % 3]
        found.append(
            DeviceView(
                uuid=f"gpu-{at}",
                node=f"node-{node:05}",
                index=at % 8,
                name=name,
                total=total * GIB,
                safety=2 * GIB,
                measured_free=total * GIB,
            )
        )
    return found


def templates(count: int, dice: Random) -> list[dict[str, object]]:
    """What jobs of one sort have in common."""
    return [
        {
            "priority": dice.choice(list(Priority)),
            "min_memory": dice.choice(MEMORY) * GIB,
            "gpus": dice.choice([1] * 10 + [2, 4]),
            "gpu_type": dice.choice([None, None, "A100", "H100"]),
            "preemptible": dice.random() < 1 / 3,
            "est_time": dice.choice([float("inf"), 7200.0]),
        }
        for _ in range(count)
    ]


SORTS = templates(200, Random(2))


def job(number: int, dice: Random) -> JobView:
    """One of the jobs of the crowd."""
    return JobView(
        id=f"job-{number}",
        task_id=f"task-{number}",
        project=f"project-{number % 64}",
        user=f"user-{number % 256}",
        submitted_at=float(number),
        **dice.choice(SORTS),  # type: ignore[arg-type]
    )


class Site:
    """A scheduler with its fleet and its crowd."""

    def __init__(self, jobs: int, count: int) -> None:
        self._dice = Random(1)
        self._crowd = [job(number, self._dice) for number in range(jobs)]
        self._cards = cards(count)
        self._handed_in = jobs
        self._now = float(jobs)
        self._running: list[str] = []
        self.scheduler = Planner()

    def build(self) -> None:
        """Tell the scheduler everything."""
        for number in range(64):
            project = ProjectView(slug=f"project-{number}", weight=1.0 + number % 3)
            self.scheduler.put_project(project, 0.0)
        for card in self._cards:
            self.scheduler.put_card(card)
        for each in self._crowd:
            self.scheduler.queue(each)

    def fill(self) -> int:
        """The first decision, on an empty fleet; how many start."""
        self._running = [start.job for start in self.scheduler.decide(self._now).starts]
        return len(self._running)

    def cycle(self) -> None:
        """So many jobs have ended, as many are new: take it in and decide."""
        for job_id in self._gone:
            self.scheduler.end(job_id, self._now)
        for each in self._new:
            self.scheduler.queue(each)
        self._plan = self.scheduler.decide(self._now)

    def prepare(self) -> None:
        """What happens until the next cycle."""
        self._dice.shuffle(self._running)
        self._gone, self._running = self._running[:ENDS], self._running[ENDS:]
        numbers = range(self._handed_in, self._handed_in + ENDS)
        self._new = [job(number, self._dice) for number in numbers]
        self._handed_in += ENDS
        self._now += 60.0

    def settle(self) -> None:
        """Carry the plan out: who makes room is gone before the next cycle."""
        leaving = {each.job for each in self._plan.preemptions}
        self._running += [start.job for start in self._plan.starts]
        self._running = [each for each in self._running if each not in leaving]
        for job_id in leaving:
            self.scheduler.end(job_id, self._now)
        self._running += [start.job for start in self.scheduler.decide(self._now).starts]

    def idle(self) -> None:
        """A decision when nothing has changed, and nothing was to change by itself."""
        self.scheduler.decide(min(self._now + 0.5, math.nextafter(self.scheduler.next_change(), 0)))

    def only_time(self) -> None:
        """A decision when time alone has changed something, such as that a job may be preempted from now on."""
        self._plan = self.scheduler.decide(min(self._now + 59.0, self.scheduler.next_change()))


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one piece of work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(jobs: int, count: int) -> dict[str, float]:
    """Seconds (and MiB) for one size."""
    site = Site(jobs, count)
    before = peak_mib()
    built = seconds(site.build)
    gc.collect()
    gc.freeze()  # as the dispatcher does: what lasts is not looked through again and again,
    gc.disable()  # and garbage is collected between two passes
    filled = seconds(site.fill)
    gc.freeze()
    cycles, idle, only_time = [], [], []
    for _ in range(CYCLES):
        site.prepare()
        cycles.append(seconds(site.cycle))
        site.settle()
        gc.collect()
        idle.append(seconds(site.idle))
        only_time.append(seconds(site.only_time))
        site.settle()
    return {
        "jobs": jobs,
        "cards": count,
        "build_s": round(built, 3),
        "fill_s": round(filled, 3),
        "cycle_p50_ms": round(1000 * quantile(cycles, 0.5), 1),
        "cycle_p95_ms": round(1000 * quantile(cycles, 0.95), 1),
        "time_p95_ms": round(1000 * quantile(only_time, 0.95), 1),
        "idle_p95_ms": round(1000 * quantile(idle, 0.95), 4),
        "crowd_mib": round(before),
        "memory_mib": round(peak_mib()),
    }


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of all lies."""
    return sorted(values)[int(len(values) * share)]


def peak_mib() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure what was asked for, each size in its own process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", nargs="*", type=int, help="jobs and cards")
    parser.add_argument("--chart", type=Path, metavar="FILE.svg")
    asked = parser.parse_args()
    if asked.size:
        print(json.dumps(measure(*asked.size)))
        return
    rows = []
    for jobs, count in SIZES:
        line = subprocess.run(
            [sys.executable, "-m", "benchmarks.scale", str(jobs), str(count)],
            check=True,
            stdout=subprocess.PIPE,
        )
        rows.append(json.loads(line.stdout))
        print(line.stdout.decode().strip(), flush=True)
    if asked.chart:
        asked.chart.write_text(chart(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
