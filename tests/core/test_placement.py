"""Where jobs are placed, and what each card says to a job that it does not take."""

from __future__ import annotations

import pytest

from jobs.core.constraints import largest_job, room
from jobs.core.decide import decide
from jobs.core.placement import never_fits, verdicts
from jobs.core.plan import WaitCode
from jobs.core.units import GIB
from tests.builders import a100, job, rtx4090, size, started, world
from tests.placements import PLACEMENTS

W = WaitCode


@pytest.mark.parametrize(
    ("card", "free"),
    [
        (a100(), "78G"),  # alone: all but the safety margin
        (a100(foreign="1G"), "77G"),  # a display server does not make a card occupied
        (a100(foreign="3G"), "67G"),  # strangers do: 0.9 x 80 - 2 - 3
        (a100(booked="16G"), "54G"),  # 0.9 x 80 - 2 - 16
        (a100(booked="16G", threshold=0.5), "22G"),
        (a100(booked="16G", threshold=0.2), "0"),
        (a100(threshold=0.5), "78G"),  # the threshold does not bind a job that is alone
        (a100(booked="70G"), "0"),
        (a100(booked="16G", measured="10G"), "10G"),  # jobs there use more than they booked
        (a100(measured="5G"), "5G"),
        (a100(measured=None), "0"),  # a stale reading admits nothing
        (a100(holders=1), "70G"),  # a frozen job that booked nothing still makes it shared
        (a100(foreign="80G"), "0"),
    ],
)
def test_room_is_the_smaller_of_what_bookings_and_what_the_reading_leave(card, free):
    assert room(card) == size(free)


def test_the_largest_job_of_a_card_leaves_the_safety_margin():
    assert largest_job(a100(foreign="40G", booked="20G")) == 78 * GIB


@pytest.mark.parametrize("case", PLACEMENTS, ids=lambda case: case.what)
def test_placement(case):
    plan = decide(world(case.cards, [case.job]))
    assert started(plan) == ({"job": case.goes_to} if case.goes_to else {})
    assert all(
        each.memory == case.job.min_memory for start in plan.starts for each in start.placements
    )


VERDICTS = [
    (job(), a100(), None, {}),
    (job(), a100(drained=True, drain_reason="new fan"), W.GPU_DRAINED, {"drain_reason": "new fan"}),
    (job(), a100(measured=None), W.WAIT_READING, {"cards": ["gpu0 on node-a"]}),
    (job(memory="30G"), rtx4090(), W.NEVER_FITS, {"need": 30 * GIB, "largest": 22 * GIB}),
    (job(gpu_type="H100"), a100(), W.WAIT_GPU_TYPE, {"gpu_type": "H100", "largest": 78 * GIB}),
    (job(), a100(booked="60G"), W.WAIT_MEMORY, {"need": 16 * GIB, "largest": 10 * GIB}),
    (job(), a100(foreign="60G"), W.GHOST_MEMORY, {"need": 16 * GIB, "foreign": 60 * GIB}),
    (job(), a100(booked="60G", foreign="1G"), W.WAIT_MEMORY, {"largest": 9 * GIB}),
    (job(), a100(booked="8G", max_holders=1), W.WAIT_CARD_CAP, {"max_holders": 1}),
    (job(), a100(booked="8G", exclusive=True), W.WAIT_EXCLUSIVE, {"cards": ["gpu0 on node-a"]}),
    (job(exclusive=True), a100(booked="8G"), W.WAIT_EXCLUSIVE, {"cards": ["gpu0 on node-a"]}),
    # the lasting reason is told before the passing one
    (job(memory="90G"), a100(drained=True), W.NEVER_FITS, {}),
    (job(gpu_type="H100"), a100(drained=True), W.WAIT_GPU_TYPE, {}),
]


@pytest.mark.parametrize(("job", "card", "code", "expected"), VERDICTS)
def test_each_card_says_why_it_does_not_take_the_job(job, card, code, expected):
    (verdict,) = verdicts(job, world([card]))
    assert (verdict.fits, verdict.code) == (code is None, code)
    assert expected.items() <= verdict.numbers.items()
    assert (verdict.uuid, verdict.need, verdict.free) == (card.uuid, job.min_memory, room(card))


def test_every_card_of_the_fleet_gives_its_verdict_in_order():
    cards = [a100(0), rtx4090(1), a100(2, node="node-b")]
    assert [each.uuid for each in verdicts(job(), world(cards))] == [each.uuid for each in cards]


NEVER = [
    (
        job(memory="600G"),
        [a100(), rtx4090(1)],
        W.NEVER_FITS,
        {"largest": 78 * GIB, "largest_name": a100().name},
    ),
    (
        job(memory="30G", gpu_type="RTX4090"),
        [a100(), rtx4090(1)],
        W.NEVER_FITS,
        {"largest": 22 * GIB},
    ),
    (job(gpu_type="H100"), [a100(), rtx4090(1)], W.NO_SUCH_GPU_TYPE, {"gpu_type": "H100"}),
    (job(gpus=3), [a100(0), a100(1), rtx4090(2)], W.TOO_FEW_CARDS, {"gpus": 3, "most": 2}),
    (job(gpus=2, memory="30G"), [a100(0), rtx4090(1)], W.TOO_FEW_CARDS, {"most": 1}),
    (job(gpus=2), [a100(0), a100(0, node="node-b")], W.TOO_FEW_CARDS, {"most": 1}),
    (job(nodes=2), [a100(0), a100(0, node="node-b")], W.TOO_FEW_CARDS, {"nodes": 2}),
]


@pytest.mark.parametrize(("job", "cards", "code", "expected"), NEVER)
def test_what_no_waiting_helps_is_told_at_once(job, cards, code, expected):
    wait = never_fits(job, cards)
    assert wait is not None
    assert wait.code is code
    assert expected.items() <= wait.numbers.items()


def test_the_types_that_are_there_are_named():
    wait = never_fits(job(gpu_type="H100"), [a100(0), rtx4090(1), a100(2)])
    assert wait is not None
    assert wait.numbers["available"] == ["NVIDIA A100-SXM4-80GB", "NVIDIA GeForce RTX 4090"]


@pytest.mark.parametrize(
    "card",
    [
        a100(booked="70G"),
        a100(foreign="79G"),
        a100(drained=True),
        a100(measured=None),
        a100(exclusive=True, holders=1),
        a100(threshold=0.1),
    ],
)
def test_what_may_pass_is_not_called_never(card):
    assert never_fits(job(memory="78G"), [card]) is None


def test_without_any_card_nothing_is_said_about_for_ever():
    assert never_fits(job(memory="600G"), []) is None
