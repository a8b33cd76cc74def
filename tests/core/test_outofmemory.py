"""What PyTorch's message tells of a shortage, and what the next attempt gets: more, a card of its own, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.completion import Exit, judge_completion
from jobs.core.ending import Ending, sequel
from jobs.core.outofmemory import Had, NextNeed, Shortage, next_need, shortage_in
from jobs.core.states import JobState, Outcome, Reason
from jobs.core.units import GIB, MIB

CURRENT = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.25 GiB"
    " of which 1.50 GiB is free. Including non-PyTorch memory, this process has 30.00 GiB memory in use. Of the"
    " allocated memory 28.00 GiB is allocated by PyTorch, and 1.00 GiB is reserved by PyTorch but unallocated."
)
CAPPED = (
    "[rank0]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 8.00 GiB. GPU 0 has a total capacity of"
    " 47.00 GiB of which 46.00 GiB is free. Including non-PyTorch memory, this process has 772.00 MiB memory in use."
    " 800.00 MiB allowed; Of the allocated memory 245.48 MiB is allocated by PyTorch, and 16.52 MiB is reserved"
    " by PyTorch but unallocated."
)
FULL_THOUGH_CAPPED = (
    "CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total capacity of 191.69 GiB of which 0 bytes is"
    " free. 50.00 GiB allowed; Of the allocated memory 9.00 GiB is allocated by PyTorch, and 1.00 GiB is reserved by"
    " PyTorch but unallocated."
)
OLD = (
    "RuntimeError: CUDA out of memory. Tried to allocate 512.00 MiB (GPU 0; 23.00 GiB total capacity; 20.00 GiB"
    " already allocated; 256.00 MiB free; 21.00 GiB reserved in total by PyTorch)"
)
BEYOND_REASON = (
    "CUDA out of memory. Tried to allocate 4.00 GiB. GPU 0 has a total capacity of 31.84 GiB of which 16.30 GiB is"
    " free. Including non-PyTorch memory, this process has 17179869184.00 GiB memory in use. 17.51 GiB allowed; Of the"
    " allocated memory 6.00 GiB is allocated by PyTorch, and 7.00 GiB is reserved by PyTorch but unallocated."
)


@pytest.mark.parametrize(
    ("message", "wanted", "capped"),
    [
        (CURRENT, 32 * GIB, False),
        (CAPPED, 8 * GIB + 772 * MIB, True),
        (FULL_THOUGH_CAPPED, 11 * GIB, False),
        (OLD, 21 * GIB + 512 * MIB, False),
        (BEYOND_REASON, 17 * GIB, True),
        (CURRENT.replace("capacity", "capacty"), 32 * GIB, False),  # as PyTorch 2.1 spelt it
        ("CUDA out of memory. Tried to allocate 2.00 GiB.", None, False),
    ],
)
def test_the_message_tells_what_was_wanted_and_whether_a_cap_was_met(message, wanted, capped):
    found = shortage_in(f"step 3\n{message}\nmore\n")
    assert found is not None
    assert (found.wanted, found.is_capped) == (wanted, capped)


def test_the_last_message_counts_and_other_text_tells_nothing():
    assert shortage_in(f"{OLD}\nagain\n{CURRENT}\n").tried == 2 * GIB
    assert shortage_in("RuntimeError: CUDA error: out of memory") is None


@given(st.text())
def test_no_text_is_too_strange_to_be_read(text):
    found = shortage_in(f"Tried to allocate {text}")
    assert found is not None


def test_a_run_that_ran_out_carries_what_its_message_said():
    ending = judge_completion(Exit(code=1), trains=True, trainer_state=None, log_tail=CURRENT)
    assert ending.reason is Reason.GPU_OUT_OF_MEMORY
    assert ending.shortage.wanted == 32 * GIB


@pytest.mark.parametrize(
    ("had", "shortage", "largest", "formula", "expected"),
    [
        (Had(memory=16 * GIB), None, 78 * GIB, 0, NextNeed(memory=24 * GIB, exclusive=False)),
        (
            Had(memory=16 * GIB),
            Shortage(tried=10 * GIB, in_use=20 * GIB),
            78 * GIB,
            0,
            NextNeed(memory=33 * GIB, exclusive=False),
        ),
        (
            Had(memory=16 * GIB),
            None,
            78 * GIB,
            40 * GIB,
            NextNeed(memory=40 * GIB, exclusive=False),
        ),
        (
            Had(memory=16 * GIB),
            None,
            78 * GIB,
            140 * GIB,
            NextNeed(memory=24 * GIB, exclusive=False),
        ),
        (
            Had(memory=16 * GIB),
            Shortage(tried=GIB, in_use=8 * GIB, free=0),
            78 * GIB,
            0,
            NextNeed(memory=16 * GIB, exclusive=True),
        ),
        (Had(memory=60 * GIB), None, 78 * GIB, 0, NextNeed(memory=78 * GIB, exclusive=True)),
        (Had(memory=78 * GIB, exclusive=True), None, 78 * GIB, 0, None),
        (Had(memory=60 * GIB), Shortage(tried=20 * GIB, in_use=60 * GIB), 78 * GIB, 0, None),
        (Had(memory=16 * GIB), None, 0, 0, None),
    ],
    ids=[
        "half as much again",
        "as much as was wanted and a margin",
        "what the formula says",
        "not what no card has",
        "others had its memory: a card of its own",
        "the whole card",
        "it had the whole card",
        "no card is enough",
        "no card is there",
    ],
)
def test_the_next_attempt_gets_more_or_there_is_none(had, shortage, largest, formula, expected):
    assert next_need(had, shortage, largest, formula=formula) == expected


SIZES = st.integers(min_value=1, max_value=200 * GIB)


@given(memory=SIZES, peak=st.none() | SIZES, largest=SIZES, formula=SIZES, exclusive=st.booleans())
def test_the_same_is_never_tried_again_and_trying_comes_to_an_end(
    memory, peak, largest, formula, exclusive
):
    had = Had(memory=memory, exclusive=exclusive, peak=peak)
    for _attempt in range(20):
        following = next_need(had, None, largest, formula=formula)
        if following is None:
            return
        assert following.memory <= largest
        assert following.memory > had.memory or (following.exclusive and not had.exclusive)
        assert following.memory >= had.memory
        had = Had(memory=following.memory, exclusive=following.exclusive, peak=peak)
    pytest.fail("it would be tried for ever")


@pytest.mark.parametrize(
    ("reason", "need", "retry_on", "state"),
    [
        (Reason.GPU_OUT_OF_MEMORY, NextNeed(memory=1, exclusive=False), ("oom",), JobState.QUEUED),
        (Reason.GPU_OUT_OF_MEMORY, NextNeed(memory=1, exclusive=False), ("lost",), JobState.FAILED),
        (Reason.GPU_OUT_OF_MEMORY, None, ("oom", "failed"), JobState.FAILED),
        (Reason.HOST_OUT_OF_MEMORY, None, ("oom", "failed"), JobState.FAILED),
    ],
)
def test_what_ran_out_is_tried_again_only_with_more(reason, need, retry_on, state):
    ending = Ending(outcome=Outcome.FAILED, reason=reason, next_need=need)
    following = sequel(ending, state=JobState.RUNNING, starts=1, max_attempts=3, retry_on=retry_on)
    assert (following.state, following.backoff) == (state, 0.0)
