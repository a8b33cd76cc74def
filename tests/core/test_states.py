"""The table of moves: what can be reached, what ends, what comes back."""

from __future__ import annotations

import pytest

from jobs.core.states import (
    ACTIVE,
    HOLDS_DEVICE,
    TERMINAL,
    TRANSITIONS,
    WAITING,
    JobState,
    may_move,
)

S = JobState


def reachable(start: JobState) -> set[JobState]:
    found, new = {start}, {start}
    while new:
        new = {following for state in new for following in TRANSITIONS[state]} - found
        found |= new
    return found


def test_every_state_has_a_row():
    assert set(TRANSITIONS) == set(JobState)


def test_three_states_are_final():
    assert set(TERMINAL) == {S.SUCCEEDED, S.FAILED, S.CANCELLED}
    assert all(not TRANSITIONS[state] for state in TERMINAL)


def test_every_state_is_reached_from_the_queue():
    assert reachable(S.QUEUED) == set(JobState)


@pytest.mark.parametrize("state", sorted(ACTIVE))
def test_every_job_can_still_come_to_each_end(state):
    assert reachable(state) >= TERMINAL


@pytest.mark.parametrize("state", sorted(ACTIVE))
def test_no_job_is_stuck_away_from_the_queue(state):
    assert S.QUEUED in reachable(state)


@pytest.mark.parametrize("state", sorted(JobState))
def test_no_move_leads_nowhere(state):
    assert not may_move(state, state)


def test_nothing_runs_before_it_has_started():
    assert {old for old in JobState if may_move(old, S.STARTING)} == {S.QUEUED}
    assert {old for old in JobState if may_move(old, S.RUNNING)} <= {S.STARTING} | {
        S.SUSPENDED,
        S.SUSPENDING,
    }


def test_a_held_job_is_not_started():
    assert not may_move(S.HELD, S.STARTING)
    assert not may_move(S.HELD, S.RUNNING)


def test_nothing_succeeds_that_never_ran():
    assert not any(may_move(old, S.SUCCEEDED) for old in (S.QUEUED, S.HELD, S.STARTING))


def test_what_holds_a_card_is_not_cancelled_at_a_stroke():
    ended = {old for old in HOLDS_DEVICE if may_move(old, S.CANCELLED)}
    assert ended == {S.STOPPING}


def test_the_groups_share_no_state_and_leave_none_out():
    groups = [WAITING, HOLDS_DEVICE, {S.SUSPENDED}, TERMINAL]
    assert sum(map(len, groups)) == len(JobState)
    assert set().union(*groups) == set(JobState)
    assert set(ACTIVE) == set(JobState) - TERMINAL
