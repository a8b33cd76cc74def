"""The only writer of readings: reads the probe, says whose memory it is, stores it, and words the live message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import models, transaction

from gpus.aggregates import Aggregates, Period, Summary, Values
from gpus.attribution import Account, account_for
from gpus.inventory import differs, register_devices
from gpus.live import LiveCard, live_message
from gpus.models import Device, HolderReading, Node, Reading
from gpus.readingrows import (
    HolderKey,
    device_row,
    holder_row,
    stored_devices,
    stored_holders,
    write_device_rows,
    write_holder_rows,
    write_latest,
)
from gpus.readings import DeviceReading, FleetReading, Holding, Probe

FOREIGN_REMEMBERED = 60.0  # seconds for which a stored reading still says what was foreign before
MOST_PENDING = 50_000  # rows that are kept for a database that is away


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """What one look at the cards found."""

    fleet: FleetReading
    accounts: Mapping[str, Account]  # by UUID, of all cards; one that did not answer tells nothing
    message: Mapping[str, Any]  # for the live pages
    peaks: Mapping[str, int]  # by key: the most that a holder was ever measured to use

    @property
    def answered(self) -> frozenset[str]:
        """The cards that told how they are, this time."""
        return frozenset(each.uuid for each in self.fleet.devices if each.fault is None)

    @property
    def used(self) -> dict[str, int | None]:
        """By key: what each holder was measured to use now; None where its card does not tell, or did not answer."""
        parts = (part for account in self.accounts.values() for part in account.parts)
        return {part.key: part.used for part in parts}


class Sampler:
    """Samples the cards of one node."""

    def __init__(self, probe: Probe, node: Node) -> None:
        self._probe = probe
        self._node = node
        self._rows: dict[str, Device] = {}
        self._readings: dict[str, DeviceReading] = {}  # the last one of each card
        self._foreign: dict[str, int] = {}
        self._peaks: dict[str, int] = {}
        self._strangers: frozenset[int] = frozenset()
        self._devices: Aggregates[int] = Aggregates(partial(stored_devices, node))
        self._holders: Aggregates[HolderKey] = Aggregates(partial(stored_holders, node))
        self._device_rows: dict[tuple[int, Period], Reading] = {}  # to be written
        self._holder_rows: dict[tuple[HolderKey, Period], HolderReading] = {}

    def tick(
        self,
        holdings: Sequence[Holding],
        refreshed: Callable[[], Sequence[Holding]] | None = None,
        also: Callable[[Tick], None] | None = None,
    ) -> Tick:
        """Look once and store what was seen; `also` writes in the same transaction."""
        tick = self.look(holdings, refreshed)
        self.store(tick, also)
        return tick

    def look(
        self,
        holdings: Sequence[Holding],
        refreshed: Callable[[], Sequence[Holding]] | None = None,
    ) -> Tick:
        """Read the probe and account for every card; writes nothing but the list of cards.

        `refreshed` gives the holdings with their processes of this moment. It is asked when a card lists a process
        that no holder had a moment ago, so that a new process of a job is not taken for a stranger.
        """
        # 1. Read, and know the rows of all cards
        fleet = self._probe.read()
        self._learn(fleet)
        # 2. Whose memory is it?
        accounts = self._accounts(fleet, holdings)
        if refreshed is not None and _strangers(accounts) - self._strangers:
            accounts = self._accounts(fleet, refreshed())
        # 3. Remember it for the next look, and sum it up
        self._remember(fleet, accounts)
        self._sum_up(fleet, accounts)
        return Tick(
            fleet=fleet,
            accounts=accounts,
            message=live_message(fleet, self._live_cards(fleet, accounts)),
            peaks=dict(self._peaks),
        )

    def store(self, tick: Tick, also: Callable[[Tick], None] | None = None) -> None:
        """Write what a look found, in one transaction; a summary that could not be written waits for the next."""
        with transaction.atomic():
            write_latest(self._latest(tick), tick.fleet.at)
            self._write_summaries()
            if also is not None:
                also(tick)
        self._device_rows.clear()
        self._holder_rows.clear()

    def flush(self) -> None:
        """Write the periods that still run, before the service stops."""
        self._keep(self._devices.rows(), self._holders.rows())
        with transaction.atomic():
            self._write_summaries()

    def _write_summaries(self) -> None:
        if self._device_rows:
            write_device_rows(self._device_rows.values())
        if self._holder_rows:
            write_holder_rows(self._holder_rows.values())

    def _learn(self, fleet: FleetReading) -> None:
        """Read the rows of the node's cards; correct them first when the probe lists other cards."""
        self._rows = {row.uuid: row for row in _device_rows(self._node)}
        if fleet.listed and differs(self._node, self._rows.values(), fleet):
            register_devices(self._node, fleet)
            self._rows = {row.uuid: row for row in _device_rows(self._node)}

    def _accounts(self, fleet: FleetReading, holdings: Iterable[Holding]) -> dict[str, Account]:
        held: dict[str, list[Holding]] = defaultdict(list)
        for holding in holdings:
            held[holding.uuid].append(holding)
        answers = {device.uuid: device for device in fleet.devices}
        return {
            uuid: account_for(
                answers.get(uuid) or _unanswered(row),
                held[uuid],
                peaks=self._peaks,
                foreign_before=self._foreign_before(row, fleet.at),
                now=fleet.at,
            )
            for uuid, row in self._rows.items()
        }

    def _foreign_before(self, row: Device, now: float) -> int | None:
        """What was foreign in the last reading; after a restart the stored one says it, while it is young."""
        if row.uuid in self._foreign:
            return self._foreign[row.uuid]
        is_young = (
            row.read_at is not None and 0 <= now - row.read_at.timestamp() < FOREIGN_REMEMBERED
        )
        return row.foreign if is_young else None

    def _remember(self, fleet: FleetReading, accounts: Mapping[str, Account]) -> None:
        self._strangers = _strangers(accounts)
        self._readings |= {device.uuid: device for device in fleet.devices}
        self._foreign |= {
            uuid: account.foreign
            for uuid, account in accounts.items()
            if account.foreign is not None
        }
        parts = [part for account in accounts.values() for part in account.parts]
        self._peaks = {part.key: part.peak for part in parts if part.peak is not None}

    def _sum_up(self, fleet: FleetReading, accounts: Mapping[str, Account]) -> None:
        devices: dict[int, Values] = {}
        holders: dict[HolderKey, Values] = {}
        for device in fleet.devices:
            if device.uuid in self._rows and device.fault is None:
                pk, account = self._rows[device.uuid].pk, accounts[device.uuid]
                devices[pk] = {
                    "used": account.used,
                    "foreign": account.foreign,
                    "busy": device.busy,
                    "power": device.power_watts,
                }
                for part in account.parts:
                    holders[part.holder, pk] = {"used": part.used, "busy": part.busy}
        self._keep(self._devices.add(fleet.at, devices), self._holders.add(fleet.at, holders))

    def _keep(
        self,
        devices: Mapping[tuple[int, Period], Summary],
        holders: Mapping[tuple[HolderKey, Period], Summary],
    ) -> None:
        """Note rows for the next transaction; when there are too many, the oldest are given up."""
        self._device_rows |= {key: device_row(*key, summary) for key, summary in devices.items()}
        self._holder_rows |= {key: holder_row(*key, summary) for key, summary in holders.items()}
        _give_up_oldest(self._device_rows)
        _give_up_oldest(self._holder_rows)

    def _live_cards(
        self, fleet: FleetReading, accounts: Mapping[str, Account]
    ) -> Iterator[LiveCard]:
        """The cards that are there, and those that are gone while something is booked on them."""
        answers = {device.uuid: device for device in fleet.devices}
        for uuid, row in self._rows.items():
            if uuid not in fleet.uuids and not accounts[uuid].parts:
                continue
            answer = answers.get(uuid)
            read_at = fleet.at if answer else row.read_at.timestamp() if row.read_at else 0.0
            yield LiveCard(
                uuid=uuid,
                total=row.memory_total,
                drained=row.drained,
                fault=(answer.fault or "") if answer else row.fault,
                read_at=read_at,
                reading=self._readings.get(uuid),
                account=accounts[uuid],
            )

    def _latest(self, tick: Tick) -> Iterator[tuple[int, DeviceReading, int]]:
        for device in tick.fleet.devices:
            if row := self._rows.get(device.uuid):
                foreign = tick.accounts[device.uuid].foreign
                yield row.pk, device, row.foreign if foreign is None else foreign


def _give_up_oldest(rows: dict[Any, Any]) -> None:
    for key in list(rows)[:-MOST_PENDING]:
        del rows[key]


def _strangers(accounts: Mapping[str, Account]) -> frozenset[int]:
    return frozenset().union(*(account.strangers for account in accounts.values()))


def _device_rows(node: Node) -> models.QuerySet[Device]:
    return Device.objects.filter(node=node).order_by("index", "pk")


def _unanswered(row: Device) -> DeviceReading:
    """A card that told nothing this time."""
    return DeviceReading(
        uuid=row.uuid,
        index=row.index,
        name=row.name,
        memory_total=row.memory_total,
        memory_used=None,
        memory_reserved=None,
    )
