"""Findings in the database: a row from the first look that sees one to the first that does not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from django.db import models

from gpus.findings import Found, findings_of
from gpus.models import Device, Finding, Node
from gpus.processes import process_of
from gpus.readings import Holding
from gpus.sampler import Tick

MEMORY_STEP = 64 * 2**20
"""Bytes by which a finding's memory must have changed to be stored again."""

_LONGEST = 64
_Key = tuple[str, str, int, int]


class FindingRows:
    """Keeps the rows of one node; a look that finds nothing new takes no query."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._known: dict[_Key, int | None] | None = None  # None: not read yet

    def store(self, tick: Tick, holdings: Sequence[Holding]) -> None:
        """Bring the rows up to date. A card that does not answer, or does not tell, keeps what it had."""
        for reading in tick.fleet.devices:
            account = tick.accounts.get(reading.uuid)
            if account is not None and account.foreign is not None:
                found = findings_of(reading, account, holdings, process_of)
                self._keep(reading.uuid, found, tick.fleet.at)

    def forget(self) -> None:
        """Read the rows again at the next look: the last transaction may have been undone."""
        self._known = None

    def _keep(self, uuid: str, found: Iterable[Found], at: float) -> None:
        known = self._rows()
        now = {(uuid, *each.key): each for each in found}
        before = {key for key in known if key[0] == uuid}
        for key in before - now.keys():
            _rows_of(key).delete()
            del known[key]
        for key, each in now.items():
            if key not in known:
                _add(uuid, each, at)
            elif _differs(known[key], each.memory):
                _rows_of(key).update(memory=each.memory)
            else:
                continue
            known[key] = each.memory

    def _rows(self) -> dict[_Key, int | None]:
        if self._known is None:
            rows = Finding.objects.filter(device__node=self._node)
            fields = rows.values_list("device__uuid", "kind", "pid", "started", "memory")
            self._known = {(uuid, kind, pid, at): memory for uuid, kind, pid, at, memory in fields}
        return self._known


def _add(uuid: str, found: Found, at: float) -> None:
    Finding.objects.create(
        device=Device.objects.get(uuid=uuid),
        kind=found.kind,
        pid=found.pid,
        started=found.started,
        user=found.user[:_LONGEST],
        command=found.command[:_LONGEST],
        holder=found.holder[:_LONGEST],
        memory=found.memory,
        since=datetime.fromtimestamp(at, UTC),
    )


def _rows_of(key: _Key) -> models.QuerySet[Finding]:
    uuid, kind, pid, started = key
    return Finding.objects.filter(device__uuid=uuid, kind=kind, pid=pid, started=started)


def _differs(before: int | None, now: int | None) -> bool:
    if before is None or now is None:
        return before is not now
    return abs(before - now) >= MEMORY_STEP
