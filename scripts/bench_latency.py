"""How fast: submit to the first instruction of the process, and jobs a second from a full queue.

Starts a service of its own with one simulated card, measures it as a client would, and beside it a plain Popen and,
where they are installed, task-spooler (`tsp`) and Slurm (`sbatch`, a cluster that is up). Prints a table; nothing is
left behind. `--jobs` and `--samples` make it smaller.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import requests

ROOT = Path(__file__).resolve().parents[1]
STAMP = "echo $EPOCHREALTIME"  # a builtin of bash: the first thing that the process does
SLOW_S = 120.0

T = TypeVar("T")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100, help="submits whose delay is measured")
    parser.add_argument("--jobs", type=int, default=1000, help="jobs in the full queue")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llama-coop-bench-") as folder:
        print(
            f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}\n"
        )
        print("submit to first instruction (ms)          p50     p95     max")
        for name, start in others(Path(folder)).items():
            show(name, [delay(start) for _ in range(options.samples)])
        with service(Path(folder) / "home") as site:
            show("llama-coop (POST /api/v1/jobs)", [site.delay() for _ in range(options.samples)])
            rate, seconds = site.drain_full_queue(options.jobs)
        print(
            f"\n{options.jobs} queued jobs of 1 MiB on one card: {seconds:.1f} s, {rate:.0f} jobs a second"
        )
        print("(from the first start to the last exit, by the durable records of the attempts)")


def show(name: str, delays: list[float]) -> None:
    """One line of the table."""
    ordered = sorted(value * 1000 for value in delays)
    p95 = ordered[max(0, round(0.95 * len(ordered)) - 1)]
    print(f"{name:<36} {statistics.median(ordered):8.1f}{p95:8.1f}{ordered[-1]:8.1f}", flush=True)


def others(folder: Path) -> dict[str, Callable[[Path], object]]:
    """What else starts a command here: name -> a function that starts one which writes its stamp to a file."""
    found: dict[str, Callable[[Path], object]] = {
        "Popen": lambda out: subprocess.Popen(["bash", "-c", f"{STAMP} > {out}"]).wait()
    }
    if spooler := shutil.which("tsp"):
        quiet = {**os.environ, "TS_SOCKET": str(folder / "tsp")}
        found["task-spooler"] = lambda out: subprocess.run(
            [spooler, "-n", "bash", "-c", f"{STAMP} > {out}"],
            env=quiet,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    if shutil.which("sbatch") and is_up("sinfo"):
        found["Slurm (sbatch)"] = lambda out: subprocess.run(
            ["sbatch", "--quiet", "--output=/dev/null", f"--wrap={STAMP} > {out}"], check=True
        )
        found["Slurm (srun)"] = lambda out: subprocess.run(
            ["srun", "--quiet", "bash", "-c", f"{STAMP} > {out}"], check=True
        )
    return found


def is_up(command: str) -> bool:
    """Whether the command answers within a few seconds."""
    try:
        return (
            subprocess.run([command], capture_output=True, timeout=5, check=False).returncode == 0
        )
    except subprocess.TimeoutExpired:
        return False


def delay(start: Callable[[Path], object]) -> float:
    """Seconds from the call to the first instruction."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "stamp"
        began = time.time()
        start(out)
        return float(until(lambda: out.exists() and out.read_text().strip())) - began


def until(condition: Callable[[], T]) -> T:
    deadline = time.monotonic() + SLOW_S
    while not (seen := condition()):
        if time.monotonic() > deadline:
            sys.exit(f"bench: waited {SLOW_S:.0f} s in vain")
        time.sleep(0.002)
    return seen


class Site:
    """The service under measurement, seen by a client, and its run directories."""

    def __init__(self, home: Path, record: Mapping[str, str]) -> None:
        self._home = home
        self._api = f"{record['url']}/api/v1"
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {record['token']}"
        self._count = 0

    def delay(self) -> float:
        """Seconds from the request to the first instruction of the job; returns when the job has ended."""
        began = time.time()
        job = self._submit(STAMP)
        first = float(until(lambda: self._attempt_file(job, "log").strip()))
        until(lambda: self._get(f"/jobs/{job}")["finished_at"])
        return first - began

    def drain_full_queue(self, count: int) -> tuple[float, float]:
        """Queue `count` jobs while the card is drained, then let them run; jobs a second, and seconds."""
        card = self._get("/gpus")["items"][0]["uuid"]
        self._call("PATCH", "/settings", json={"max_jobs_per_card": None})
        self._call("POST", f"/gpus/{card}/drain", json={"reason": "filling the queue"})
        jobs = [self._submit("true") for _ in range(count)]
        self._call("POST", f"/gpus/{card}/undrain")
        until(lambda: all(self._attempt_file(job, "exit") for job in jobs))
        starts = [json.loads(self._attempt_file(job, "started"))["at"] for job in jobs]
        ends = [json.loads(self._attempt_file(job, "exit"))["at"] for job in jobs]
        seconds = max(ends) - min(starts)
        return count / seconds, seconds

    def _submit(self, command: str) -> str:
        self._count += 1
        task = f"task_id: bench-{self._count}\nresources:\n  min_memory: 1M\ncommand: {command}\n"
        return self._call("POST", "/jobs", files={"task": ("task.yaml", task)})["id"]

    def _attempt_file(self, job: str, name: str) -> str:
        try:
            return (self._home / "jobs" / job / "attempts" / "1" / name).read_text()
        except FileNotFoundError:
            return ""

    def _get(self, path: str) -> dict[str, object]:
        return self._call("GET", path)

    def _call(self, method: str, path: str, **arguments: object) -> dict[str, object]:
        answer = self._session.request(method, self._api + path, timeout=60, **arguments)
        if not answer.ok:
            sys.exit(f"bench: {method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json()


@contextmanager
def service(home: Path) -> Iterator[Site]:
    """A service in a COOP_HOME of its own."""
    state = home.parent / "state"
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("COOP_")},
        "COOP_HOME": str(home),
        "COOP_GPUS": "simulated:1xA100-80G",
        "XDG_STATE_HOME": str(state),
    }
    command = [sys.executable, "-m", "coop_site.serve"]
    quiet = {"env": environ, "cwd": ROOT, "stdout": subprocess.DEVNULL}
    process = subprocess.Popen([*command, "--port", "0"], **quiet)
    try:
        subprocess.run([*command, "--wait"], check=True, **quiet)
        yield Site(home, json.loads((state / "llama-coop" / "local.json").read_text()))
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
