"""What follows an ended attempt, where somebody else had a say in it."""

from __future__ import annotations

import pytest

from jobs.core.ending import GAVE_BACK, Ending, as_wished, sequel
from jobs.core.states import JobState, Outcome, Reason

GAVE_WAY = Ending(outcome=Outcome.PREEMPTED, reason=Reason.PREEMPTED, exit_code=0, detail="x")


def test_a_cancelled_job_that_was_making_room_is_cancelled():
    ending = as_wished(GAVE_WAY, JobState.STOPPING)
    assert (ending.outcome, ending.reason) == (Outcome.CANCELLED, Reason.USER)
    assert (ending.exit_code, ending.detail) == (0, "x")


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.STOPPING])
def test_otherwise_who_made_room_made_room(state):
    assert as_wished(GAVE_WAY, state) is GAVE_WAY


@pytest.mark.parametrize("outcome", [each for each in Outcome if each not in GAVE_BACK])
def test_a_stop_changes_no_other_ending(outcome):
    ending = Ending(outcome=outcome, reason=Reason.COMPLETED)
    assert as_wished(ending, JobState.STOPPING) is ending


@pytest.mark.parametrize("starts", [0, 1, 50])
@pytest.mark.parametrize("max_attempts", [1, 3])
def test_who_made_room_may_start_at_once_however_often_it_did(starts, max_attempts):
    following = sequel(
        GAVE_WAY,
        state=JobState.SUSPENDING,
        starts=starts,
        max_attempts=max_attempts,
        retry_on=(),
    )
    assert (following.state, following.backoff) == (JobState.QUEUED, 0.0)
