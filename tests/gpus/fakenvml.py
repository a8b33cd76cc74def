"""A stand-in for the driver's library: plain Python under the real binding, with defects on demand.

`pynvml` looks functions up by `getattr(nvmlLib, name)` and passes structures by `byref`, so an object with methods of
the library's names is enough, and the binding's own marshalling is tested too.
"""

# ruff: noqa: N802 (the names of the library)

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pynvml

OK = 0
UNAVAILABLE = 2**64 - 1  # how the library says "not available" for the memory of a process
GIB = 2**30


@dataclass(kw_only=True)
class FakeProcess:
    pid: int
    memory: int | None
    graphics: bool = False
    busy: int | None = None  # per cent


@dataclass(kw_only=True)
class FakeCard:
    uuid: str = "GPU-0"
    name: str = "NVIDIA A100-SXM4-80GB"
    total: int = 80 * GIB
    used: int = 0
    reserved: int = GIB // 2
    busy: int = 0
    temperature: int = 40
    power: int = 60_000
    power_limit: int = 400_000
    processes: list[FakeProcess] = field(default_factory=list)
    instances: list[FakeCard] = field(default_factory=list)  # in MIG mode
    errors: dict[str, int] = field(default_factory=dict)  # answer of a function, "*" of all
    hang: Callable[[], None] | None = None


class FakeLibrary:
    """The cards, the functions that this driver does not have, and what its start answers."""

    def __init__(self, *cards: FakeCard, absent: tuple[str, ...] = (), starts: int = OK) -> None:
        self.cards = list(cards)
        self.absent = absent
        self.starts = starts

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in self.absent:
            raise AttributeError(name)
        return super().__getattribute__(name)

    def nvmlInitWithFlags(self, _flags: int) -> int:
        return self.starts

    def nvmlErrorString(self, code: int) -> bytes:
        return f"error {code}".encode()

    def nvmlSystemGetDriverVersion(self, buffer: Any, _length: Any) -> int:
        buffer.value = b"570.124.06"
        return OK

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        count._obj.value = len(self.cards)
        return OK

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, handle: Any) -> int:
        _point(handle, index.value + 1)
        return self._error("nvmlDeviceGetHandleByIndex_v2", self.cards[index.value])

    def nvmlDeviceGetUUID(self, handle: Any, buffer: Any, _length: Any) -> int:
        buffer.value = self._card(handle).uuid.encode()
        return self._error("nvmlDeviceGetUUID", self._card(handle))

    def nvmlDeviceGetName(self, handle: Any, buffer: Any, _length: Any) -> int:
        buffer.value = self._card(handle).name.encode()
        return self._error("nvmlDeviceGetName", self._card(handle))

    def nvmlDeviceGetMemoryInfo_v2(self, handle: Any, info: Any) -> int:
        card = self._card(handle)
        if card.hang:
            card.hang()
        info._obj.total, info._obj.reserved, info._obj.used = card.total, card.reserved, card.used
        info._obj.free = card.total - card.reserved - card.used
        return self._error("nvmlDeviceGetMemoryInfo_v2", card)

    def nvmlDeviceGetMemoryInfo(self, handle: Any, info: Any) -> int:
        card = self._card(handle)
        info._obj.total, info._obj.used = card.total, card.used + card.reserved
        info._obj.free = card.total - card.reserved - card.used
        return self._error("nvmlDeviceGetMemoryInfo", card)

    def nvmlDeviceGetUtilizationRates(self, handle: Any, rates: Any) -> int:
        rates._obj.gpu = self._card(handle).busy
        return self._error("nvmlDeviceGetUtilizationRates", self._card(handle))

    def nvmlDeviceGetTemperatureV(self, handle: Any, reading: Any) -> int:
        reading._obj.temperature = self._card(handle).temperature
        return self._error("nvmlDeviceGetTemperatureV", self._card(handle))

    def nvmlDeviceGetTemperature(self, handle: Any, _sensor: Any, value: Any) -> int:
        value._obj.value = self._card(handle).temperature
        return self._error("nvmlDeviceGetTemperature", self._card(handle))

    def nvmlDeviceGetPowerUsage(self, handle: Any, value: Any) -> int:
        value._obj.value = self._card(handle).power
        return self._error("nvmlDeviceGetPowerUsage", self._card(handle))

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Any, value: Any) -> int:
        value._obj.value = self._card(handle).power_limit
        return self._error("nvmlDeviceGetEnforcedPowerLimit", self._card(handle))

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Any, count: Any, found: Any) -> int:
        return self._computing(handle, count, found)

    def nvmlDeviceGetComputeRunningProcesses_v2(self, handle: Any, count: Any, found: Any) -> int:
        return self._computing(handle, count, found)

    def nvmlDeviceGetGraphicsRunningProcesses_v3(self, handle: Any, count: Any, found: Any) -> int:
        processes = [process for process in self._card(handle).processes if process.graphics]
        return self._listed(
            "nvmlDeviceGetGraphicsRunningProcesses_v3", handle, processes, count, found
        )

    def nvmlDeviceGetMPSComputeRunningProcesses_v3(
        self, handle: Any, count: Any, found: Any
    ) -> int:
        return self._listed("nvmlDeviceGetMPSComputeRunningProcesses_v3", handle, [], count, found)

    def nvmlDeviceGetProcessUtilization(
        self, handle: Any, found: Any, count: Any, since: Any
    ) -> int:
        busy = [process for process in self._card(handle).processes if process.busy is not None]
        if not busy:
            return pynvml.NVML_ERROR_NOT_FOUND
        if found is None:
            count._obj.value = len(busy)
            return pynvml.NVML_ERROR_INSUFFICIENT_SIZE
        for sample, process in zip(found, busy, strict=True):
            sample.pid, sample.smUtil, sample.timeStamp = process.pid, process.busy, since.value + 1
        return OK

    def nvmlDeviceGetMigMode(self, handle: Any, current: Any, pending: Any) -> int:
        card = self._card(handle)
        current._obj.value = pending._obj.value = int(bool(card.instances))
        return self._error("nvmlDeviceGetMigMode", card)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: Any, instance: Any) -> int:
        card = self._card(handle)
        if index.value >= len(card.instances):
            return pynvml.NVML_ERROR_NOT_FOUND
        _point(instance, 1000 * (self.cards.index(card) + 1) + index.value + 1)
        return OK

    def _card(self, handle: Any) -> FakeCard:
        number = ctypes.cast(handle, ctypes.c_void_p).value or 0
        if number < 1000:
            return self.cards[number - 1]
        return self.cards[number // 1000 - 1].instances[number % 1000 - 1]

    def _computing(self, handle: Any, count: Any, found: Any) -> int:
        processes = [process for process in self._card(handle).processes if not process.graphics]
        name = "nvmlDeviceGetComputeRunningProcesses_v3"
        return self._listed(name, handle, processes, count, found)

    def _listed(
        self, name: str, handle: Any, processes: list[FakeProcess], count: Any, found: Any
    ) -> int:
        card = self._card(handle)
        if error := self._error(name, card):
            return error
        if not processes:
            return OK
        if found is None:
            count._obj.value = len(processes)
            return pynvml.NVML_ERROR_INSUFFICIENT_SIZE
        count._obj.value = len(processes)
        for entry, process in zip(found, processes, strict=False):
            entry.pid = process.pid
            entry.usedGpuMemory = UNAVAILABLE if process.memory is None else process.memory
        return OK

    def _error(self, name: str, card: FakeCard) -> int:
        return card.errors.get(name, card.errors.get("*", OK))


@contextmanager
def installed(library: FakeLibrary | None) -> Iterator[None]:
    """The binding talks to `library` for a while; with None it finds none, as on a machine without a driver."""
    before = pynvml.nvmlLib
    pynvml.nvmlLib = library
    pynvml._nvmlGetFunctionPointer_cache.clear()
    try:
        yield
    finally:
        pynvml.nvmlLib = before
        pynvml._nvmlGetFunctionPointer_cache.clear()


def a_card(number: int = 0, **fields: Any) -> FakeCard:
    """A card with a UUID of its own."""
    return FakeCard(uuid=f"GPU-{number}", **fields)


def cards(count: int) -> list[FakeCard]:
    return [a_card(number) for number in itertools.islice(itertools.count(), count)]


def _point(handle: Any, number: int) -> None:
    ctypes.cast(handle, ctypes.POINTER(ctypes.c_void_p))[0] = number
