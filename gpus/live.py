"""The live message: one text for all viewers, so it carries numbers and opaque keys, and no name of anybody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gpus.attribution import Account
from gpus.readings import STALE_AFTER, DeviceReading, FleetReading


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveCard:
    """A card as the live pages show it; `reading` and `account` are the last ones there were."""

    uuid: str
    total: int
    drained: bool
    fault: str
    read_at: float  # seconds since the epoch; 0 when it was never read
    reading: DeviceReading | None
    account: Account | None

    def state(self, now: float) -> str:
        """`lost`, `stale`, `drained` or `ok`: the first that is true."""
        if self.fault:
            return "lost"
        if now - self.read_at > STALE_AFTER:
            return "stale"
        return "drained" if self.drained else "ok"


def live_message(fleet: FleetReading, cards: Iterable[LiveCard]) -> dict[str, Any]:
    """The message that the pages get once a second."""
    return {
        "k": "readings",
        "at": round(fleet.at, 3),
        "source": fleet.source,
        "notice": fleet.notice,
        "devices": [_device(card, fleet.at) for card in cards],
    }


def _device(card: LiveCard, now: float) -> dict[str, Any]:
    reading, account = card.reading, card.account
    return {
        "uuid": card.uuid,
        "total": card.total,
        "used": reading.memory_used if reading else None,
        "free": account.free if account else None,
        "foreign": account.foreign if account else None,
        "booked": account.booked if account else 0,
        "busy": reading.busy if reading else None,
        "temp": reading.temperature if reading else None,
        "power": reading.power_watts if reading else None,
        "state": card.state(now),
        "segs": [[part.key, part.booked, part.used] for part in account.parts] if account else [],
    }
