"""What a cycle costs as queue and fleet grow: the production scheduler with its state kept between cycles.

    python benchmarks/scale.py                  the table of docs/scheduling.md
    python benchmarks/scale.py 100000 10000     one line of it

Each line is measured in a process of its own, so that its memory is its own, and in seconds of the processor. The jobs of 64 projects and 256 people are
drawn from 200 templates, as real queues are (Alibaba's openb trace has 151 shapes): one in six is a gang, a third may be
preempted, half have an estimate.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from jobs.core.scheduling.scheduler import Scheduler
from jobs.core.snapshot import DeviceView, JobView, ProjectView
from jobs.core.states import Priority
from jobs.core.units import GIB

SIZES = [(10_000, 1_000), (30_000, 3_000), (100_000, 10_000), (300_000, 10_000), (1_000_000, 10_000)]
MODELS = [("NVIDIA A100-SXM4-80GB", 80), ("NVIDIA H100 80GB HBM3", 80), ("NVIDIA RTX 4090", 24)]
MEMORY = [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 30, 40, 60, 78]
ENDS = 200
CYCLES = 30


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


def measure(jobs: int, count: int) -> dict[str, float]:
    """Seconds (and MiB) for one size."""
    dice = Random(1)
    crowd = [job(number, dice) for number in range(jobs)]
    fleet = cards(count)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    scheduler = Scheduler()
    for number in range(64):
        scheduler.put_project(ProjectView(slug=f"project-{number}", weight=1.0 + number % 3), 0.0)
    for card in fleet:
        scheduler.put_card(card)
    for each in crowd:
        scheduler.queue(each)
    gc.collect()
    gc.freeze()  # as the dispatcher does: what lasts is not looked through again and again
    built = time.process_time()
    now = float(jobs)
    plan = scheduler.decide(now)
    filled = time.process_time()
    gc.freeze()
    running = [start.job for start in plan.starts]
    cycles, idle, added = [], [], jobs
    for _ in range(CYCLES):
        dice.shuffle(running)
        gone, running = running[:ENDS], running[ENDS:]
        now += 60.0
        ended = time.process_time()
        for job_id in gone:
            scheduler.end(job_id, now)
        for added in range(added, added + ENDS):
            scheduler.queue(job(added, dice))
        later = scheduler.decide(now)
        cycles.append(time.process_time() - ended)
        running += [start.job for start in later.starts]
        leaving = {each.job for each in later.preemptions}
        for job_id in leaving:
            scheduler.end(job_id, now)
        running = [each for each in running if each not in leaving]
        scheduler.decide(now)
        asked = time.process_time()
        scheduler.decide(now + 0.5)
        idle.append(time.process_time() - asked)
    cycles.sort()
    idle.sort()
    return {
        "jobs": jobs,
        "cards": count,
        "build_s": round(built - began, 3),
        "fill_s": round(filled - built, 3),
        "starts": len(plan.starts),
        "cycle_p50_ms": round(1000 * cycles[len(cycles) // 2], 1),
        "cycle_p95_ms": round(1000 * cycles[int(len(cycles) * 0.95)], 1),
        "idle_p95_ms": round(1000 * idle[int(len(idle) * 0.95)], 3),
        "base_mib": round(base / 1024),
        "memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    """Measure what was asked for, each size in its own process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", nargs="*", type=int)
    asked = parser.parse_args().size
    if asked:
        print(json.dumps(measure(*asked)))
        return
    for jobs, count in SIZES:
        line = subprocess.run(
            [sys.executable, __file__, str(jobs), str(count)], check=True, stdout=subprocess.PIPE
        )
        print(line.stdout.decode().strip(), flush=True)


if __name__ == "__main__":
    main()
