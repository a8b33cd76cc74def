"""Who holds memory of a card that is booked for nobody: other people's processes, strays, zombies, ghosts. Pure.

It only names what `gpus/attribution.py` has measured as foreign; it never makes a byte free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gpus.attribution import Account
from gpus.processes import Process
from gpus.readings import DeviceReading, Holding, ProcessReading

FOREIGN, STRAY, ZOMBIE, GHOST = "foreign", "stray", "zombie", "ghost"

SMALLEST_GHOST = 256 * 2**20
"""Bytes below which memory without a process is the driver's own bookkeeping."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One finding on one card."""

    kind: str
    memory: int | None  # bytes; None: the card does not tell them by process
    pid: int = 0  # 0: no process is known
    started: int = 0  # see `gpus.processes.Process`
    user: str = ""
    command: str = ""
    holder: str = ""  # of a stray: whose process it is

    @property
    def key(self) -> tuple[str, int, int]:
        """What makes it the same finding in the next look."""
        return self.kind, self.pid, self.started


def findings_of(
    reading: DeviceReading,
    account: Account,
    holdings: Iterable[Holding],
    process_of: Callable[[int], Process | None],
) -> list[Found]:
    """Everything on this card that is booked for nobody; `holdings` are those of all cards of the node."""
    owners = {pid: holding.holder for holding in holdings for pid in holding.pids}
    listed = [each for each in reading.processes or () if each.pid in account.strangers]
    found = [_of_process(each, process_of(each.pid), owners.get(each.pid, "")) for each in listed]
    return [*found, *_ghost(account, listed)]


def _of_process(listed: ProcessReading, process: Process | None, holder: str) -> Found:
    """A process that the card lists, and that has no booking there."""
    if process is None:
        return Found(kind=GHOST, memory=listed.memory, pid=listed.pid)
    kind = ZOMBIE if process.is_zombie else STRAY if holder else FOREIGN
    return Found(
        kind=kind,
        memory=listed.memory,
        pid=process.pid,
        started=process.started,
        user=process.user,
        command=process.command,
        holder=holder,
    )


def _ghost(account: Account, listed: Iterable[ProcessReading]) -> Iterator[Found]:
    """Memory that no listed process holds; nothing is said where one does not tell what it holds."""
    tells = all(each.memory is not None for each in listed)
    if tells and (account.ghost or 0) >= SMALLEST_GHOST:
        yield Found(kind=GHOST, memory=account.ghost)
