"""The cards and machines of a simulation: from a short text such as `13x8xV100-32G`, or from the rows of a CSV file.

The text names, separated by commas, machines x cards x model-memory. The CSV file has one line for each machine, or
for each kind of machine, with the columns

    gpus      cards on the machine; 0 is allowed
    model     their model, such as A100; may be empty where there are no cards
    memory    of each card, such as 80G; may be empty where there are no cards
    node      its name; left out: the number of the row
    count     how many machines like this; left out: 1
    cpus      cores of the machine; left out: no limit
    host_memory  main memory of the machine, such as 512G; left out: no limit
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from jobs.core.cardmodes import DYNAMIC_SHARDING, MAX_BUSY, SMART_QUEUE, THRESHOLD
from jobs.core.problems import Problem, shortened
from jobs.core.snapshot import DeviceView, NodeView
from jobs.core.units import UnitError, parse_size

MOST_CARDS = 1_000_000

_HOW = "Allowed: <machines>x<cards>x<model>-<memory>, separated by commas, for example 13x8xV100-32G,4x4xA100-80G."
_PART = re.compile(
    r"(?P<count>[0-9]{1,6})x(?P<gpus>[0-9]{1,4})x(?P<model>[A-Za-z0-9][A-Za-z0-9 _.-]*)-(?P<memory>[0-9.]+[A-Za-z]+)"
)
_NO_LIMIT = 2**62
_COLUMNS = ("gpus", "model", "memory", "node", "count", "cpus", "host_memory")


class FleetSpecError(ValueError):
    """A text or file that describes no machines; says what was given, what is allowed and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CardMode:
    """How far the cards are shared."""

    threshold: float  # share of a card's memory above which nothing more is placed
    max_holders: int  # jobs on one card
    max_busy: float | None  # where the sum of the jobs' known SM demands ends


MODES = {
    "exclusive": CardMode(threshold=1.0, max_holders=1, max_busy=None),
    SMART_QUEUE: CardMode(
        threshold=THRESHOLD[SMART_QUEUE], max_holders=4, max_busy=MAX_BUSY[SMART_QUEUE]
    ),
    DYNAMIC_SHARDING: CardMode(
        threshold=THRESHOLD[DYNAMIC_SHARDING], max_holders=6, max_busy=MAX_BUSY[DYNAMIC_SHARDING]
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Machines:
    """Machines of one kind."""

    count: int
    gpus: int  # on each
    model: str = ""
    memory: int = 0  # bytes on each card
    name: str = ""  # empty: they are numbered
    cpus: int | None = None  # thousandths of a core on each; None: no limit
    host_memory: int | None = None  # bytes on each; None: no limit


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetSpec:
    """All machines of a simulation."""

    machines: tuple[Machines, ...]

    def cards(self, mode: CardMode = MODES["exclusive"]) -> tuple[DeviceView, ...]:
        """Every card, empty and in service. Nothing is set aside for a driver: simulated memory is all usable."""
        return tuple(
            DeviceView(
                uuid=f"{node}-gpu{index}",
                node=node,
                index=index,
                name=kind.model,
                total=kind.memory,
                safety=0,
                measured_free=kind.memory,
                threshold=mode.threshold,
                max_holders=mode.max_holders,
                max_busy=mode.max_busy,
            )
            for node, kind in self._named()
            for index in range(kind.gpus)
        )

    def nodes(self) -> tuple[NodeView, ...]:
        """The machines that limit processors or main memory; the others need no view."""
        return tuple(
            NodeView(
                name=node,
                cpus=_NO_LIMIT if kind.cpus is None else kind.cpus,
                host_memory=_NO_LIMIT if kind.host_memory is None else kind.host_memory,
            )
            for node, kind in self._named()
            if kind.cpus is not None or kind.host_memory is not None
        )

    def _named(self) -> Iterator[tuple[str, Machines]]:
        total = sum(kind.count for kind in self.machines)
        numbers, digits = count(), len(str(total))
        for kind in self.machines:
            for place in range(kind.count):
                number = next(numbers)
                if kind.name:
                    yield (kind.name if kind.count == 1 else f"{kind.name}-{place}"), kind
                else:
                    yield (
                        f"node{number:0{digits}}",
                        kind,
                    )  # so that their names sort as their numbers do


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenCards:
    """Cards that are known one by one, such as those of a site; their machines set no limits."""

    views: tuple[DeviceView, ...]

    def cards(self, mode: CardMode) -> tuple[DeviceView, ...]:  # noqa: ARG002 - each has its own
        """Every card."""
        return self.views

    def nodes(self) -> tuple[NodeView, ...]:
        """None."""
        return ()


def parse_fleet(text: str) -> FleetSpec:
    """The machines that `13x8xV100-32G,4x4xA100-80G` names.

    Raises:
        FleetSpecError: a part of the text is not of this form, or there are no or too many cards.
    """
    return _checked(FleetSpec(machines=tuple(_part(part.strip()) for part in text.split(","))))


def read_fleet(lines: Iterable[str]) -> FleetSpec:
    """The machines in the lines of a CSV file.

    Raises:
        FleetSpecError: a column is missing, a value cannot be read, or there are no or too many cards.
    """
    rows = csv.DictReader(lines, strict=True)
    try:
        header = tuple(rows.fieldnames or ())
        strange = [name for name in header if name not in _COLUMNS]
        if "gpus" not in header or strange:
            raise FleetSpecError(
                f"line 1: the columns are {shortened(', '.join(header), 200)}; allowed are {', '.join(_COLUMNS)}, "
                "and gpus must be there."
            )
        machines = tuple(_row(row, rows.line_num) for row in rows)
    except csv.Error as error:
        raise FleetSpecError(f"line {rows.reader.line_num}: this is not CSV ({error}).") from error
    return _checked(FleetSpec(machines=machines))


def _part(part: str) -> Machines:
    found = _PART.fullmatch(part)
    if found is None:
        raise FleetSpecError(
            f"The fleet has the part {shortened(part)}, which names no machines. {_HOW}"
        )
    try:
        memory = parse_size(found["memory"])
    except UnitError as error:
        raise FleetSpecError(f"The fleet has the part {shortened(part)}: {error} {_HOW}") from error
    return Machines(
        count=int(found["count"]),
        gpus=int(found["gpus"]),
        model=f"{found['model']}-{found['memory']}",
        memory=memory,
    )


def _row(row: Mapping[str, str | None], line: int) -> Machines:
    gpus = _whole(row, "gpus", line, default=0)
    memory = _size(row, "memory", line)
    if gpus and not memory:
        raise _wrong(
            line, "memory", "the machine has cards without memory", "write for example 80G"
        )
    cpus = _text(row, "cpus")
    return Machines(
        count=_whole(row, "count", line, default=1),
        gpus=gpus,
        model=_text(row, "model") or "GPU",
        memory=memory or 0,
        name=_text(row, "node"),
        cpus=round(1000 * _number(cpus, line)) if cpus else None,
        host_memory=_size(row, "host_memory", line),
    )


def _text(row: Mapping[str, str | None], column: str) -> str:
    return (row.get(column) or "").strip()


def _whole(row: Mapping[str, str | None], column: str, line: int, *, default: int) -> int:
    text = _text(row, column)
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise _wrong(
            line, column, f"{shortened(text)} is no whole number", "allowed is 0 to 999999"
        )
    return int(text)


def _number(text: str, line: int) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise _wrong(line, "cpus", f"{shortened(text)} is no number", "write for example 96")
    return float(text)


def _size(row: Mapping[str, str | None], column: str, line: int) -> int | None:
    text = _text(row, column)
    try:
        return parse_size(text) if text else None
    except UnitError as error:
        raise _wrong(line, column, error.message, error.hint) from error


def _wrong(line: int, column: str, message: str, hint: str) -> FleetSpecError:
    return FleetSpecError(str(Problem(line=line, field=column, message=message, hint=hint)))


def _checked(spec: FleetSpec) -> FleetSpec:
    cards = sum(kind.count * kind.gpus for kind in spec.machines)
    if not 1 <= cards <= MOST_CARDS:
        raise FleetSpecError(
            f"The fleet has {cards} cards, but 1 to {MOST_CARDS} are possible. {_HOW}"
        )
    if any(kind.gpus and not kind.memory for kind in spec.machines):
        raise FleetSpecError(f"The fleet has cards without memory. {_HOW}")
    names = [kind.name for kind in spec.machines if kind.name]
    if len(names) > len(set(names)):
        raise FleetSpecError("Two machines have the same name: each needs a name of its own.")
    return spec
