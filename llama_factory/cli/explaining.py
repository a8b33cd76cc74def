"""`why`: why a job waits, when it is expected to start, why not sooner, and what would help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llama_factory.cli import words
from llama_factory.cli.connection import (
    JobArgument,
    JsonOption,
    ProjectOption,
    UrlOption,
    connected,
)
from llama_factory.cli.output import show, show_json

if TYPE_CHECKING:
    from rich.console import RenderableType


def why(
    job: JobArgument,
    project: ProjectOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Say why a job waits, with numbers, until when, and what would help."""
    with connected(url, project) as coop:
        told = coop.why(job)
    if json:
        show_json(told)
    else:
        show(*_parts(told, words.now()))


def _parts(told: Mapping[str, Any], now: datetime) -> Iterator[RenderableType]:
    """From the reason to its details."""
    from rich.text import Text  # noqa: PLC0415 - start-up cost of rich

    yield Text(told["sentence"], style="bold")
    for line in filter(None, (told["remedy"], _place(told, now))):
        yield Text(line)
    yield from _section(
        "What would change it", [each["sentence"] for each in _of(told, "what_ifs")]
    )
    if told["cards"]:
        yield Text("\nWhat each card says", style="bold")
        yield _cards(told["cards"])
        yield from _more(told.get("cards_more"), "cards with less room")
    steps = enumerate((each["sentence"] for each in _of(told, "order")), start=1)
    yield from _section("Why it stands there", [f"{number}. {said}" for number, said in steps])
    yield from _section("Ahead of it", [_ahead(each) for each in _of(told, "ahead")])
    yield from _more(told.get("ahead_more"), "more")


def _of(told: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    """A list of the answer; a service of an earlier version does not send all of them."""
    found: Sequence[Mapping[str, Any]] = told.get(name) or ()
    return found


def _place(told: Mapping[str, Any], now: datetime) -> str:
    """The place in the queue and the expected start."""
    place = f"Position in the queue: {told['position']}. " if told["position"] else ""
    start = words.start(told, now)
    return f"{place}Expected start: {start}." if start else place.rstrip()


def _section(title: str, lines: Sequence[str]) -> Iterator[RenderableType]:
    from rich.text import Text  # noqa: PLC0415 - start-up cost of rich

    if lines:
        yield Text(f"\n{title}", style="bold")
        yield from (Text(f"  {line}") for line in lines)


def _more(count: int | None, what: str) -> Iterator[RenderableType]:
    from rich.text import Text  # noqa: PLC0415 - start-up cost of rich

    if count:
        yield Text(f"  and {count} {what}")


def _cards(cards: Sequence[Mapping[str, Any]]) -> RenderableType:
    from rich.table import Table  # noqa: PLC0415 - start-up cost of rich

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for _ in range(4):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for card in cards:
        free = words.card_size(card["free_bytes"])
        name = card["name"].removeprefix("NVIDIA ")
        table.add_row(
            f"  {card['gpu']}", card["node"], name, f"free {free}", card["verdict"] or "fits"
        )
    return table


def _ahead(job: Mapping[str, Any]) -> str:
    """One job that is ahead: what it is called, whose it is, and what it needs."""
    size = words.card_size(job["min_memory_bytes"])
    needs = f"{job['gpus']}x {size}" if job["gpus"] > 1 else size
    name = job["name"] or "another project"
    owner = f" ({job['owner']})" if job["owner"] else ""
    return f"{job['position'] or '-'}. {name}{owner}, {needs}"
