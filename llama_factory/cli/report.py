"""`report`: what the cards were used for, for those who lead a project."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llama_factory.cli import words
from llama_factory.cli.connection import JsonOption, ProjectOption, UrlOption, connected
from llama_factory.cli.output import show, show_json, write

if TYPE_CHECKING:
    from rich.console import RenderableType


class By(StrEnum):
    """What the lines of the table are."""

    USER = "user"
    PROJECT = "project"
    CARD = "card"
    DAY = "day"


def report(  # noqa: PLR0913, PLR0917 - one parameter is one flag
    since: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="First day, as 2026-02-01.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="DAY", help="Last day; today.")] = None,
    by: Annotated[By, typer.Option(help="What the lines are.")] = By.USER,
    user: Annotated[str | None, typer.Option(help="Only this person's jobs.")] = None,
    card: Annotated[str | None, typer.Option(help="Only cards of this model.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print all figures as CSV.")] = False,
    project: ProjectOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Say what the cards were used for: GPU-hours, waits, waste.

    Of the projects that you lead; of all of them for an admin.
    """
    wanted = {"since": since, "to": to, "user": user, "card": card, "project": project}
    with connected(url, project) as coop:
        if csv:
            write([coop.report_csv(**wanted)])
            return
        told = coop.report(**wanted)
    if json:
        show_json(told)
    else:
        show(*_parts(told, by))


def _parts(told: Mapping[str, Any], by: By) -> Iterator[RenderableType]:
    from rich.text import Text  # noqa: PLC0415 - start-up cost of rich

    whole = told["total"]
    yield Text(f"{told['from']} to {told['to']}: {_hours(whole)} GPU-hours", style="bold")
    yield _table(by.value.upper(), told[f"by_{by}"])
    if told["waits"]:
        yield Text("\nWaits for the first start", style="bold")
    for each in told["waits"]:
        median, most = words.duration(each["median_s"]), words.duration(each["p90_s"])
        yield Text(f"  {each['priority']}: median {median}, 9 of 10 within {most}")
    yield Text("\nWaste (kinds may overlap)", style="bold")
    yield _table("KIND", [{**each, "jobs": each["behind"]} for each in told["waste"]])


def _table(name: str, lines: list[dict[str, Any]]) -> RenderableType:
    from rich.table import Table  # noqa: PLC0415 - start-up cost of rich

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(name)
    for title in ("GPU-HOURS", "GIB-HOURS", "JOBS"):
        table.add_column(title, justify="right")
    for line in lines:
        memory = f"{line['memory_gib_hours']:.1f}"
        table.add_row(line["name"], _hours(line), memory, str(line["jobs"]))
    return table


def _hours(line: Mapping[str, Any]) -> str:
    return f"{line['gpu_hours']:.2f}"
