"""The sampler: rows that follow the cards, the live message, and a database that is away for a while."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from gpus.inventory import GONE, register_node
from gpus.models import Device, HolderReading, Node, Reading
from gpus.readings import NVML, Holding
from gpus.sampler import Sampler
from tests.gpus.fleets import GIB, START, ShownProbe, a_holding, a_reading, listed

pytestmark = pytest.mark.django_db


@pytest.fixture
def node() -> Node:
    return register_node("node-a")


@pytest.fixture
def probe() -> ShownProbe:
    return ShownProbe()


@pytest.fixture
def sampler(probe, node) -> Sampler:
    return Sampler(probe, node)


def the_device() -> Device:
    return Device.objects.get()


def tick(sampler: Sampler, times: int = 1, *holdings: Holding):
    for _ in range(times):
        found = sampler.tick(holdings)
    return found


# --- the cards ------------------------------------------------------------------------------------


def test_a_new_card_gets_a_row(sampler, node):
    tick(sampler)

    device = the_device()
    assert (device.uuid, device.node, device.index) == ("GPU-0", node, 0)
    assert (device.name, device.memory_total) == ("NVIDIA A100-SXM4-80GB", 80 * GIB)
    node.refresh_from_db()
    assert (node.source, node.driver) == ("simulated", "1.0")


def test_the_latest_reading_lies_in_the_row(sampler, probe):
    probe.show(a_reading(used=6 * GIB, memory_reserved=GIB, processes=listed(p1=2 * GIB)))
    tick(sampler, 1, a_holding())

    device = the_device()
    assert device.read_at == datetime.fromtimestamp(START, UTC)
    assert (device.used, device.memory_reserved, device.foreign) == (6 * GIB, GIB, 3 * GIB)
    assert (device.busy, device.temperature) == (0.5, 50.0)
    assert (device.power, device.power_limit, device.fault) == (200.0, 400.0, "")


def test_what_the_card_cannot_tell_is_null_and_foreign_memory_stays_as_it_was(sampler, probe):
    probe.show(a_reading(used=3 * GIB))
    tick(sampler)
    probe.show(a_reading(used=None, busy=None, temperature=None, power_watts=None, processes=None))
    tick(sampler)

    device = the_device()
    assert (device.used, device.busy, device.temperature, device.power) == (None,) * 4
    assert device.foreign == 3 * GIB


def test_a_decision_of_an_admin_survives_the_card(sampler, probe):
    tick(sampler)
    Device.objects.update(drained=True, drain_reason="new fan", mode="exclusive")
    probe.show(a_reading(name="NVIDIA A100-SXM4-80GB rev. 2", used=GIB))

    found = tick(sampler)

    device = the_device()
    assert (device.drained, device.drain_reason, device.mode) == (True, "new fan", "exclusive")
    assert device.name == "NVIDIA A100-SXM4-80GB rev. 2"
    assert found.message["devices"][0]["state"] == "drained"


def test_a_card_that_is_gone_is_marked_and_one_that_comes_back_is_not(sampler, probe, node):
    probe.show(a_reading(0), a_reading(1), source=NVML)
    tick(sampler)

    probe.show(a_reading(0))
    tick(sampler)
    assert Device.objects.get(index=1).fault == GONE

    probe.show(a_reading(0), a_reading(1))
    tick(sampler)
    assert Device.objects.get(index=1).fault == ""


def test_a_simulated_card_that_no_job_ever_had_leaves_with_its_word(sampler, probe):
    probe.show(a_reading(0), a_reading(1))
    tick(sampler, 12)

    probe.show(a_reading(0))
    tick(sampler)

    assert [device.index for device in Device.objects.all()] == [0]


def test_a_card_that_is_silent_is_neither_gone_nor_read(sampler, probe):
    tick(sampler)
    probe.show(silent=("GPU-0",))
    tick(sampler, 3)

    device = the_device()
    assert device.fault == ""
    assert device.read_at == datetime.fromtimestamp(START, UTC)


def test_a_probe_that_has_not_listed_its_cards_changes_no_row(sampler, probe):
    tick(sampler)
    probe.show(listed=False, source="")
    tick(sampler)

    assert the_device().fault == ""


def test_a_lost_card_says_why_and_keeps_its_size(sampler, probe):
    tick(sampler)
    probe.show(a_reading(used=None, total=0, fault="The card has fallen off the bus."))
    found = tick(sampler)

    device = the_device()
    assert (device.fault, device.memory_total) == ("The card has fallen off the bus.", 80 * GIB)
    assert found.message["devices"][0]["state"] == "lost"


def test_a_card_that_moves_to_another_node_keeps_its_row(sampler, probe):
    tick(sampler)
    other = register_node("node-b")

    Sampler(probe, other).tick([])

    assert the_device().node == other


# --- readings by period ---------------------------------------------------------------------------


def test_a_period_becomes_one_row_for_the_card_and_one_for_each_holder(sampler, probe):
    probe.show(a_reading(used=6 * GIB, processes=listed(p1=4 * GIB)))
    tick(sampler, 11, a_holding())

    row = Reading.objects.get(seconds=10)
    assert (row.start, row.samples) == (int(START), 10)
    assert (row.used_mean, row.used_max, row.foreign_max) == (6 * GIB, 6 * GIB, 2 * GIB)
    assert (row.busy_mean, row.power_mean) == (0.5, 200.0)
    part = HolderReading.objects.get(seconds=10)
    assert (part.holder, part.device, part.samples) == ("k-1", the_device(), 10)
    assert (part.used_mean, part.used_max, part.busy_mean) == (4 * GIB, 4 * GIB, 0.5)


def test_all_three_periods_are_kept(sampler):
    tick(sampler, 61)

    assert sorted(Reading.objects.values_list("seconds", "samples")) == [
        *[(10, 10)] * 6,
        (60, 60),
        (3600, 61),
    ]


def test_a_restart_goes_on_where_the_old_service_stopped(sampler, probe, node):
    tick(sampler, 15)
    sampler.flush()

    tick(Sampler(probe, node), 46)

    assert Reading.objects.get(seconds=60).samples == 60
    assert list(Reading.objects.filter(seconds=10).values_list("samples", flat=True)) == [10] * 6


def test_a_failed_card_adds_nothing_to_its_periods(sampler, probe):
    probe.show(a_reading(fault="The card has fallen off the bus.", used=None))
    tick(sampler, 11)

    assert not Reading.objects.exists()


def test_a_period_that_could_not_be_written_is_written_later(sampler, monkeypatch):
    tick(sampler, 5)

    def away(*_args: object) -> None:
        raise DatabaseError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr("gpus.sampler.write_latest", away)
        for _ in range(10):
            with pytest.raises(DatabaseError):
                tick(sampler)
    tick(sampler)

    assert Reading.objects.get(seconds=10).samples == 10


def test_what_belongs_to_a_look_is_written_with_it_or_not_at_all(sampler):
    def fails(_tick: object) -> None:
        raise DatabaseError("the database is away")

    with pytest.raises(DatabaseError):
        sampler.tick([], also=fails)

    assert the_device().read_at is None


def test_a_look_takes_few_queries_however_many_cards_there_are(sampler, probe):
    probe.show(*[a_reading(index) for index in range(16)])
    tick(sampler)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        tick(sampler)

    asked = [
        query["sql"] for query in queries if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))
    ]
    assert len(asked) == 2  # the rows, and one statement for all latest readings


# --- whose memory it is ---------------------------------------------------------------------------


def test_peaks_are_kept_by_booking_until_it_ends(sampler, probe):
    probe.show(a_reading(used=8 * GIB, processes=listed(p1=8 * GIB)))
    tick(sampler, 1, a_holding())
    probe.show(a_reading(used=GIB, processes=listed(p1=GIB)))

    assert tick(sampler, 1, a_holding()).peaks == {"k": 8 * GIB}
    assert tick(sampler).peaks == {}


def test_a_process_of_nobody_is_asked_about_once(sampler, probe):
    asked = []

    def refreshed() -> list[Holding]:
        asked.append(True)
        return [a_holding(pid=7)]

    probe.show(a_reading(used=4 * GIB, processes=listed(p7=4 * GIB)))
    found = sampler.tick([a_holding(pid=1)], refreshed)
    assert found.accounts["GPU-0"].foreign == 0

    probe.show(a_reading(used=9 * GIB, processes=listed(p7=4 * GIB, p8=5 * GIB)))
    for _ in range(3):
        found = sampler.tick([a_holding(pid=7)], refreshed)
    assert found.accounts["GPU-0"].foreign == 5 * GIB
    assert len(asked) == 2


def test_after_a_restart_the_stored_foreign_memory_says_what_was_there_before(sampler, probe, node):
    probe.show(a_reading(used=3 * GIB))
    tick(sampler)
    probe.show(a_reading(used=8 * GIB))
    young = a_holding(pid=1, since=START)

    found = Sampler(probe, node).tick([young])

    assert found.accounts["GPU-0"].foreign == 3 * GIB
    assert found.accounts["GPU-0"].parts[0].used == 5 * GIB


# --- the live message -----------------------------------------------------------------------------


def test_the_live_message_has_numbers_and_opaque_keys(sampler, probe):
    probe.show(a_reading(used=6 * GIB, processes=listed(p1=4 * GIB)), notice="Mind the gap.")
    message = tick(sampler, 1, a_holding("x1")).message

    assert json.loads(json.dumps(message)) == {
        "k": "readings",
        "at": START,
        "source": "simulated",
        "notice": "Mind the gap.",
        "devices": [
            {
                "uuid": "GPU-0",
                "total": 80 * GIB,
                "used": 6 * GIB,
                "free": 68 * GIB,
                "foreign": 2 * GIB,
                "booked": 10 * GIB,
                "busy": 0.5,
                "temp": 50.0,
                "power": 200.0,
                "state": "ok",
                "segs": [["x1", 10 * GIB, 4 * GIB]],
            }
        ],
    }


def test_a_silent_card_is_shown_as_stale_with_its_bookings(sampler, probe):
    probe.show(a_reading(used=6 * GIB, processes=listed(p1=6 * GIB)))
    tick(sampler, 1, a_holding())
    probe.show(silent=("GPU-0",))

    states = [tick(sampler, 1, a_holding()).message["devices"][0]["state"] for _ in range(7)]
    (card,) = tick(sampler, 1, a_holding()).message["devices"]

    assert states == ["ok"] * 5 + ["stale"] * 2
    assert (card["used"], card["free"], card["segs"]) == (6 * GIB, None, [["k", 10 * GIB, None]])


def test_a_card_that_is_gone_is_shown_while_something_is_booked_on_it(sampler, probe):
    probe.show(a_reading(0), a_reading(1), source=NVML)
    tick(sampler)
    probe.show(a_reading(0))
    booked = a_holding(uuid="GPU-1")

    assert [card["state"] for card in tick(sampler, 1, booked).message["devices"]] == ["ok", "lost"]
    assert [card["state"] for card in tick(sampler).message["devices"]] == ["ok"]
