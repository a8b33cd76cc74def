"""The process that asks the cards: `python -m gpus.cards SPEC NODE [SCENARIO]`, with a socket as its standard input.

It exists because a driver call can hang for ever in the kernel. It says hello once, then answers each
request with the order in which it will read the cards, one frame a card, and an end: so the agent always
knows which card it hangs on. It holds no lock, knows no database, and ends when the agent does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from gpus.fleetspec import AUTO, DEFAULT_FLEET, parse_fleet, source_of
from gpus.frames import Channel, ChannelClosed
from gpus.readings import SIMULATED, CardsUnavailable, DeviceReading, Holding
from gpus.simulated import SimulatedCards

PR_SET_PDEATHSIG = 1


class Cards(Protocol):
    """What can be asked for one card after the other."""

    source: str
    driver: str | None

    @property
    def notice(self) -> str | None:
        """What an admin should know, as a sentence."""

    def begin(self, holdings: Iterable[Holding]) -> list[str]:
        """Start a round of readings; returns the UUIDs of all cards."""

    def read(self, uuid: str) -> DeviceReading:
        """One card. May hang; never raises because the card is ill."""


def main(arguments: list[str]) -> None:
    """Serve until the agent is gone."""
    _end_with_parent()
    channel = Channel(socket.socket(fileno=os.dup(0)))
    spec, node, *scenario = arguments
    with contextlib.suppress(ChannelClosed):
        serve(channel, spec, node, Path(scenario[0]) if scenario else None)


def serve(channel: Channel, spec: str, node: str, scenario: Path | None) -> None:
    """Say hello and answer requests, until the agent is gone or the driver cannot be asked."""
    try:
        answer_requests(channel, open_cards(spec, node, scenario))
    except CardsUnavailable as error:
        channel.send({"unavailable": str(error)})


def open_cards(spec: str, node: str, scenario: Path | None) -> Cards:
    """The cards that `spec` names; `auto` simulates some where the machine has no NVIDIA driver.

    Raises:
        CardsUnavailable: there is a driver, or there must be one, and it cannot be used.
    """
    source = source_of(spec)
    if source == SIMULATED:
        return SimulatedCards(parse_fleet(spec.partition(":")[2]), node, scenario)
    from gpus.nvml import NvmlCards  # noqa: PLC0415 (a large module that simulated cards do not need)

    try:
        return NvmlCards()
    except CardsUnavailable as error:
        if source == AUTO and error.no_driver:
            return SimulatedCards(parse_fleet(DEFAULT_FLEET), node, scenario)
        raise


def answer_requests(channel: Channel, cards: Cards) -> None:
    """One round of readings for each request, until the other side closes."""
    channel.send({"source": cards.source, "driver": cards.driver})
    while (request := channel.receive()) is not None:
        uuids = cards.begin(map(_holding, request["holdings"]))
        channel.send({"cards": uuids, "order": (order := _order(uuids, request))})
        for uuid in order:
            channel.send({"card": cards.read(uuid).to_wire()})
        channel.send({"notice": cards.notice})


def to_request(holdings: Iterable[Holding], skip: list[str], last: list[str]) -> dict[str, Any]:
    """A request: without the cards to `skip`, and with the doubtful ones at the end."""
    return {"skip": skip, "last": last, "holdings": [_wire(holding) for holding in holdings]}


def _order(uuids: list[str], request: dict[str, Any]) -> list[str]:
    wanted = [uuid for uuid in uuids if uuid not in request["skip"]]
    return sorted(wanted, key=request["last"].__contains__)


def _wire(holding: Holding) -> list[Any]:
    """What a simulated card needs to know of a holding."""
    usage = str(holding.usage_file) if holding.usage_file else None
    return [holding.key, holding.uuid, holding.booked, usage, sorted(holding.pids), holding.frozen]


def _holding(wire: list[Any]) -> Holding:
    key, uuid, booked, usage, pids, frozen = wire
    return Holding(
        key=key,
        holder=key,
        uuid=uuid,
        booked=booked,
        usage_file=Path(usage) if usage else None,
        pids=frozenset(pids),
        frozen=frozen,
    )


def _end_with_parent() -> None:
    """The kernel ends us with the agent, even while we hang; Ctrl-C in the terminal is the agent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
