"""Why a need finds no place, now or ever: SM demand, processors, several machines."""

from __future__ import annotations

import pytest

from jobs.core.constraints import Need, obstacle_on
from jobs.core.placement import lasting_obstacle, passing_obstacle
from jobs.core.plan import WaitCode
from jobs.core.units import GIB
from tests.builders import a100, job, rtx4090

W = WaitCode
BUSY = {"booked": "8G", "busy": 1.4, "max_busy": 1.6}


def row(*nodes: str, **fields):
    """Two cards on each of these machines."""
    return [a100(index, node=node, **fields) for node in nodes for index in range(2)]


PASSING = [
    (
        job(sm_share=0.5),
        [a100(**BUSY)],
        W.WAIT_BUSY,
        {"busy": 1.4, "max_busy": 1.6, "sm_share": 0.5},
    ),
    (
        job(sm_share=0.5),
        [a100(0, **BUSY), a100(1, **(BUSY | {"busy": 1.2}))],
        W.WAIT_BUSY,
        {"busy": 1.2},  # the card that comes nearest
    ),
    (job(sm_share=0.5), [a100(0, **BUSY), a100(1, booked="70G")], W.WAIT_BUSY, {"busy": 1.4}),
    (job(sm_share=0.5), [a100(**(BUSY | {"max_holders": 1}))], W.WAIT_CARD_CAP, {"max_holders": 1}),
    (
        job(sm_share=0.5),
        [a100(**(BUSY | {"exclusive": True}))],
        W.WAIT_EXCLUSIVE,
        {"cards": ["gpu0 on node-a"]},
    ),
    (
        job(sm_share=0.5, memory="70G"),
        [a100(**BUSY)],
        W.WAIT_MEMORY,
        {"need": 70 * GIB, "largest": 62 * GIB},
    ),
    (job(gpus=2, sm_share=0.5), row("node-a", **BUSY), W.WAIT_BUSY, {"sm_share": 0.5}),
    (
        job(gpus=2),
        [a100(0, booked="8G", max_holders=1), a100(1, booked="8G", exclusive=True), a100(2)],
        W.WAIT_CARD_CAP,  # two cards may be shared, so the cap is what is left to wait for
        {"max_holders": 1},
    ),
    (job(host_cpus=8000), [a100(node="node-b")], W.WAIT_HOST, {"node": "node-b"}),
    (
        job(gpus=2, nodes=2),
        [*row("node-a"), *row("node-b", booked="70G")],
        W.WAIT_CARDS,
        {"gpus": 4, "ready": 2, "need": 16 * GIB},
    ),
    (
        job(nodes=2),
        [a100(0), a100(0, node="node-b", drained=True)],
        W.GPU_DRAINED,
        {"cards": ["gpu0 on node-b"]},
    ),
]


@pytest.mark.parametrize(("job", "cards", "code", "expected"), PASSING)
def test_what_stands_in_the_way_now(job, cards, code, expected):
    need = Need.of(job)
    assert lasting_obstacle(need, cards, most_nodes=None) is None
    obstacle = passing_obstacle(need, cards)
    assert obstacle.code is code
    assert expected.items() <= obstacle.numbers.items()


def test_a_card_says_that_it_is_too_busy():
    obstacle = obstacle_on(Need.of(job(sm_share=0.5)), a100(**BUSY))
    assert obstacle is not None
    assert obstacle.code is W.WAIT_BUSY


LASTING = [
    (job(nodes=2), row("node-a", "node-b"), 1, {"most": 2, "machines": 2, "most_nodes": 1}),
    (job(gpus=2, nodes=3), row("node-a", "node-b"), None, {"most": 2, "machines": 2}),
    (job(gpus=3, nodes=2), row("node-a", "node-b"), None, {"most": 2, "machines": 0}),
    (job(nodes=2), [a100(0), rtx4090(0, node="node-b")], None, {"machines": 1}),
    (job(nodes=3), row("node-a", "node-b", "node-c"), 2, {"machines": 3, "most_nodes": 2}),
    (job(gpus=3), row("node-a"), None, {"gpus": 3, "nodes": 1, "most": 2}),
]


@pytest.mark.parametrize(("job", "cards", "most_nodes", "expected"), LASTING)
def test_too_few_machines_are_told_at_once(job, cards, most_nodes, expected):
    obstacle = lasting_obstacle(Need.of(job), cards, most_nodes=most_nodes)
    assert obstacle is not None
    assert obstacle.code is W.TOO_FEW_CARDS
    assert expected.items() <= obstacle.numbers.items()


@pytest.mark.parametrize("most_nodes", [2, None])
def test_machines_that_will_do_are_no_obstacle(most_nodes):
    need = Need.of(job(gpus=2, nodes=2))
    assert lasting_obstacle(need, row("node-a", "node-b"), most_nodes=most_nodes) is None
