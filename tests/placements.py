"""Where jobs go, as a table: a job, the cards, and the cards that it must get."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobs.core.snapshot import DeviceView, JobView
from jobs.core.units import GIB
from tests.builders import a100, card, job, rtx4090

H100 = {"name": "NVIDIA H100 80GB HBM3"}


@dataclass(frozen=True)
class Case:
    """A job, the cards, and where it must go (indexes on node-a, or full names); empty: it must wait."""

    what: str
    job: JobView
    cards: list[DeviceView]
    goes_to: list[str] = field(default_factory=list)


def on(*indexes: int, node: str = "node-a") -> list[str]:
    return [f"{node}-gpu{index}" for index in indexes]


PLACEMENTS = [
    Case("an empty card takes it", job(memory="16G"), [a100()], on(0)),
    Case("the only job may take all but the safety margin", job(memory="78G"), [a100()], on(0)),
    Case("not one byte more", job(memory=78 * GIB + 1), [a100()]),
    Case("the tightest fit wins", job(), [a100(0), a100(1, booked="40G")], on(1)),
    Case("a smaller sufficient type wins", job(memory="20G"), [a100(0), rtx4090(1)], on(1)),
    Case(
        "even where the larger one fits tighter",
        job(memory="8G"),
        [a100(0, booked="60G"), rtx4090(1)],
        on(1),
    ),
    Case(
        "a smaller type that is too small does not", job(memory="30G"), [a100(0), rtx4090(1)], on(0)
    ),
    Case("equal cards are taken by index", job(), [a100(1), a100(0)], on(0)),
    Case("the type asked for is kept to", job(gpu_type="A100"), [rtx4090(0), a100(1)], on(1)),
    Case(
        "a size in the type is kept to",
        job(gpu_type="A100-80G"),
        [a100(0, total="40G"), a100(1)],
        on(1),
    ),
    Case("a drained card takes nothing", job(), [a100(0, drained=True), a100(1)], on(1)),
    Case("a stale card takes nothing", job(), [a100(0, measured=None), a100(1)], on(1)),
    Case(
        "a card at its cap takes nothing",
        job(),
        [a100(0, booked="16G", max_holders=1), a100(1)],
        on(1),
    ),
    Case(
        "a cap of None is no cap",
        job(),
        [a100(0, booked="16G", holders=99, max_holders=None)],
        on(0),
    ),
    Case(
        "a card held exclusively takes nothing",
        job(),
        [a100(0, booked="8G", exclusive=True), a100(1)],
        on(1),
    ),
    Case(
        "an exclusive job goes where nobody is",
        job(exclusive=True),
        [a100(0, booked="8G"), a100(1)],
        on(1),
    ),
    Case("an exclusive job waits for an empty card", job(exclusive=True), [a100(0, booked="8G")]),
    Case("nothing is raised above the threshold", job(memory="15G"), [a100(booked="56G")]),
    Case("up to the threshold it is", job(memory="14G"), [a100(booked="56G")], on(0)),
    Case(
        "what is measured counts beside what is booked", job(), [a100(booked="8G", measured="15G")]
    ),
    Case("a gang gets all its cards", job(gpus=2), [a100(0), a100(1)], on(0, 1)),
    Case("or none", job(gpus=2), [a100(0), a100(1, drained=True)]),
    Case("a gang stays on one machine", job(gpus=2), [a100(0), a100(1, node="node-b")]),
    Case("a gang stays with one model", job(gpus=2), [a100(0), card(1, **H100)]),
    Case(
        "even where each model has one card with room",
        job(gpus=2),
        [a100(0), a100(1, booked="70G"), card(2, **H100), card(3, booked="70G", **H100)],
    ),
    Case(
        "a gang takes the tightest cards of its machine",
        job(gpus=2),
        [a100(0), a100(1, booked="8G"), a100(2, booked="30G")],
        on(2, 1),
    ),
    Case(
        "a gang takes the machine that leaves the fewest cards over",
        job(gpus=2),
        [a100(0), a100(1), a100(2), a100(0, node="node-b"), a100(1, node="node-b")],
        on(0, 1, node="node-b"),
    ),
    Case(
        "a gang takes the smaller type",
        job(gpus=2),
        [a100(0), a100(1), rtx4090(2), rtx4090(3)],
        on(2, 3),
    ),
    Case("a job for two machines is not squeezed into one", job(nodes=2), [a100(0), a100(1)]),
]
