"""The fleet: which cards it finds, what it counts, and that its indexes answer as a look at every card would."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.core.constraints import Need, in_steps
from jobs.core.plan import Placement
from jobs.core.scheduling.fleet import Fleet
from jobs.core.snapshot import DeviceView, JobView, NodeView
from jobs.core.units import GIB
from tests.builders import a100, evolve, job, rtx4090
from tests.core.naivefleet import NaiveFleet
from tests.placements import PLACEMENTS

MODELS = [
    ("NVIDIA A100-SXM4-80GB", 80),
    ("NVIDIA H100 80GB HBM3", 80),
    ("NVIDIA A100-PCIE-40GB", 40),
    ("NVIDIA GeForce RTX 4090", 24),
]


def found(fleet: Fleet, wanted: JobView, **options) -> list[str] | None:
    placements = fleet.find(Need.of(wanted), **options)
    return None if placements is None else [each.uuid for each in placements]


def place(fleet: Fleet, wanted: JobView) -> tuple[Placement, ...]:
    placements = fleet.find(Need.of(wanted))
    assert placements is not None
    fleet.take(Need.of(wanted), placements)
    return placements


def node(name: str, cpus: int, memory: int = 1 << 50) -> NodeView:
    return NodeView(name=name, cpus=cpus, host_memory=memory)


@pytest.mark.parametrize("case", PLACEMENTS, ids=lambda case: case.what)
def test_a_job_goes_where_the_table_says(case):
    placements = Fleet(case.cards).find(Need.of(case.job)) or ()
    assert [each.uuid for each in placements] == case.goes_to
    assert all(each.memory == case.job.min_memory for each in placements)


def test_of_empty_cards_one_of_the_machine_with_the_fewest_is_taken():
    fleet = Fleet([a100(0), a100(1), a100(0, node="node-b"), a100(1, node="node-b", booked="70G")])
    assert found(fleet, job()) == ["node-b-gpu0"]


def test_an_empty_card_is_left_empty_while_one_in_use_has_room():
    fleet = Fleet([a100(0, foreign="1G", measured="20G"), a100(1, booked="8G")])
    assert found(fleet, job()) == ["node-a-gpu1"]


def test_finding_counts_nothing_and_taking_counts_all():
    fleet = Fleet([a100(max_busy=1.6)], [node("node-a", 8000, 64 * GIB)])
    wanted = job(sm_share=0.4, host_cpus=2000, host_memory=16 * GIB)
    before = fleet.cards
    assert found(fleet, wanted) == ["node-a-gpu0"]
    assert fleet.cards == before
    place(fleet, wanted)
    assert fleet.card("node-a-gpu0") == evolve(
        before[0], booked=16 * GIB, measured_free=64 * GIB, holders=1, busy=0.4
    )
    assert found(fleet, job(host_cpus=6000)) == ["node-a-gpu0"]
    assert found(fleet, job(host_cpus=6001)) is None
    assert found(fleet, job(host_memory=48 * GIB)) == ["node-a-gpu0"]
    assert found(fleet, job(host_memory=48 * GIB + 1)) is None


def test_what_is_given_back_is_as_if_it_had_never_been_taken():
    fleet = Fleet([a100(0), a100(1)], [node("node-a", 8000)])
    wanted = job(gpus=2, exclusive=True, sm_share=0.4, host_cpus=8000)
    before = fleet.cards
    placements = place(fleet, wanted)
    assert [card.exclusive for card in fleet.cards] == [True, True]
    assert found(fleet, wanted) is None
    fleet.give_back(Need.of(wanted), placements)
    assert fleet.cards == before
    assert fleet.find(Need.of(wanted)) == placements


def test_a_gang_on_one_machine_takes_its_processors_once():
    fleet = Fleet([a100(0), a100(1)], [node("node-a", 8000)])
    place(fleet, job(gpus=2, host_cpus=5000))
    assert found(fleet, job(host_cpus=3000)) == ["node-a-gpu0"]
    assert found(fleet, job(host_cpus=3001)) is None


def test_a_machine_without_the_processors_is_passed_over():
    cards = [a100(0, booked="40G"), a100(0, node="node-b")]
    fleet = Fleet(cards, [node("node-a", 1000), node("node-b", 4000)])
    assert found(fleet, job(host_cpus=2000)) == ["node-b-gpu0"]
    assert found(fleet, job()) == ["node-a-gpu0"]


@pytest.mark.parametrize(
    ("busy", "share", "fits"),
    [
        (1.2, 0.4, True),
        (1.2, 0.45, False),
        (1.6, 0.05, False),
        (1.6, 0.0, True),  # nothing is known of it, so nothing is refused
        (2.0, 0.0, True),
    ],
)
def test_the_sum_of_demands_stays_below_the_busy_cap(busy, share, fits):
    fleet = Fleet([a100(booked="8G", busy=busy, max_busy=1.6)])
    assert (found(fleet, job(sm_share=share)) is not None) == fits


def test_the_only_job_of_a_card_may_demand_more_than_the_busy_cap():
    assert found(Fleet([a100(max_busy=0.5)]), job(sm_share=0.9)) == ["node-a-gpu0"]


@pytest.mark.parametrize(
    ("share", "step"), [(0.0, 0.0), (0.001, 0.05), (0.33, 0.35), (0.99, 1.0), (1.7, 1.0)]
)
def test_demands_are_told_apart_in_steps(share, step):
    assert in_steps(share) == step
    assert Need.of(job(sm_share=share)).sm_share == step


def test_cards_set_aside_are_found_only_by_whom_they_are_open_to():
    fleet = Fleet([a100(0, booked="40G"), a100(1)])
    fleet.set_aside(["node-a-gpu0"])
    assert found(fleet, job()) == ["node-a-gpu1"]
    assert found(fleet, job(gpus=2)) is None
    assert found(fleet, job(), also={"node-a-gpu0"}) == ["node-a-gpu0"]
    assert found(fleet, job(gpus=2), also={"node-a-gpu0"}) == ["node-a-gpu0", "node-a-gpu1"]
    fleet.set_aside_nothing()
    assert found(fleet, job()) == ["node-a-gpu0"]


def test_a_card_that_is_set_aside_before_it_is_known_is_set_aside():
    fleet = Fleet()
    fleet.set_aside(["node-a-gpu0"])
    fleet.put(a100())
    assert found(fleet, job()) is None
    fleet.set_aside_nothing()
    assert found(fleet, job()) == ["node-a-gpu0"]


def test_if_a_job_gave_its_card_back_another_would_fit():
    fleet = Fleet([a100(0, booked="70G"), a100(1, booked="70G")])
    freed = {"node-a-gpu1": a100(1)}
    need = Need.of(job())
    assert fleet.find(need) is None
    assert fleet.find_if(need, freed) == (Placement(uuid="node-a-gpu1", memory=16 * GIB),)
    assert fleet.find_if(Need.of(job(gpus=2)), freed) is None
    assert fleet.find(need) is None


def test_what_is_found_if_uses_a_card_that_would_change():
    fleet = Fleet([a100(0, booked="30G"), a100(1, booked="30G"), a100(2, booked="70G")])
    placements = fleet.find_if(Need.of(job(gpus=2)), {"node-a-gpu2": a100(2)})
    assert placements is not None
    assert [each.uuid for each in placements] == ["node-a-gpu0", "node-a-gpu2"]


def two_machines() -> list[DeviceView]:
    return [a100(index, node=f"node-{name}") for name in "ab" for index in range(2)]


def test_a_job_on_two_machines_gets_both_or_none():
    both = [f"node-{name}-gpu{index}" for name in "ab" for index in range(2)]
    wanted = job(gpus=2, nodes=2)
    assert found(Fleet(two_machines(), most_nodes=None), wanted) == both
    assert found(Fleet(two_machines(), most_nodes=2), wanted) == both
    assert found(Fleet(two_machines(), most_nodes=1), wanted) is None
    assert found(Fleet(two_machines()[:3], most_nodes=2), wanted) is None


def test_a_job_on_two_machines_stays_with_one_model():
    cards = [rtx4090(0), a100(0, node="node-b"), rtx4090(0, node="node-c")]
    fleet = Fleet(cards, most_nodes=2)
    assert found(fleet, job(nodes=2)) == ["node-a-gpu0", "node-c-gpu0"]
    assert found(fleet, job(nodes=2, memory="30G")) is None


def test_a_need_without_cards_is_counted_on_a_machine():
    fleet = Fleet(nodes=[node("node-a", 4000), node("node-b", 3000)])
    wanted = job(gpus=0, host_cpus=2000)
    first, second = place(fleet, wanted), place(fleet, wanted)
    assert [each.uuid for each in first + second] == ["node-b", "node-a"]
    place(fleet, wanted)
    assert found(fleet, wanted) is None
    fleet.give_back(Need.of(wanted), first)
    assert found(fleet, wanted) == ["node-b"]


def test_suitable_are_cards_that_have_only_to_become_free():
    cards = [
        a100(0, booked="70G"),
        a100(1, exclusive=True, holders=1),
        a100(2, drained=True),
        a100(3, measured=None),
        rtx4090(4),
    ]
    suitable = Fleet(cards).suitable(Need.of(job(memory="30G")))
    assert [card.index for card in suitable] == [0, 1]


def test_a_card_that_is_dropped_is_not_found_and_its_jobs_may_still_end():
    fleet = Fleet([a100()])
    placements = place(fleet, job())
    fleet.drop("node-a-gpu0")
    fleet.drop("node-a-gpu0")
    fleet.give_back(Need.of(job()), placements)
    assert fleet.cards == ()
    assert found(fleet, job()) is None


def test_a_card_that_moves_is_found_where_it_is_now():
    fleet = Fleet([a100(0), a100(1)])
    fleet.put(evolve(a100(1), node="node-b"))
    assert found(fleet, job(gpus=2)) is None
    assert found(fleet, job()) == ["node-a-gpu0"]
    fleet.put(a100(1))
    assert found(fleet, job(gpus=2)) == ["node-a-gpu0", "node-a-gpu1"]


class Dice:
    """Draws cards, needs and events from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.pick = self.random.choice
        self.between = self.random.randint

    def one_in(self, count: int) -> bool:
        return self.between(1, count) == 1

    def cards(self) -> list[DeviceView]:
        models = self.random.sample(MODELS, self.between(1, 3))
        size = self.pick([1, 2, 3, 4, 8])
        count = self.between(1, 24)
        return [
            self.card(index, f"node-{index // size}", *self.pick(models)) for index in range(count)
        ]

    def card(self, index: int, node: str, name: str, total: int) -> DeviceView:
        holders = self.pick([0, 0, 0, 1, 2])
        booked = self.between(0, total // 8) * 4 if holders else 0
        foreign = self.pick([0, 0, 0, 0, 1, 10, total])
        rest = max(0, total - booked - foreign)
        spare = self.pick([0] * 20 + [1])
        return DeviceView(
            uuid=f"gpu-{index}",
            node=node,
            index=index,
            name=name,
            total=total * GIB + spare,
            safety=GIB,
            foreign=foreign * GIB,
            booked=booked * GIB,
            measured_free=None if self.one_in(15) else self.pick([rest, rest, rest // 2]) * GIB,
            threshold=self.pick([0.8, 0.9, 0.9, 1.0]),
            holders=holders,
            max_holders=self.pick([None, 2, 3, 8]),
            exclusive=holders > 0 and self.one_in(10),
            busy=holders * self.pick([0.0, 0.3, 0.55]),
            max_busy=self.pick([None, 1.3, 1.6]),
            drained=self.one_in(15),
        )

    def need(self) -> Need:
        return Need(
            gpu_type=self.pick([None] * 8 + ["A100", "A100-80G", "RTX4090", "H100"]),
            memory=self.pick([1, 4, 4, 8, 8, 8, 16, 20, 38, 60, 79]) * GIB,
            gpus=self.pick([1, 1, 1, 1, 2, 2, 3, 4]),
            nodes=self.pick([1] * 8 + [2, 3]),
            exclusive=self.one_in(6),
            sm_share=self.pick([0.0, 0.0, 0.05, 0.35, 0.9]),
            host_cpus=self.pick([0, 0, 1000, 2000]),
            host_memory=self.pick([0, 0, GIB]),
        )

    def nodes(self) -> list[NodeView]:
        return [
            node(f"node-{n}", self.between(0, 9000), self.between(0, 9) * GIB) for n in range(8)
        ]

    def some(self, things: list[str]) -> list[str]:
        return self.random.sample(things, self.between(0, len(things)))


class Twins:
    """The same events on the fleet and on the naive one."""

    def __init__(self, dice: Dice) -> None:
        cards = dice.cards()
        nodes = dice.nodes() if dice.one_in(2) else []
        most = dice.pick([None, None, 1, 2])
        self.dice = dice
        self.fleet = Fleet(cards, nodes, most_nodes=most)
        self.naive = NaiveFleet(cards, nodes, most)
        self.running: list[tuple[Need, tuple[Placement, ...]]] = []

    def step(self) -> None:
        event = self.dice.pick(
            [self.start] * 6 + [self.end] * 3 + [self.read, self.part, self.imagine]
        )
        event()
        self.naive.cards = {card.uuid: card for card in self.fleet.cards}

    def start(self) -> None:
        need = self.dice.need()
        also = self.dice.some(sorted(self.naive.aside))
        placements = self.fleet.find(need, also=also)
        uuids = None if placements is None else [each.uuid for each in placements]
        assert uuids == self.naive.find(need, also), need
        if placements:
            self.fleet.take(need, placements)
            self.running.append((need, placements))
            self.count_machines(need, placements, -1)

    def end(self) -> None:
        if self.running:
            need, placements = self.running.pop(self.dice.between(0, len(self.running) - 1))
            self.count_machines(need, placements, 1)
            self.fleet.give_back(need, placements)

    def count_machines(self, need: Need, placements: tuple[Placement, ...], by: int) -> None:
        for name in {self.naive.cards[each.uuid].node for each in placements}:
            if name in self.naive.nodes:
                old = self.naive.nodes[name]
                self.naive.nodes[name] = node(
                    name, old.cpus + by * need.host_cpus, old.host_memory + by * need.host_memory
                )

    def read(self) -> None:
        """A new reading, a drained card, one that changed its size; jobs on it stay."""
        old = self.dice.pick(list(self.fleet.cards))
        new = self.dice.card(old.index, old.node, old.name, old.total // GIB)
        self.fleet.put(
            evolve(
                old,
                foreign=new.foreign,
                measured_free=new.measured_free,
                drained=new.drained,
                total=new.total,
            )
        )

    def part(self) -> None:
        uuids = self.dice.some(sorted(self.naive.cards))
        self.fleet.set_aside_nothing()
        self.fleet.set_aside(uuids)
        self.naive.aside = set(uuids)

    def imagine(self) -> None:
        need = self.dice.need()
        changed = {}
        for uuid in self.dice.some(sorted(self.naive.cards))[:5]:
            old = self.naive.cards[uuid]
            changed[uuid] = evolve(
                old,
                booked=0,
                holders=0,
                exclusive=False,
                busy=0.0,
                measured_free=old.total - old.foreign,
            )
        placements = self.fleet.find_if(need, changed)
        uuids = None if placements is None else [each.uuid for each in placements]
        assert uuids == self.naive.find_if(need, changed), (need, changed.keys())


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_the_indexes_answer_as_a_look_at_every_card_would(seed):
    twins = Twins(Dice(seed))
    for _ in range(40):
        twins.step()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_when_every_job_has_ended_the_cards_are_as_before(seed):
    dice = Dice(seed)
    cards = [evolve(card, busy=0.0, exclusive=False) for card in dice.cards()]
    fleet = Fleet(cards, most_nodes=None)
    running = []
    for _ in range(20):
        need = dice.need()
        if placements := fleet.find(need):
            fleet.take(need, placements)
            running.append((need, placements))
    for need, placements in running:
        fleet.give_back(need, placements)
    for card, before in zip(fleet.cards, cards, strict=True):
        assert card.busy == pytest.approx(0)
        assert evolve(card, busy=0.0) == before
