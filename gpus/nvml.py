"""Real cards, through NVIDIA's management library. The only module that imports `pynvml`.

Each figure is asked for on its own: what one card cannot tell is None, and no failing call hides another.
Cards are known by UUID. The calls may hang for ever, so this runs in a process of its own (`gpus/cards.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml

from gpus.nvmladvice import (
    NO_MEMORY_FAULT,
    UNKNOWN,
    advice_on,
    fault_of,
    has_nvidia_card,
    is_driver_wide,
)
from gpus.readings import NVML, CardsUnavailable, DeviceReading, Holding, ProcessReading

# The process namespace of the host has this fixed number; the driver always counts processes by it.
HOST_PID_NAMESPACE = "pid:[4026531836]"
FIRST_MIG_INDEX = (
    100  # of instance i of card c: 100 + 10 c + i, so that no two cards share an index
)
MOST_MIG_INSTANCES = 7

_CONTAINER_NOTICE = (
    "The service does not see the host's process numbers, so the cards cannot say which memory is a job's."
    " Each job is counted with its booking. Start the container with --pid=host to measure it."
)
_NO_CARD_NOTICE = (
    "The NVIDIA driver answers, but lists no card. Check `nvidia-smi -L`, and in a container that cards are"
    " passed to it."
)
_PROCESS_CALLS = (
    ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"),
    ("nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2"),
    ("nvmlDeviceGetMPSComputeRunningProcesses_v3", "nvmlDeviceGetMPSComputeRunningProcesses_v2"),
)


@dataclass(kw_only=True, slots=True)
class _Card:
    """A handle of the driver, and what it last told about itself."""

    handle: Any
    index: int
    board: Any  # the handle of the whole card, where this is an instance of it
    name: str = "NVIDIA card"
    memory_total: int = 0
    utilisation_until: int = 0  # time stamp of the newest sample of per-process use, microseconds
    problem: str | None = None  # the first answer that means that the card is broken
    last_error: int = 0


@dataclass(kw_only=True, slots=True)
class _Memory:
    total: int
    used: int | None = None
    reserved: int | None = None


class NvmlCards:
    """The cards that the driver lists; a card in MIG mode is its instances."""

    source = NVML

    def __init__(self, *, pid_namespace: Path = Path("/proc/self/ns/pid")) -> None:
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            no_driver = error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND or (
                error.value == pynvml.NVML_ERROR_DRIVER_NOT_LOADED and not has_nvidia_card()
            )
            raise CardsUnavailable(
                advice_on(error.value, str(error)), no_driver=no_driver
            ) from error
        self.driver: str | None = _asked("nvmlSystemGetDriverVersion")
        self._cards: dict[str, _Card] = {}
        self._unnamed: dict[int, str] = {}  # index of a card without UUID -> why
        self._sees_processes = _is_host_namespace(pid_namespace)

    @property
    def notice(self) -> str | None:
        """What an admin should know."""
        silent = [
            f"Card {index} cannot be used: {why}" for index, why in sorted(self._unnamed.items())
        ]
        if not self._cards and not silent:
            return _NO_CARD_NOTICE
        return " ".join(silent + ([] if self._sees_processes else [_CONTAINER_NOTICE])) or None

    def begin(self, holdings: Iterable[Holding]) -> list[str]:  # noqa: ARG002 (simulated cards need them)
        """List the cards anew; one that was known and does not answer now stays, with its fault."""
        self._unnamed = {}
        found: dict[str, _Card] = {}
        for index in range(_counted()):
            found |= self._at(index)
        self._cards = found
        return list(found)

    def read(self, uuid: str) -> DeviceReading:
        """All that one card tells now."""
        card = self._cards[uuid]
        card.problem = None
        memory = _memory(card)
        power, limit = (
            _told(card.board, "nvmlDeviceGetPowerUsage", card=card),
            _told(card.board, "nvmlDeviceGetEnforcedPowerLimit", card=card),
        )
        rates = _told(card.handle, "nvmlDeviceGetUtilizationRates", card=card)
        return DeviceReading(
            uuid=uuid,
            index=card.index,
            name=card.name,
            memory_total=memory.total,
            memory_used=memory.used,
            memory_reserved=memory.reserved,
            busy=None if rates is None else rates.gpu / 100,
            temperature=_temperature(card),
            power_watts=None if power is None else power / 1000,
            power_limit_watts=None if limit is None else limit / 1000,
            processes=_processes(card) if self._sees_processes else None,
            fault=card.problem,
        )

    def _at(self, index: int) -> dict[str, _Card]:
        """The card at an index, or its instances, by UUID."""
        try:
            board = pynvml.nvmlDeviceGetHandleByIndex(index)
            return {uuid: self._known(uuid, card) for uuid, card in _parts(board, index)}
        except pynvml.NVMLError as error:
            if is_driver_wide(error.value):
                raise CardsUnavailable(advice_on(error.value, str(error))) from error
            known = {
                uuid: card
                for uuid, card in self._cards.items()
                if _board_index(card.index) == index
            }
            if not known:
                self._unnamed[index] = fault_of(error.value) or f"{error}."
            return known

    def _known(self, uuid: str, card: _Card) -> _Card:
        """The card with what was remembered of it."""
        before = self._cards.get(uuid)
        if before is not None:
            card.memory_total, card.utilisation_until = (
                before.memory_total,
                before.utilisation_until,
            )
        return card


def _parts(board: Any, index: int) -> list[tuple[str, _Card]]:
    """The card itself, or in MIG mode its instances; each with its UUID."""
    mode = _told(board, "nvmlDeviceGetMigMode")
    if not mode or not mode[0]:
        return [(pynvml.nvmlDeviceGetUUID(board), _card(board, index, board))]
    parts = []
    for number in range(MOST_MIG_INSTANCES):
        instance = _told(board, "nvmlDeviceGetMigDeviceHandleByIndex", number)
        if instance is not None:
            card = _card(instance, FIRST_MIG_INDEX + 10 * index + number, board)
            parts.append((pynvml.nvmlDeviceGetUUID(instance), card))
    return parts


def _card(handle: Any, index: int, board: Any) -> _Card:
    name = _told(handle, "nvmlDeviceGetName") or _told(board, "nvmlDeviceGetName") or "NVIDIA card"
    return _Card(handle=handle, index=index, board=board, name=name)


def _board_index(index: int) -> int:
    return index if index < FIRST_MIG_INDEX else (index - FIRST_MIG_INDEX) // 10


def _memory(card: _Card) -> _Memory:
    """Version 2 tells the driver's reserve apart, version 1 counts it as used; both are 'all but free'."""
    new = _told(card.handle, "nvmlDeviceGetMemoryInfo", pynvml.nvmlMemory_v2, card=card)
    info = new or _told(card.handle, "nvmlDeviceGetMemoryInfo", card=card)
    if info is None:
        if card.last_error == UNKNOWN:  # elsewhere it only means that one figure is missing
            card.problem = card.problem or NO_MEMORY_FAULT
        return _Memory(total=card.memory_total)
    card.memory_total = info.total
    reserved = new.reserved if new is not None else None
    return _Memory(total=info.total, used=info.total - info.free, reserved=reserved)


def _temperature(card: _Card) -> float | None:
    """By the new call; old drivers know only the one that it replaces."""
    for name in ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"):
        value = _told(card.board, name, pynvml.NVML_TEMPERATURE_GPU, card=card)
        if value is not None:
            return float(value)
    return None


def _processes(card: _Card) -> tuple[ProcessReading, ...] | None:
    """All processes on the card, each once; None when the card lists none of the kinds."""
    lists = [_first_told(card, names) for names in _PROCESS_CALLS]
    if all(listed is None for listed in lists):
        return None
    memory: dict[int, int | None] = {}
    for process in (process for listed in lists for process in listed or ()):
        # one that computes and draws is in two lists, with the same memory
        seen, told = memory.get(process.pid), process.usedGpuMemory
        memory[process.pid] = max(seen or 0, told) if told is not None else seen
    busy = _busy_by_pid(card)
    return tuple(
        ProcessReading(pid=pid, memory=used, busy=busy.get(pid)) for pid, used in memory.items()
    )


def _busy_by_pid(card: _Card) -> dict[int, float]:
    """The share of time of each process since the last round; empty where the card does not count it."""
    samples = _told(
        card.handle, "nvmlDeviceGetProcessUtilization", card.utilisation_until, card=card
    )
    shares: dict[int, list[int]] = {}
    for sample in samples or ():
        shares.setdefault(sample.pid, []).append(sample.smUtil)
        card.utilisation_until = max(card.utilisation_until, sample.timeStamp)
    return {pid: min(1.0, sum(values) / len(values) / 100) for pid, values in shares.items()}


def _first_told(card: _Card, names: tuple[str, ...]) -> Any:
    for name in names:
        answer = _told(card.handle, name, card=card)
        if answer is not None:
            return answer
    return None


def _told(handle: Any, name: str, *arguments: Any, card: _Card | None = None) -> Any:
    """What a call about a card answers; None where this card or this driver cannot tell.

    An answer that means that the card is broken is noted on `card`, once.
    """
    function = getattr(
        pynvml, name, None
    )  # newer calls are missing in older releases of the binding
    if function is None:
        return None
    try:
        return function(handle, *arguments)
    except pynvml.NVMLError as error:
        if is_driver_wide(error.value):
            raise CardsUnavailable(advice_on(error.value, str(error))) from error
        if card is not None:
            card.last_error = error.value
            card.problem = card.problem or fault_of(error.value)
        return None


def _counted() -> int:
    try:
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError as error:
        raise CardsUnavailable(advice_on(error.value, str(error))) from error


def _asked(name: str) -> Any:
    try:
        return getattr(pynvml, name)()
    except pynvml.NVMLError:
        return None


def _is_host_namespace(path: Path) -> bool:
    """Whether process numbers here are the host's; where that cannot be told, they are taken to be."""
    try:
        return str(path.readlink()) == HOST_PID_NAMESPACE
    except OSError:
        return True
