"""Turns public traces into workloads and fleets that `llama-coop simulate` reads.

    python -m benchmarks.convert elasticflow raw_cluster06.csv workload.csv
    python -m benchmarks.convert muri trace3.csv workload.csv
    python -m benchmarks.convert philly trace_job_Philly_MIX1.csv workload.csv
    python -m benchmarks.convert openb openb_pod_list_default.csv workload.csv
    python -m benchmarks.convert openb-nodes openb_node_list_gpu_node.csv fleet.csv

    llama-coop simulate workload.csv --fleet 13x8xV100-32G

The traces are not part of this project: benchmarks/README.md says where they are from.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from jobs.core.simulation.workload import Workload, read_workload

Row = Mapping[str, str]
Cells = dict[str, str | int | float]

SHARE_UNIT = 1000  # openb counts thousandths of a card; a card of 1000 MiB makes a share a size
MURI_SLOWDOWN = (
    1.015  # by which Muri's simulator lengthens every iteration (jobs.py, `itertime_overhead_list`)
)
OVERHEAD = "start_overhead_s"

_MODELS = ("vgg16", "vgg19", "resnet18", "shufflenet_v2_x1_0", "bert", "gpt2", "a2c", "dqn")
_START_SECONDS = {
    1: (7, 7, 4, 4, 10, 10, 38, 5),
    2: (7, 7, 5, 4, 10, 10, 39, 5),
    4: (8, 8, 5, 5, 10, 10, 39, 6),
    8: (9, 9, 7, 5, 10, 10, 46, 6),
    16: (9, 10, 7, 7, 10, 10, 46, 8),
    32: (10, 10, 7, 8, 10, 10, 46, 8),
}
"""Seconds that a start takes, by cards and model: measured by Muri's authors on their testbed (Rivendile/Muri,
simulator/run_sim.py at 4e69a78, Apache-2.0)."""


def elasticflow(rows: Iterable[Row]) -> Iterator[Cells]:
    """Microsoft's training jobs as ElasticFlow published them: arrivals, durations and cards, nothing else."""
    for row in rows:
        yield {
            "job_id": row["job_id"],
            "submit_s": row["submission_time"],
            "duration_s": row["duration"],
            "gpus": row["num_gpu"],
        }


def muri(rows: Iterable[Row]) -> Iterator[Cells]:
    """Muri's jobs. Their work is iterations x time of an iteration; the column `duration` is not used there either."""
    for row in rows:
        gpus = int(row["num_gpu"])
        yield {
            "job_id": row["job_id"],
            "submit_s": int(row["submit_time"]) / 1000,
            "duration_s": int(row["iterations"])
            * float(row["iteration_time"])
            * MURI_SLOWDOWN
            / 1000,
            "gpus": gpus,
            OVERHEAD: _START_SECONDS[gpus][_MODELS.index(row["model_name"])],
        }


def philly(rows: Iterable[Row]) -> Iterator[Cells]:
    """Philly jobs with their virtual cluster as project; rows that ask for no card are left out."""
    for row in rows:
        if row["num_gpu"] != "0":
            yield {
                "job_id": row["job_id"],
                "submit_s": row["submit_time"],
                "duration_s": row["duration"],
                "gpus": row["num_gpu"],
                "project": row["user"],
            }


_PRIORITIES = {"LS": "high", "Guaranteed": "high", "Burstable": "medium", "BE": "low"}


def openb(rows: Iterable[Row]) -> Iterator[Cells]:
    """Alibaba's pods: a share of one card, or whole cards, with processors and main memory; on `openb-nodes`."""
    for row in rows:
        began = float(row["scheduled_time"] or row["creation_time"])
        shared = row["num_gpu"] == "1" and int(row["gpu_milli"]) < SHARE_UNIT
        yield {
            "job_id": row["name"],
            "submit_s": row["creation_time"],
            "duration_s": float(row["deletion_time"]) - began,
            "gpus": row["num_gpu"],
            "min_memory": f"{row['gpu_milli']}M" if shared else "",
            "priority": _PRIORITIES[row["qos"]],
            "cpus": int(row["cpu_milli"]) / 1000,
            "host_memory": f"{row['memory_mib']}M",
        }


def openb_nodes(rows: Iterable[Row]) -> Iterator[Cells]:
    """Alibaba's machines, with cards of 1000 MiB each, so that thousandths of a card are MiB."""
    for row in rows:
        yield {
            "node": row["sn"],
            "gpus": row["gpu"],
            "model": row["model"],
            "memory": f"{SHARE_UNIT}M",
            "cpus": int(row["cpu_milli"]) / 1000,
            "host_memory": f"{row['memory_mib']}M",
        }


CONVERTERS: dict[str, Callable[[Iterable[Row]], Iterator[Cells]]] = {
    "elasticflow": elasticflow,
    "muri": muri,
    "philly": philly,
    "openb": openb,
    "openb-nodes": openb_nodes,
}


def converted(kind: str, trace: Path) -> str:
    """The text of the CSV file that a trace becomes."""
    with trace.open(encoding="utf-8", newline="") as lines:
        rows = list(CONVERTERS[kind](csv.DictReader(lines)))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def workload_of(kind: str, trace: Path) -> Workload:
    """A trace as a workload, by way of the file that it would be."""
    lines = converted(kind, trace).splitlines(keepends=True)
    return read_workload(lines, overhead_column=OVERHEAD if kind == "muri" else "")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Turn a public trace into a workload or a fleet.")
    parser.add_argument("kind", choices=CONVERTERS)
    parser.add_argument("trace", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    asked.out.write_text(converted(asked.kind, asked.trace), encoding="utf-8")


if __name__ == "__main__":
    main()
