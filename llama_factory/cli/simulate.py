"""`simulate`: what a workload would see on a fleet under a scheduler. Needs no service."""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.core.units import DAY, format_duration
from llama_factory.cli.connection import JsonOption
from llama_factory.cli.output import say, show_json
from llama_factory.errors import Invalid

if TYPE_CHECKING:
    from jobs.core.simulation.results import Outcome


class Mode(StrEnum):
    """How far cards are shared."""

    EXCLUSIVE = "exclusive"
    SMART_QUEUE = "smart-queue"
    DYNAMIC_SHARDING = "dynamic-sharding"


class Placing(StrEnum):
    """How cards are chosen."""

    DEFAULT = "default"
    BESTFIT = "bestfit"
    FGD = "fgd"
    RANDOM = "random"


class Estimates(StrEnum):
    """What the scheduler is told of how long jobs run."""

    NONE = "none"
    PERFECT = "perfect"


WorkloadArgument = Annotated[
    Path, typer.Argument(metavar="WORKLOAD.csv", help="The jobs, one a line.")
]
FleetOption = Annotated[
    str, typer.Option(metavar="FLEET", help="13x8xV100-32G,4x4xA100-80G, or a .csv of machines.")
]
PolicyOption = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="default, fifo, greedy, easy, las, srtf, srsf, or path.py:Class."
    ),
]
ModeOption = Annotated[Mode, typer.Option(help="How far cards are shared.")]
PlacementOption = Annotated[Placing, typer.Option(help="How cards are chosen.")]
EstimatesOption = Annotated[
    Estimates, typer.Option(help="What the scheduler knows of run times; oracles know them anyhow.")
]
SuspendOption = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="What suspending and resuming a job costs.")
]
MinRunOption = Annotated[
    float,
    typer.Option(
        min=0, max=30 * DAY, metavar="SECONDS", help="Who has run for less is not preempted."
    ),
]
SeedOption = Annotated[int, typer.Option(metavar="N", help="For placement by chance.")]
OverheadOption = Annotated[
    str,
    typer.Option(metavar="COLUMN", help="Where the seconds are that each start of a job takes."),
]
NoDeparturesOption = Annotated[
    bool, typer.Option("--no-departures", help="Jobs never end; the ratios are those at the end.")
]
AllPreemptibleOption = Annotated[
    bool, typer.Option("--all-preemptible", help="Every job can be suspended.")
]
WeightOption = Annotated[
    list[str] | None,
    typer.Option(metavar="PROJECT=NUMBER", help="A project's share, 1 by default; repeatable."),
]
RowsOption = Annotated[
    Path | None, typer.Option(metavar="FILE.csv", help="Write what became of each job.")
]


def simulate(  # noqa: PLR0913, PLR0917 - one parameter is one flag
    workload: WorkloadArgument,
    fleet: FleetOption,
    policy: PolicyOption = "default",
    mode: ModeOption = Mode.EXCLUSIVE,
    placement: PlacementOption = Placing.DEFAULT,
    estimates: EstimatesOption = Estimates.NONE,
    suspend_seconds: SuspendOption = 120.0,
    min_run: MinRunOption = 1800.0,
    seed: SeedOption = 0,
    start_overhead: OverheadOption = "",
    no_departures: NoDeparturesOption = False,
    all_preemptible: AllPreemptibleOption = False,
    weight: WeightOption = None,
    rows: RowsOption = None,
    json: JsonOption = False,
) -> None:
    """Run a workload through a scheduler.

    Needs no service. The columns of a workload are submit_s, duration_s and, where wanted, job_id, gpus, min_memory,
    gpu_type, project, user, priority, sm_share, preemptible, cpus, host_memory.
    """
    from llama_factory import simulating  # noqa: PLC0415 - start-up cost

    setup = simulating.Setup(
        policy=simulating.policy_named(policy),
        mode=mode.value,
        placement=placement.value,
        perfect_estimates=estimates is Estimates.PERFECT,
        suspend_seconds=suspend_seconds,
        min_run=min_run,
        seed=seed,
        departures=not no_departures,
        all_preemptible=all_preemptible,
        weights=_weights(weight or []),
    )
    asked = simulating.workload_in(workload, start_overhead)
    machines = simulating.fleet_named(fleet)
    began = time.monotonic()
    outcome = simulating.run(asked, machines, setup)
    seconds = time.monotonic() - began
    _tell(outcome, asked.ignored)
    if rows is not None:
        simulating.write_rows(outcome, rows)
    _show(asdict(outcome.figures) | {"seconds": round(seconds, 3)}, json=json)


def _weights(given: list[str]) -> dict[str, float]:
    found = {}
    for text in given:
        name, _, number = text.partition("=")
        if not name or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", number) or not float(number):
            raise Invalid(
                f"The weight {text!r} cannot be read.",
                hint="Write PROJECT=NUMBER with a number above 0, for example --weight vision=3.",
            )
        found[name] = float(number)
    return found


def _tell(outcome: Outcome, ignored: tuple[str, ...]) -> None:
    if ignored:
        say(f"Columns that nothing is done with: {', '.join(ignored)}")
    if number := len(outcome.never_fit):
        say(f"Jobs that ask for more than the fleet has, and were left out: {number}")
    if outcome.policy_problem:
        say(outcome.policy_problem)


def _show(figures: dict[str, Any], *, json: bool) -> None:
    if json:
        show_json(figures)
        return
    width = max(map(len, figures))
    for key, value in figures.items():
        typer.echo(f"{_name(key):<{width}}  {_value(key, value)}")


def _name(key: str) -> str:
    return re.sub(r"_s\b|_s(?=_by)", "", key).replace("_", " ")


def _value(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{_value('wait_s', each)} ({name})" for name, each in value.items())
    if key.endswith(("ratio", "error")):
        return f"{100 * value:.1f} %"
    if key == "lost_gpu_s":
        return f"{value / 3600:.1f} hours"
    if key == "seconds":
        return f"{value:.1f}"
    return format_duration(value) if key.endswith("_s") else str(value)
