"""Which cards a node has: rows are made for new ones, and those that are gone are marked.

A row keeps what an admin decided (mode, drain) and what is booked, so it outlives the card. Only a simulated
card that no job ever had is removed: it never was more than a word in COOP_GPUS.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from django.db import models, transaction

from gpus.models import Device, Node
from gpus.readings import SIMULATED, DeviceReading, FleetReading

GONE = "This card is no longer there: the driver does not list it any more, or COOP_GPUS names other cards."


def boot_id(path: Path = Path("/proc/sys/kernel/random/boot_id")) -> str:
    """The kernel's name for the time since its last start."""
    return path.read_text(encoding="ascii").strip()


def register_node(name: str) -> Node:
    """The row of this machine."""
    node, _ = Node.objects.update_or_create(name=name, defaults={"boot_id": boot_id()})
    return node


def differs(node: Node, rows: Iterable[Device], fleet: FleetReading) -> bool:
    """Whether the probe lists other cards than the rows say, or knows them differently."""
    if (node.source, node.driver) != (fleet.source, fleet.driver or ""):
        return True
    known = {row.uuid: row for row in rows}
    if any(row.uuid not in fleet.uuids and row.fault != GONE for row in known.values()):
        return True
    return any(_is_news(known.get(card.uuid), card) for card in fleet.devices)


def register_devices(node: Node, fleet: FleetReading) -> None:
    """Make rows for new cards, correct those of known ones, mark those that are gone."""
    with transaction.atomic():
        was_simulated = node.source == SIMULATED
        if (node.source, node.driver) != (fleet.source, fleet.driver or ""):
            node.source, node.driver = fleet.source, fleet.driver or ""
            node.save(update_fields=["source", "driver"])
        for card in fleet.devices:
            _register(node, card)
        gone = node.devices.exclude(uuid__in=fleet.uuids)
        if was_simulated:
            _remove_unused(gone)
        gone.exclude(fault=GONE).update(fault=GONE)


def _is_news(row: Device | None, card: DeviceReading) -> bool:
    if row is None:
        return card.memory_total > 0
    same = (row.index, row.name) == (card.index, card.name)
    return not same or card.memory_total not in {0, row.memory_total}


def _register(node: Node, card: DeviceReading) -> None:
    """A card without memory is one that was lost before anything was known of it: it cannot be a row yet."""
    seen = {"node": node, "index": card.index, "name": card.name}
    seen |= {"memory_total": card.memory_total} if card.memory_total else {}
    if not Device.objects.filter(uuid=card.uuid).update(**seen) and card.memory_total:
        Device.objects.create(uuid=card.uuid, **seen)


def _remove_unused(devices: models.QuerySet[Device]) -> None:
    for device in devices:
        with contextlib.suppress(models.ProtectedError):  # somebody's history has it
            device.delete()
