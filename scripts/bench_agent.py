"""What the agent costs: its share of one core with some simulated cards and some running jobs.

    .venv/bin/python scripts/bench_agent.py --cards 64 --jobs 40 --seconds 60

Everything is real but the cards: the agent is `manage.py agent` with a COOP_HOME of its own, the jobs are
sleeping processes under their supervisors. Counted are the agent and the process that asks the cards.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="bench-agent-") as home:
        os.environ |= {
            "COOP_HOME": home,
            "COOP_GPUS": f"simulated:{arguments.cards}xA100-80G",
            "COOP_PERSISTENT_CONNECTIONS": "1",
            "COOP_LOG_LEVEL": "ERROR",
        }
        manage = [sys.executable, str(ROOT / "manage.py")]
        subprocess.run([*manage, "migrate", "--verbosity", "0"], check=True)
        with subprocess.Popen([*manage, "agent"]) as agent:
            try:
                jobs = _Jobs(arguments.cards, arguments.jobs)
                print(_report(agent.pid, arguments, jobs))
                jobs.end()
            finally:
                agent.terminate()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cards", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    return parser.parse_args()


def _report(agent: int, arguments: argparse.Namespace, jobs: _Jobs) -> str:
    time.sleep(15)  # the start, and the first look at every process tree, are no part of it
    processes = [agent, *_children(agent)]
    before, begun = [_used(pid) for pid in processes], time.monotonic()
    time.sleep(arguments.seconds)
    took = time.monotonic() - begun
    shares = [100 * (_used(pid) - used) / took for pid, used in zip(processes, before, strict=True)]
    return (
        f"{arguments.cards} cards, {arguments.jobs} jobs, {took:.0f} s: {sum(shares):.1f} % of a core"
        f" (agent {shares[0]:.1f} %, the process that asks the cards {sum(shares[1:]):.1f} %),"
        f" each card read {jobs.looks_a_second():.1f} times a second"
    )


class _Jobs:
    """Jobs that sleep, started by a real cycle."""

    def __init__(self, cards: int, jobs: int) -> None:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "coop_site.settings")
        import django  # noqa: PLC0415 (the settings are read from the environment made above)

        django.setup()
        from gpus.models import Device  # noqa: PLC0415
        from jobs.cycle import Cycle  # noqa: PLC0415
        from jobs.models import Job  # noqa: PLC0415
        from tests.rows import GIB, a_job  # noqa: PLC0415

        self._jobs = Job.objects
        _wait_until(lambda: Device.objects.filter(used__isnull=False).count() == cards)
        for number in range(jobs):
            a_job(f"sleeper-{number}", memory=10 * GIB, command="sleep 100000")
        cycle = Cycle()

        def all_run() -> bool:
            cycle.run()
            return self._jobs.filter(state="RUNNING").count() == jobs

        _wait_until(all_run)

    def looks_a_second(self) -> float:
        """How often each card was read, in the last whole period."""
        from gpus.models import Reading  # noqa: PLC0415

        latest = Reading.objects.filter(seconds=10).order_by("-start", "samples").first()
        return latest.samples / 10 if latest else 0.0

    def end(self) -> None:
        from jobs.engines import local_engine  # noqa: PLC0415
        from jobs.reconciling import ref_of  # noqa: PLC0415

        for job in self._jobs.active():
            local_engine().control(ref_of(job.open_attempt), "stop", 0.0)
        for job in self._jobs.active():
            _wait_until(
                lambda attempt=job.open_attempt: (
                    local_engine().observe(ref_of(attempt)).kind != "alive"
                )
            )


def _wait_until(condition) -> None:  # noqa: ANN001
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("The agent or its jobs did not start within two minutes.")
        time.sleep(0.2)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _used(pid: int) -> float:
    """Processor time in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


if __name__ == "__main__":
    main()
