"""Simulated cards follow the processes and the words of the jobs on them."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from gpus.fleetspec import parse_fleet
from gpus.readings import DeviceReading, Holding, ProcessReading
from gpus.simulated import DRIVER_RESERVE, SILENT_BUSY, SOMEBODY_ELSE, SimulatedCards, is_alive

GIB = 2**30
ME = os.getpid()


@pytest.fixture
def ended_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


class World:
    """Two simulated cards and what is written about them."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.scenario = folder / "scenario.yaml"
        self.cards = SimulatedCards(parse_fleet("2xA100-80G"), "node-a", self.scenario)
        self.uuids = self.cards.begin(())

    def holding(self, key="a", *, booked=10 * GIB, pids=(ME,), card=0, **fields) -> Holding:
        return Holding(
            key=key,
            holder=key,
            uuid=self.uuids[card],
            booked=booked,
            pids=frozenset(pids),
            usage_file=self.folder / key,
            **fields,
        )

    def says(self, key: str, **usage: object) -> None:
        (self.folder / key).write_text(json.dumps(usage))

    def read(self, *holdings: Holding, card: int = 0) -> DeviceReading:
        self.cards.begin(holdings)
        return self.cards.read(self.uuids[card])


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def test_the_same_node_has_the_same_cards_after_a_restart():
    first = SimulatedCards(parse_fleet("2xA100-80G"), "node-a").begin(())
    again = SimulatedCards(parse_fleet("2xA100-80G,1xT4-16G"), "node-a").begin(())
    elsewhere = SimulatedCards(parse_fleet("2xA100-80G"), "node-b").begin(())
    other_model = SimulatedCards(parse_fleet("2xA100-40G"), "node-a").begin(())

    assert again[:2] == first
    assert not {*first} & {*elsewhere, *other_model}
    assert all(uuid.startswith("GPU-") for uuid in first)


def test_an_empty_card_holds_only_the_drivers_reserve(world):
    reading = world.read()

    assert reading.memory_used == reading.memory_reserved == DRIVER_RESERVE
    assert (reading.busy, reading.processes, reading.fault) == (0.0, (), None)


def test_a_silent_job_uses_nine_tenths_of_its_booking(world):
    reading = world.read(world.holding(booked=10 * GIB))

    assert reading.processes == (ProcessReading(pid=ME, memory=9 * GIB, busy=SILENT_BUSY),)
    assert reading.memory_used == DRIVER_RESERVE + 9 * GIB


def test_a_job_uses_what_it_says(world):
    world.says("a", memory_bytes=3 * GIB, busy=0.25)

    reading = world.read(world.holding())

    assert reading.memory_used == DRIVER_RESERVE + 3 * GIB
    assert reading.busy == 0.25


def test_a_job_without_a_living_process_uses_nothing(world, ended_pid):
    assert world.read(world.holding(pids=())).memory_used == DRIVER_RESERVE
    assert world.read(world.holding(pids=(ended_pid,))).memory_used == DRIVER_RESERVE


def test_a_frozen_job_keeps_its_memory_and_is_idle(world):
    reading = world.read(world.holding(frozen=True))

    assert reading.memory_used == DRIVER_RESERVE + 9 * GIB
    assert reading.busy == 0.0


def test_jobs_on_other_cards_do_not_count(world):
    assert world.read(world.holding(card=1), card=0).memory_used == DRIVER_RESERVE


def test_use_beyond_the_card_reads_as_a_full_card(world):
    world.says("a", memory_bytes=70 * GIB)
    world.says("b", memory_bytes=70 * GIB)

    reading = world.read(world.holding("a"), world.holding("b"))

    assert reading.memory_used == reading.memory_total
    assert [process.memory for process in reading.processes] == [
        70 * GIB,
        10 * GIB - DRIVER_RESERVE,
    ]
    assert reading.busy == 1.0


def test_a_half_written_usage_file_leaves_what_was_said_before(world):
    world.says("a", memory_bytes=3 * GIB)
    world.read(world.holding())

    (world.folder / "a").write_text('{"memory_by')

    assert world.read(world.holding()).memory_used == DRIVER_RESERVE + 3 * GIB


@pytest.mark.parametrize(
    "said",
    [
        '{"memory_bytes": "much", "busy": null}',
        '{"memory_bytes": NaN, "busy": Infinity}',
        '{"memory_bytes": true}',
        "[1, 2]",
        "17",
        "[" * 4000,
        "",
    ],
)
def test_nonsense_in_a_usage_file_is_silence(world, said):
    (world.folder / "a").write_text(said)

    assert world.read(world.holding()).memory_used == DRIVER_RESERVE + 9 * GIB


def test_a_number_out_of_range_is_the_nearest_possible_one(world):
    world.says("a", memory_bytes=-5, busy=7)

    reading = world.read(world.holding())

    assert (reading.memory_used, reading.busy) == (DRIVER_RESERVE, 1.0)


def test_a_pipe_or_a_link_in_place_of_a_usage_file_is_silence(world):
    os.mkfifo(world.folder / "a")
    (world.folder / "target").write_text('{"memory_bytes": 1}')
    (world.folder / "b").symlink_to(world.folder / "target")

    reading = world.read(world.holding("a"), world.holding("b"))

    assert [process.memory for process in reading.processes] == [9 * GIB, 9 * GIB]


def test_a_scenario_adds_foreign_memory_and_ghosts(world):
    world.scenario.write_text(
        "cards: {0: {foreign_memory: 12G, foreign_busy: 0.5, ghost_memory: 6G}}"
    )

    reading = world.read()

    assert reading.processes == (ProcessReading(pid=SOMEBODY_ELSE, memory=12 * GIB, busy=0.5),)
    assert reading.memory_used == DRIVER_RESERVE + 18 * GIB
    assert world.read(card=1).memory_used == DRIVER_RESERVE


def test_a_scenario_can_take_figures_away(world):
    world.scenario.write_text(
        "cards: {all: {unknown: [power, temperature, busy, memory, process_memory]}}"
    )

    reading = world.read(world.holding())

    assert (reading.power_watts, reading.power_limit_watts, reading.temperature) == (None,) * 3
    assert (reading.busy, reading.memory_used, reading.memory_reserved) == (None,) * 3
    assert [process.memory for process in reading.processes] == [None]


def test_a_lost_card_says_so_and_tells_nothing(world):
    world.scenario.write_text("cards: {0: {lost: true}}")

    reading = world.read(world.holding())

    assert "fallen off the bus" in reading.fault
    assert (reading.memory_used, reading.processes) == (None, None)
    assert world.read(card=1).fault is None


def test_a_wrong_scenario_is_a_notice_and_the_cards_go_on(world):
    world.scenario.write_text("cards: {0: {lost: perhaps}}")

    assert world.read().fault is None
    assert "'perhaps'" in world.cards.notice


def test_a_zombie_is_not_alive():
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert not is_alive(process.pid)
    process.wait()
    assert is_alive(ME)


def test_a_small_card_has_a_small_reserve():
    cards = SimulatedCards(parse_fleet("1xTiny-640M"), "node-a")
    (uuid,) = cards.begin(())

    assert cards.read(uuid).memory_used == 10 * 2**20
