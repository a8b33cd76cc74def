"""The strategies of placement: fragmentation counted by hand, and rules that hold whoever chooses."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.core.constraints import OBSTACLE_CHECKS, Need
from jobs.core.scheduling.bestfit import BestFit
from jobs.core.scheduling.fleet import Fleet
from jobs.core.scheduling.fragmentation import Workload, left_on
from jobs.core.scheduling.stock import Stock
from jobs.core.scheduling.strategies import NAMES, named
from jobs.core.snapshot import DeviceView, NodeView
from jobs.core.units import GIB
from tests.builders import a100, job, rtx4090
from tests.core.test_fleet import Dice

PLAIN = {"safety": 0, "threshold": 1.0}


def shape(memory: str, **fields) -> Need:
    return Need.of(job(memory=memory, **fields))


SMALL, HALF, WHOLE = shape("20G"), shape("40G"), shape("80G")

# one machine with two cards, of which 80 and 30 GiB are free, and 4 processors
LOST = [
    ("a small job can use both cards", {SMALL: 1}, 0),
    ("a whole card leaves the other one", {WHOLE: 1}, 30),
    ("the mean counts", {SMALL: 1, WHOLE: 1}, 15),
    ("by weight", {SMALL: 3, WHOLE: 1}, 7.5),
    ("a gang that fits loses nothing", {shape("20G", gpus=2): 1}, 0),
    ("a gang that does not fit loses all", {shape("40G", gpus=2): 1}, 110),
    ("what asks for another type loses all", {shape("20G", gpu_type="H100"): 1}, 110),
    ("what lacks processors loses all", {shape("20G", host_cpus=5000): 1}, 110),
    ("what has its processors does not", {shape("20G", host_cpus=4000): 1}, 0),
    ("what needs no card loses all", {shape("1G", gpus=0): 1}, 110),
    ("an exclusive job can use the empty card", {shape("20G", exclusive=True): 1}, 30),
]


@pytest.mark.parametrize(
    ("shapes", "lost"), [row[1:] for row in LOST], ids=[row[0] for row in LOST]
)
def test_fragmentation_counted_by_hand(shapes, lost):
    stock = Stock()
    stock.put_node(NodeView(name="node-a", cpus=4000, host_memory=0))
    stock.put(a100(0, **PLAIN))
    stock.put(a100(1, booked="50G", **PLAIN))
    left = left_on(stock.machine("node-a"))
    assert Workload(stock, shapes).fragmentation(left) == pytest.approx(lost * GIB)


@pytest.mark.parametrize(
    "card",
    [a100(drained=True), a100(measured=None), a100(booked="8G", exclusive=True), a100(measured=0)],
)
def test_what_nobody_may_use_is_not_lost(card):
    stock = Stock()
    stock.put(card)
    assert Workload(stock, {WHOLE: 1}).fragmentation(left_on(stock.machine("node-a"))) == 0


def against_fragmentation(*cards: DeviceView, shapes: dict[Need, float]) -> Fleet:
    fleet = Fleet(cards, strategy="fragmentation")
    fleet.expect(shapes)
    return fleet


def goes_to(fleet: Fleet, need: Need) -> list[str] | None:
    placements = fleet.find(need)
    return None if placements is None else [each.uuid for each in placements]


def test_a_job_goes_where_it_spoils_least_for_the_others():
    cards = [a100(0, node="node-a", booked="40G", **PLAIN), a100(0, node="node-b", **PLAIN)]
    tight = shape("20G")
    assert goes_to(Fleet(cards), tight) == ["node-a-gpu0"]
    # on node-a 20 GiB are left that no job of 40 GiB can use; on node-b 60 GiB, of which each can use its part
    assert goes_to(against_fragmentation(*cards, shapes={HALF: 1}), tight) == ["node-b-gpu0"]


def test_what_is_spoilt_already_is_used_first():
    cards = [a100(0, node="node-a", **PLAIN), a100(0, node="node-b", booked="50G", **PLAIN)]
    fleet = against_fragmentation(*cards, shapes={WHOLE: 1})
    assert goes_to(fleet, SMALL) == ["node-b-gpu0"]
    assert goes_to(fleet, WHOLE) == ["node-a-gpu0"]


def test_without_shapes_the_fullest_machine_is_taken():
    cards = [a100(0), a100(1), a100(0, node="node-b"), rtx4090(0, node="node-c")]
    assert goes_to(Fleet(cards, strategy="fragmentation"), SMALL) == ["node-c-gpu0"]


def test_the_published_best_fit_weighs_processors_and_cards():
    nodes = [
        NodeView(name="node-a", cpus=96_000, host_memory=1),
        NodeView(name="node-b", cpus=16_000, host_memory=1),
    ]
    cards = [a100(0), a100(0, node="node-b"), a100(1, node="node-b")]
    fleet = Fleet(cards, nodes, strategy="bestfit-published")
    # left over on node-a: 92/128 of the processors, 0 cards; on node-b: 12/128 and 1/8
    assert goes_to(fleet, shape("78G", host_cpus=4000)) == ["node-b-gpu0"]
    assert goes_to(fleet, shape("78G", host_cpus=20_000)) == ["node-a-gpu0"]


def test_a_draw_decides_where_placement_is_random():
    cards = [a100(0), a100(1), a100(0, node="node-b")]
    draws = iter([0, 1])
    fleet = Fleet(cards, strategy="random", pick=lambda _: next(draws))
    assert goes_to(fleet, SMALL) == ["node-a-gpu1"]


def test_in_the_end_a_draw_gives_every_card():
    cards = [a100(0), a100(1), a100(0, node="node-b")]
    fleet = Fleet(cards, strategy="random", pick=Random(1).randrange)
    assert {goes_to(fleet, SMALL)[0] for _ in range(50)} == {card.uuid for card in cards}


def test_jobs_without_cards_go_where_least_is_left_for_the_others():
    nodes = [
        NodeView(name="node-a", cpus=4000, host_memory=1),
        NodeView(name="node-b", cpus=9000, host_memory=1),
    ]
    fleet = Fleet([a100(), a100(node="node-b", booked="60G")], nodes)
    wanted = Need.of(job(gpus=0, host_cpus=2000))
    assert goes_to(fleet, wanted) == ["node-b"]


def test_an_unknown_placement_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"'tetris' is unknown.*best-fit, fragmentation, random"):
        Fleet(strategy="tetris")


def test_a_random_placement_needs_something_to_draw_with():
    with pytest.raises(ValueError, match="give it `pick`"):
        Fleet(strategy="random")


def test_the_default_is_best_fit():
    assert isinstance(named(NAMES[0], Stock(), None), BestFit)
    assert len({type(named(name, Stock(), Random(1).randrange)) for name in NAMES}) == len(NAMES)


def random_fleet(dice: Dice, strategy: str) -> Fleet:
    nodes = dice.nodes() if dice.one_in(2) else []
    fleet = Fleet(dice.cards(), nodes, strategy=strategy, pick=dice.random.randrange)
    fleet.expect({dice.need(): dice.between(1, 9) for _ in range(5)})
    return fleet


@pytest.mark.parametrize("strategy", NAMES)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whoever_chooses_every_rule_holds(strategy, seed):
    dice = Dice(seed)
    fleet = random_fleet(dice, strategy)
    best_fit = BestFit(fleet._stock)
    for _ in range(20):
        need = dice.need()._replace(nodes=1)
        aside = dice.some([card.uuid for card in fleet.cards])
        also = dice.some(aside)
        fleet.set_aside_nothing()
        fleet.set_aside(aside)
        placements = fleet.find(need, also=also)
        assert (placements is None) == (best_fit.cards(need, also) is None)
        if placements is None:
            continue
        cards = [fleet.card(each.uuid) for each in placements]
        assert len({card.uuid for card in cards}) == need.gpus
        assert len({(card.node, card.name) for card in cards}) == 1
        assert all(rule.holds(need, card) for rule in OBSTACLE_CHECKS for card in cards)
        assert not {card.uuid for card in cards} & (set(aside) - set(also))
        fleet.take(need, placements)


@pytest.mark.parametrize("strategy", ["fragmentation", "bestfit-published"])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_is_remembered_answers_as_if_it_were_worked_out_anew(strategy, seed):
    dice = Dice(seed)
    fleet = Fleet(dice.cards(), strategy=strategy)
    needs = [dice.need() for _ in range(4)]
    shapes = {need: number for number, need in enumerate(needs, start=1)}
    fleet.expect(shapes)
    running = []
    for _ in range(20):
        need = dice.pick(needs)
        anew = Fleet(fleet.cards, strategy=strategy)
        anew.expect(shapes)
        placements = fleet.find(need)
        assert placements == anew.find(need)
        if placements:
            fleet.take(need, placements)
            running.append((need, placements))
        elif running:
            fleet.give_back(*running.pop())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_a_card_is_after_a_start_as_it_was_said_to_be(seed):
    dice = Dice(seed)
    fleet = Fleet(dice.cards())
    need = dice.need()._replace(gpus=1, nodes=1)
    placements = fleet.find(need)
    if placements is None:
        return
    card = fleet._stock.cards[placements[0].uuid]
    expected = card.after(need)
    fleet.take(need, placements)
    assert (card.room, card.standing) == expected
