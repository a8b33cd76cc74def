"""What a probe saw once. Plain values: bytes, watts, degrees Celsius, shares from 0 to 1.

`None` always means "the card cannot tell"; zero means zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

NVML = "nvml"
SIMULATED = "simulated"

STALE_AFTER = 5.0
"""Seconds after which a reading no longer says how things are now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessReading:
    """One process that the card lists, by the process id of the host."""

    pid: int
    memory: int | None
    busy: float | None = None  # its share of the card's time


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceReading:
    """One card at one instant."""

    uuid: str
    index: int
    name: str
    memory_total: int
    memory_used: int | None  # everything that is not free, the driver's reserve included
    memory_reserved: int | None  # the driver's reserve alone
    busy: float | None = None  # share of the time in which some kernel ran
    temperature: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    processes: tuple[ProcessReading, ...] | None = None
    fault: str | None = None  # why the card cannot be used, as a sentence

    def to_wire(self) -> list[Any]:
        """JSON values in the order of the fields."""
        values = [getattr(self, name) for name in self.__slots__]
        if self.processes is not None:
            listed = [(process.pid, process.memory, process.busy) for process in self.processes]
            values[self.__slots__.index("processes")] = listed
        return values

    @classmethod
    def from_wire(cls, values: list[Any]) -> DeviceReading:
        """The reading that `to_wire` wrote."""
        named = dict(zip(cls.__slots__, values, strict=True))
        if named["processes"] is not None:
            named["processes"] = tuple(
                ProcessReading(pid=pid, memory=memory, busy=busy)
                for pid, memory, busy in named["processes"]
            )
        return cls(**named)


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetReading:
    """The cards of one node that answered, and the names of those that did not."""

    at: float  # seconds since the epoch
    devices: tuple[DeviceReading, ...]
    driver: str | None
    source: str  # NVML or SIMULATED; empty until a probe has answered once
    silent: tuple[str, ...] = ()  # UUIDs of known cards without an answer this time
    listed: bool = True  # whether the cards have been listed at all, so that a missing one is gone
    notice: str | None = None  # what an admin should know, as a sentence

    @property
    def uuids(self) -> frozenset[str]:
        """All cards that are there, silent ones included."""
        return frozenset(self.silent) | {device.uuid for device in self.devices}


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """Memory of one card that is booked for one holder, and the processes that may use it."""

    key: str  # names this booking; says nothing about whose it is
    holder: str
    uuid: str
    booked: int
    pids: frozenset[int] = frozenset()  # of the whole process tree, as the host numbers them
    frozen: bool = False  # stopped, with its memory kept
    peak: int | None = None  # the most that was measured before
    since: float = 0.0  # when it began, seconds since the epoch
    usage_file: Path | None = None  # where the job of a simulated card says what it uses


class CardsUnavailable(Exception):
    """The driver cannot be asked; the message says why and what to do."""

    def __init__(self, message: str, *, no_driver: bool = False) -> None:
        super().__init__(message)
        self.no_driver = no_driver  # there is none on this machine, nor a card that needs one


class Probe(Protocol):
    """A source of readings."""

    def read(self) -> FleetReading:
        """The cards now. Never blocks for long and never raises because a card is ill."""

    def close(self) -> None:
        """Let go of everything that the probe holds."""
