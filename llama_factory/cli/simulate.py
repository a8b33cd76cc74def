"""`simulate`: what a workload, or the service's own past, would see on a fleet under a scheduler."""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.core.units import DAY, format_duration
from llama_factory.cli.connection import JsonOption, UrlOption
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
    Path | None, typer.Argument(metavar="WORKLOAD.csv", help="The jobs, one a line.")
]
FleetOption = Annotated[
    str | None,
    typer.Option(metavar="FLEET", help="13x8xV100-32G,4x4xA100-80G, or a .csv of machines."),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="default, fifo, greedy, easy, las, srtf, srsf, or path.py:Class."
        " With --history: as the setting policy.",
    ),
]
ModeOption = Annotated[Mode | None, typer.Option(help="How far cards are shared: exclusive.")]
PlacementOption = Annotated[Placing | None, typer.Option(help="How cards are chosen.")]
EstimatesOption = Annotated[
    Estimates, typer.Option(help="What the scheduler knows of run times; oracles know them anyhow.")
]
SuspendOption = Annotated[
    float | None,
    typer.Option(min=0, metavar="SECONDS", help="What suspending and resuming a job costs: 120."),
]
MinRunOption = Annotated[
    float | None,
    typer.Option(
        min=0, max=30 * DAY, metavar="SECONDS", help="Who has run for less is not preempted: 1800."
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
HistoryOption = Annotated[
    str | None,
    typer.Option(metavar="30d", help="Instead of a file: the service's own last days, replayed."),
]
GuaranteeOption = Annotated[
    list[str] | None,
    typer.Option(metavar="PROJECT=cards:8", help="With --history; also memory:160G, running:4."),
]
LimitOption = Annotated[
    list[str] | None,
    typer.Option(metavar="PROJECT=cards:16", help="With --history; cards:none for no limit."),
]
AddOption = Annotated[
    list[str] | None, typer.Option(metavar="1xA100-80G", help="With --history: more cards.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="With --history: a site setting."),
]


def simulate(  # noqa: PLR0913, PLR0917 - one parameter is one flag
    workload: WorkloadArgument = None,
    fleet: FleetOption = None,
    policy: PolicyOption = None,
    mode: ModeOption = None,
    placement: PlacementOption = None,
    estimates: EstimatesOption = Estimates.NONE,
    suspend_seconds: SuspendOption = None,
    min_run: MinRunOption = None,
    seed: SeedOption = 0,
    start_overhead: OverheadOption = "",
    no_departures: NoDeparturesOption = False,
    all_preemptible: AllPreemptibleOption = False,
    weight: WeightOption = None,
    rows: RowsOption = None,
    history: HistoryOption = None,
    guarantee: GuaranteeOption = None,
    limit: LimitOption = None,
    add: AddOption = None,
    settings: SetOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Run a workload through a scheduler, or replay the service's own past.

    A workload needs no service. Its columns are submit_s, duration_s and, where wanted, job_id, gpus, min_memory,
    gpu_type, project, user, priority, sm_share, preemptible, cpus, host_memory.

    With --history, for leads and admins, the last days of the service are replayed as it is now and with these flags.
    """
    given = dict(locals())
    if history is None:
        _refuse_all(given, _FOR_HISTORY, "goes with --history")
        _simulate(given)
    else:
        _refuse_all(given, _FOR_FILES, "goes with a workload file, not with --history")
        _replay(given)


_FOR_HISTORY: dict[str, Any] = dict.fromkeys(("guarantee", "limit", "add", "settings", "url"))
_FOR_FILES: dict[str, Any] = {
    "workload": None,
    "estimates": Estimates.NONE,
    "seed": 0,
    "start_overhead": "",
    "no_departures": False,
    "all_preemptible": False,
    "rows": None,
}
"""The flags that go with one of the two only, and what they are where they are not given."""


def _refuse_all(given: dict[str, Any], flags: dict[str, Any], why: str) -> None:
    for name, usual in flags.items():
        if given[name] not in (usual, []):
            flag = {"settings": "--set", "workload": "WORKLOAD.csv"}.get(name)
            raise Invalid(f"{flag or '--' + name.replace('_', '-')} {why}.")


def _simulate(given: dict[str, Any]) -> None:
    from llama_factory import simulating  # noqa: PLC0415 - start-up cost

    if given["workload"] is None or given["fleet"] is None:
        raise Invalid(
            "There is nothing to simulate.",
            hint="Give a workload and a fleet, WORKLOAD.csv --fleet 13x8xV100-32G, or --history 30d.",
        )
    setup = simulating.Setup(
        policy=simulating.policy_named(given["policy"] or "default"),
        mode=(given["mode"] or Mode.EXCLUSIVE).value,
        placement=(given["placement"] or Placing.DEFAULT).value,
        perfect_estimates=given["estimates"] is Estimates.PERFECT,
        suspend_seconds=_or(given["suspend_seconds"], 120.0),
        min_run=_or(given["min_run"], 1800.0),
        seed=given["seed"],
        departures=not given["no_departures"],
        all_preemptible=given["all_preemptible"],
        weights=_weights(given["weight"] or []),
    )
    asked = simulating.workload_in(given["workload"], given["start_overhead"])
    machines = simulating.fleet_named(given["fleet"])
    began = time.monotonic()
    outcome = simulating.run(asked, machines, setup)
    seconds = time.monotonic() - began
    _tell(outcome, asked.ignored)
    if given["rows"] is not None:
        simulating.write_rows(outcome, given["rows"])
    _show(asdict(outcome.figures) | {"seconds": round(seconds, 3)}, json=given["json"])


def _replay(given: dict[str, Any]) -> None:
    from llama_factory.cli.replaying import Wish, replay  # noqa: PLC0415 - start-up cost

    wish = Wish(
        history=given["history"],
        policy=given["policy"],
        mode=given["mode"] and given["mode"].value,
        placement=given["placement"] and given["placement"].value,
        min_run=given["min_run"],
        suspend_seconds=given["suspend_seconds"],
        fleet=given["fleet"],
        weights=_weights(given["weight"] or []),
        guarantee=given["guarantee"] or (),
        limit=given["limit"] or (),
        add=given["add"] or (),
        settings=given["settings"] or (),
    )
    replay(wish, given["url"], json=given["json"])


def _or(given: float | None, usual: float) -> float:
    return usual if given is None else given


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
