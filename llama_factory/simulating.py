"""Simulations from files: read a workload and a fleet, run them, write what became of each job. No service needed."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from jobs.core.policy import BasePolicy
from jobs.core.scheduling.rules import Rules
from jobs.core.simulation import contestants
from jobs.core.simulation.conditions import Conditions
from jobs.core.simulation.fleet_spec import FleetSpec, FleetSpecError, parse_fleet, read_fleet
from jobs.core.simulation.results import JobResult, Outcome
from jobs.core.simulation.simulator import SimulationStuck, simulate
from jobs.core.simulation.workload import Workload, WorkloadError, read_workload
from llama_factory.errors import Invalid
from llama_factory.policyfile import load_policy


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """Who schedules, and in what world. Times are seconds."""

    policy: str | BasePolicy = contestants.DEFAULT
    mode: str = "exclusive"
    placement: str = "default"
    perfect_estimates: bool = False
    suspend_seconds: float = 120.0
    min_run: float = 1800.0
    seed: int = 0  # for placement by chance
    departures: bool = True
    all_preemptible: bool = False
    weights: dict[str, float] = field(default_factory=dict)


def run(workload: Workload, machines: FleetSpec, setup: Setup) -> Outcome:
    """One simulation; the same setup gives the same outcome.

    Raises:
        Invalid: the scheduler goes round in circles.
    """
    rules = Rules(min_run=setup.min_run, placement=contestants.PLACEMENTS[setup.placement])
    decider = contestants.contestant(setup.policy, rules, pick=random.Random(setup.seed).randrange)
    conditions = Conditions(
        mode=setup.mode,
        suspend_seconds=setup.suspend_seconds,
        all_preemptible=setup.all_preemptible,
        departures=setup.departures,
        perfect_estimates=setup.perfect_estimates or contestants.knows_the_future(setup.policy),
        weights=setup.weights,
        preemption_window=rules.preemption_window,
    )
    try:
        return simulate(workload.jobs, machines, decider, conditions)
    except SimulationStuck as stuck:
        raise Invalid(str(stuck)) from stuck


def policy_named(given: str) -> str | BasePolicy:
    """A scheduler by its name, or the policy in a file.

    Raises:
        Invalid: no such name, file or class.
    """
    if given in contestants.NAMES:
        return given
    if ":" not in given:
        raise Invalid(
            f"There is no policy {given!r}.",
            hint=f"Allowed: {', '.join(contestants.NAMES)}, or path/to/policy.py:ClassName.",
        )
    return load_policy(given)


def workload_in(path: Path, overhead_column: str = "") -> Workload:
    """The workload in a CSV file.

    Raises:
        Invalid: the file cannot be read or is no workload.
    """
    with _opened(path) as lines:
        try:
            return read_workload(lines, overhead_column=overhead_column)
        except WorkloadError as error:
            raise Invalid(f"{path} is not a workload:\n{error}") from error


def fleet_named(given: str) -> FleetSpec:
    """The machines that a text such as `13x8xV100-32G` names, or those in a .csv file.

    Raises:
        Invalid: the text or file names no machines.
    """
    try:
        if not given.endswith(".csv"):
            return parse_fleet(given)
        with _opened(Path(given)) as lines:
            return read_fleet(lines)
    except FleetSpecError as error:
        raise Invalid(str(error)) from error


def write_rows(outcome: Outcome, path: Path) -> None:
    """One line for each job: when it came, started and ended, how long it waited and took, how often it was preempted.

    Raises:
        Invalid: the file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([field.name for field in fields(JobResult)])
            writer.writerows(asdict(row).values() for row in outcome.rows)
    except OSError as error:
        raise Invalid(f"{path} cannot be written: {error.strerror}.") from error


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[str]]:
    """The lines of a text file, with or without a byte order mark."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield lines
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is not UTF-8 text.", hint="Save it as CSV in UTF-8.") from error
