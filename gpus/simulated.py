"""Simulated cards: their memory and load follow the jobs that really run on them.

A job says what it uses in the file that `LLAMA_COOP_SIM_USAGE` names (`memory_bytes`, `busy`); one that says
nothing uses nine tenths of its booking. Foreign memory, ghosts and defects come from a scenario file
(`gpus/scenario.py`).
"""

from __future__ import annotations

import json
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpus.fleetspec import CardModel
from gpus.readings import SIMULATED, DeviceReading, Holding, ProcessReading
from gpus.scenario import Defects, ScenarioFile
from gpus.smallfile import read_small

SILENT_SHARE = 0.9  # of its booking, for a job that does not say what it uses
SILENT_BUSY = 0.85
DRIVER_RESERVE = 512 * 2**20  # on a small card at most 1/64 of its memory
SOMEBODY_ELSE = 1  # the process that foreign memory is shown for: it lives, and is never a job's
DRIVER = "simulated"
LARGEST_USAGE_FILE = 4096

_NAMES = uuid.UUID("6f0c3a52-58a5-4b0e-9a0f-2f4a7f2f9a11")  # so that a card keeps its UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What a job says it uses of each of its cards; None where it says nothing."""

    memory: int | None = None
    busy: float | None = None


class SimulatedCards:
    """The cards of one node, made of nothing but their models."""

    source = SIMULATED
    driver: str | None = DRIVER

    def __init__(
        self,
        models: Sequence[CardModel],
        node: str,
        scenario: Path | None = None,
        *,
        hang: Callable[[], None] | None = None,
    ) -> None:
        self._cards = {
            card_uuid(node, index, model): (index, model) for index, model in enumerate(models)
        }
        self._scenario = ScenarioFile(scenario)
        self._usage = UsageFiles()
        self._holdings: list[Holding] = []
        self._hang = hang or threading.Event().wait  # as a driver call can: for ever

    @property
    def notice(self) -> str | None:
        """What is wrong with the scenario file."""
        return self._scenario.problem

    def begin(self, holdings: Iterable[Holding]) -> list[str]:
        """Start a new round of readings; returns all cards, in the order of their index."""
        self._scenario.refresh()
        self._holdings = list(holdings)
        self._usage.keep_only({held.usage_file for held in self._holdings if held.usage_file})
        return list(self._cards)

    def read(self, uuid: str) -> DeviceReading:
        """One card as its jobs and its defects make it."""
        index, model = self._cards[uuid]
        defects = self._scenario.scenario.of(index, uuid)
        if defects.hangs:
            self._hang()
        if defects.lost:
            return _lost(uuid, index, model)
        held = [holding for holding in self._holdings if holding.uuid == uuid]
        jobs = [used for holding in held for used in self._used(holding)]
        return _reading(uuid, index, model, defects, jobs)

    def _used(self, holding: Holding) -> list[ProcessReading]:
        """The one process that stands for the job; none when no process of it lives."""
        pid = next((pid for pid in sorted(holding.pids) if is_alive(pid)), None)
        if pid is None:
            return []
        said = self._usage.read(holding.usage_file)
        memory = int(holding.booked * SILENT_SHARE) if said.memory is None else said.memory
        busy = SILENT_BUSY if said.busy is None else said.busy
        return [ProcessReading(pid=pid, memory=memory, busy=0.0 if holding.frozen else busy)]


def card_uuid(node: str, index: int, model: CardModel) -> str:
    """The UUID that a simulated card always has; another model in the same slot is another card."""
    return f"GPU-{uuid.uuid5(_NAMES, f'{node}/{index}/{model.name}/{model.memory}')}"


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return text.rpartition(b")")[2].split()[0] not in {b"Z", b"X"}


class UsageFiles:
    """Reads what jobs say they use. A job writes its file at will, so nothing in it is trusted."""

    def __init__(self) -> None:
        self._last: dict[Path, Usage] = {}

    def read(self, path: Path | None) -> Usage:
        """What the file says; while it is half written, what it said before."""
        if path is None:
            return Usage()
        try:
            said = _usage(json.loads(read_small(path, LARGEST_USAGE_FILE)))
        except FileNotFoundError:
            return Usage()
        except (OSError, ValueError, RecursionError):
            return self._last.get(path, Usage())
        self._last[path] = said
        return said

    def keep_only(self, paths: AbstractSet[Path]) -> None:
        """Forget the files of jobs that have ended."""
        self._last = {path: said for path, said in self._last.items() if path in paths}


def _usage(said: Any) -> Usage:
    if not isinstance(said, dict):
        return Usage()
    memory, busy = _number(said.get("memory_bytes")), _number(said.get("busy"))
    return Usage(
        memory=None if memory is None else max(0, int(memory)),
        busy=None if busy is None else min(1.0, max(0.0, busy)),
    )


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _lost(uuid: str, index: int, model: CardModel) -> DeviceReading:
    return DeviceReading(
        uuid=uuid,
        index=index,
        name=model.name,
        memory_total=model.memory,
        memory_used=None,
        memory_reserved=None,
        fault="The card has fallen off the bus and does not answer (simulated).",
    )


def _reading(
    uuid: str, index: int, model: CardModel, defects: Defects, jobs: list[ProcessReading]
) -> DeviceReading:
    """The card's figures; what its processes want beyond its memory, they do not get."""
    reserve = min(DRIVER_RESERVE, model.memory // 64)
    room = max(0, model.memory - reserve - defects.ghost_memory)
    wanted = [*_foreign(defects), *jobs]
    processes = _fitting(wanted, room)
    used = (
        reserve
        + min(defects.ghost_memory, model.memory - reserve)
        + sum(p.memory or 0 for p in processes)
    )
    busy = min(1.0, sum(process.busy or 0.0 for process in wanted))
    tells = {"power", "temperature", "busy", "memory", "process_memory"} - defects.unknown
    return DeviceReading(
        uuid=uuid,
        index=index,
        name=model.name,
        memory_total=model.memory,
        memory_used=used if "memory" in tells else None,
        memory_reserved=reserve if "memory" in tells else None,
        busy=busy if "busy" in tells else None,
        temperature=round(34 + 40 * busy + _wave(uuid, 2.0), 1) if "temperature" in tells else None,
        power_watts=round(model.power_limit * (0.14 + 0.8 * busy)) if "power" in tells else None,
        power_limit_watts=model.power_limit if "power" in tells else None,
        processes=tuple(
            processes if "process_memory" in tells else map(_without_memory, processes)
        ),
    )


def _foreign(defects: Defects) -> list[ProcessReading]:
    if not defects.foreign_memory:
        return []
    return [
        ProcessReading(pid=SOMEBODY_ELSE, memory=defects.foreign_memory, busy=defects.foreign_busy)
    ]


def _fitting(wanted: list[ProcessReading], room: int) -> list[ProcessReading]:
    """The processes in turn, each with at most what is left."""
    fitting = []
    for process in wanted:
        memory = min(process.memory or 0, room)
        room -= memory
        fitting.append(ProcessReading(pid=process.pid, memory=memory, busy=process.busy))
    return fitting


def _without_memory(process: ProcessReading) -> ProcessReading:
    return ProcessReading(pid=process.pid, memory=None, busy=process.busy)


def _wave(uuid: str, height: float) -> float:
    """A slow swing of its own for each card, so that a demo does not look painted."""
    return height * math.sin(time.time() / 40 + sum(uuid.encode()) % 7)
