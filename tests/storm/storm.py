"""The kill storm: real dispatchers, agent, launchers, supervisors and jobs, killed at random and at named points."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from jobs import rundir
from jobs.launch import procfs
from jobs.launch.crashpoints import VARIABLE as CRASH_AT
from tests.storm import inside
from tests.storm.auditor import Auditor, Findings, wait_for
from tests.storm.report import Report

ROOT = Path(__file__).parents[2]
DISPATCHERS = 2
VICTIMS = {"supervisor": 45, "job": 25, "dispatcher": 14, "launcher": 8, "agent": 8}
"""Who is killed, and how often out of a hundred."""
WORK_BETWEEN = {"dispatcher": 4, "launcher": 3, "agent": 8}
"""Attempts that have to begin between two kills of a service; else a slow machine is only ever starting services."""
CRASHES = "engine.before_spec:0.01,engine.after_spec:0.01,engine.after_request:0.01,engine.before_reap:0.03,*:0.03"
"""A dispatcher needs a second to come back, a supervisor none: so the engine's points are rarer."""

_OPEN = "SELECT job_id, number FROM jobs_attempt WHERE ended_at IS NULL"
_STATES = "SELECT state, count(*) FROM jobs_job GROUP BY state"
_CONTAINMENTS = (
    "SELECT containment, count(*) FROM jobs_attempt WHERE containment <> '' GROUP BY containment"
)


@dataclass
class Storm:
    """One site in its own COOP_HOME, and the hand that kills."""

    home: Path
    jobs: int
    seed: int
    mutant: str = ""
    containment: str = "auto"
    hide: bool = True
    victims: dict[str, int] = field(default_factory=VICTIMS.copy)
    kills: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.name = uuid.uuid4().hex[:8]
        self._dice = random.Random(self.seed)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._killed_at: Counter[str] = Counter()
        self._crashing = True

    def run(
        self, *, kills: int, seconds: float, until: Callable[[Storm, Auditor], bool] | None = None
    ) -> Report:
        """Prepare, kill until there were enough, let the rest come to its end, and count.

        `until` ends the storm early: what it waits for has been seen.
        """
        began = time.monotonic()
        self._seed()
        with Auditor(self.name, self.home / "db.sqlite3") as auditor:
            try:
                self._rage(auditor, kills, began + seconds, until)
                if until is None:
                    self._calm_down(seconds)
            finally:
                self._stop_services()
            orphans = self._orphans(auditor, patience=0 if until else 3)
            report = self._report(auditor.findings, orphans, time.monotonic() - began)
        self._sweep(auditor)
        return report

    def killed(self) -> int:
        """Kills so far, those at crash points too."""
        return sum(self.kills.values()) + sum(self.crashes().values())

    def crashes(self) -> Counter[str]:
        """Where processes ended themselves, as they noted just before."""
        notes = self.home / "crashes"
        return Counter(notes.read_text().split()) if notes.exists() else Counter()

    def started_twice(self) -> set[str]:
        """Tokens whose command began more than once."""
        return {token for token, times in self._ledger("start").items() if times > 1}

    # --- the site ------------------------------------------------------------------------------------

    def _seed(self) -> None:
        hide = "hide" if self.hide else "plain"
        command = [sys.executable, "-m", "tests.storm.seed", self.name, str(self.jobs), hide]
        subprocess.run(command, cwd=ROOT, env=self._environment(), check=True)

    def _environment(self) -> dict[str, str]:
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("COOP_", "LLAMA_COOP_"))
        }
        env |= {
            "DJANGO_SETTINGS_MODULE": "coop_site.settings",
            "COOP_HOME": str(self.home),
            "COOP_GPUS": "simulated:2xA100-80G",
            "COOP_CONTAINMENT": self.containment,
            "COOP_LOG_LEVEL": "ERROR",
            inside.MUTANT: self.mutant,
            inside.NOTES: str(self.home / "crashes"),
        }
        return env | ({CRASH_AT: CRASHES} if self._crashing else {})

    def _keep_services(self) -> None:
        names = [*(f"dispatcher-{number}" for number in range(DISPATCHERS)), "agent"]
        for name in names:
            process = self._processes.get(name)
            if process is None or process.poll() is not None:
                self._processes[name] = self._service(name)

    def _service(self, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.storm.inside", name.partition("-")[0]]
        with (self.home / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=ROOT, env=self._environment(), stdout=log, stderr=log
            )

    def _stop_services(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._processes.clear()

    # --- the storm -----------------------------------------------------------------------------------

    def _rage(self, auditor: Auditor, kills: int, deadline: float, until) -> None:
        while self.killed() < kills and time.monotonic() < deadline and not self._all_ended():
            self._keep_services()
            if until is not None and until(self, auditor):
                return
            time.sleep(self._dice.uniform(0.02, 0.25))
            kind = self._dice.choices(list(self.victims), list(self.victims.values()))[0]
            victim = self._victim(kind)
            if victim is not None:
                self._kill(kind, victim)

    def _calm_down(self, seconds: float) -> None:
        """No more crashes: everything that runs now is replaced once, then the jobs come to their ends."""
        self._crashing = False
        self._stop_services()

        def quiet() -> bool:
            self._keep_services()
            return self._all_ended()

        wait_for(quiet, seconds)

    def _victim(self, kind: str) -> int | None:
        if kind in {"supervisor", "job"}:
            return self._victim_of_an_attempt(kind)
        begun = self._attempts()
        if begun - self._killed_at[kind] < WORK_BETWEEN[kind]:
            return None
        self._killed_at[kind] = begun
        if kind == "launcher":
            return self._dice.choice(self._launchers() or [None])
        return self._dice.choice(
            [one.pid for name, one in self._processes.items() if name.startswith(kind)]
        )

    def _attempts(self) -> int:
        return self._query("SELECT count(*) FROM jobs_attempt")[0][0]

    def _victim_of_an_attempt(self, kind: str) -> int | None:
        attempts = self._query(_OPEN)
        if not attempts:
            return None
        job, number = self._dice.choice(attempts)
        seen = rundir.observe(rundir.attempt_directory(self.home, job, number))
        if seen.kind != "alive" or seen.claim is None:
            return None
        if kind == "job":
            return seen.started["pid"] if seen.started else None
        return seen.claim["pid"]

    def _launchers(self) -> list[int]:
        parents = {process.pid for process in self._processes.values()}
        return [
            one.pid
            for one in procfs.all_processes().values()
            if one.parent in parents and _is_launcher(one.pid)
        ]

    def _kill(self, kind: str, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.kills[kind] += 1

    # --- the count -----------------------------------------------------------------------------------

    def _all_ended(self) -> bool:
        return set(self._states()) <= {"SUCCEEDED", "FAILED", "CANCELLED"}

    def _states(self) -> Counter[str]:
        return Counter(dict(self._query(_STATES)))

    def _orphans(self, auditor: Auditor, patience: float) -> int:
        """Processes that are left though every attempt is closed; those of open attempts are none."""
        open_tokens = {f"{job}-{number}" for job, number in self._query(_OPEN)}

        def orphans() -> list[str]:
            return [token for token in auditor.living().values() if token not in open_tokens]

        wait_for(lambda: not orphans(), patience)
        return len(orphans())

    def _report(self, findings: Findings, orphans: int, seconds: float) -> Report:
        containments: Counter[str] = Counter()
        for kind, count in self._query(_CONTAINMENTS):
            containments[kind.partition(":")[0]] += count
        states = self._states()
        return Report(
            jobs=self.jobs,
            states=states,
            attempts=self._attempts(),
            kills=self.kills,
            crashes=self.crashes(),
            containments=containments,
            findings=findings,
            lost=self.jobs - states["SUCCEEDED"],
            started_twice=self.started_twice(),
            orphans=orphans,
            booked_at_the_end=self._query("SELECT count(*) FROM gpus_device WHERE booked <> 0")[0][
                0
            ],
            seconds=seconds,
            integrity=self._query("PRAGMA integrity_check")[0][0],
        )

    def _ledger(self, word: str) -> Counter[str]:
        ledger = self.home / "ledger"
        lines = ledger.read_text().splitlines() if ledger.exists() else []
        return Counter(line.split()[1] for line in lines if line.startswith(word))

    def _query(self, sql: str) -> list[tuple]:
        rows = sqlite3.connect(f"file:{self.home / 'db.sqlite3'}?mode=ro", uri=True, timeout=20)
        with contextlib.closing(rows):
            return rows.execute(sql).fetchall()

    def _sweep(self, auditor: Auditor) -> None:
        """Leave nothing of a broken storm behind: supervisors first, then what they held."""
        for job, number in self._query("SELECT job_id, number FROM jobs_attempt"):
            seen = rundir.observe(rundir.attempt_directory(self.home, job, number))
            if seen.kind in {"alive", "unkillable"} and seen.claim is not None:
                self._kill("sweep", seen.claim["pid"])
        for process in auditor.living():
            self._kill("sweep", process.pid)


def _is_launcher(pid: int) -> bool:
    try:
        return b"jobs.launcher" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def rage(**options) -> Report:
    """A storm in a temporary COOP_HOME, which is removed when nothing was broken."""
    limits = {name: options.pop(name) for name in ("kills", "seconds", "until") if name in options}
    home = Path(tempfile.mkdtemp(prefix="llama-coop-storm-"))
    report = Storm(home=home, **options).run(**limits)
    if report.broken() and not options.get("mutant"):
        print(f"The site of the storm is kept for a look: {home}")
    else:
        shutil.rmtree(home, ignore_errors=True)
    return report


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    result = rage(jobs=count * 3 // 2, seed=int(time.time()), kills=count, seconds=count + 120)
    print(result.table())
    sys.exit(bool(result.broken()))
