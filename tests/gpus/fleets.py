"""Fleets as data: a probe that shows what a test puts into it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gpus.readings import SIMULATED, DeviceReading, FleetReading, Holding, ProcessReading

GIB = 2**30
START = 1_800_000_000.0  # a full hour


def a_reading(index: int = 0, *, used: int = 0, total: int = 80 * GIB, **fields) -> DeviceReading:
    """A card `GPU-<index>` that lists no process unless it is told to."""
    fields.setdefault("processes", ())
    fields.setdefault("name", "NVIDIA A100-SXM4-80GB")
    fields.setdefault("memory_reserved", 0)
    return DeviceReading(
        uuid=f"GPU-{index}",
        index=index,
        memory_total=total,
        memory_used=used,
        **{"busy": 0.5, "temperature": 50.0, "power_watts": 200.0, "power_limit_watts": 400.0}
        | fields,
    )


def listed(**memory: int) -> tuple[ProcessReading, ...]:
    """`listed(p7=GIB)`: process 7 with a GiB."""
    return tuple(
        ProcessReading(pid=int(name[1:]), memory=used, busy=0.5) for name, used in memory.items()
    )


def a_holding(key: str = "k", *, pid: int = 1, uuid: str = "GPU-0", **fields) -> Holding:
    fields.setdefault("booked", 10 * GIB)
    return Holding(key=key, holder=f"{key}-1", uuid=uuid, pids=frozenset({pid}), **fields)


@dataclass
class ShownProbe:
    """Shows `fleet`, a second later at each read."""

    fleet: FleetReading = field(
        default_factory=lambda: FleetReading(
            at=START, devices=(a_reading(),), driver="1.0", source=SIMULATED
        )
    )
    closed: bool = False

    def read(self) -> FleetReading:
        shown, self.fleet = self.fleet, replace(self.fleet, at=self.fleet.at + 1)
        return shown

    def close(self) -> None:
        self.closed = True

    def show(self, *devices: DeviceReading, **fields) -> None:
        """From now on these cards."""
        self.fleet = replace(self.fleet, devices=devices, **fields)
