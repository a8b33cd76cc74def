"""What should run against what does: every proof, in every state of the job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core import reconcile as rules
from jobs.core.reconcile import (
    CLAIM_GRACE,
    TAKEOVER_GRACE,
    Adopt,
    Drain,
    Finish,
    Keep,
    Lose,
    MarkRunning,
    Observed,
    OpenAttempt,
    Proof,
    Reap,
    Revoke,
    reconcile,
)
from jobs.core.states import HOLDS_DEVICE, JobState, Reason
from tests.builders import NOW

S, P = JobState, Proof
T = "job-1"


def verdicts(
    proof: Proof,
    state: JobState = S.STARTING,
    *,
    age: float = 0.0,
    noted: bool = False,
    started_at: float | None = None,
    took_over_at: float = 0.0,
) -> list[rules.Verdict]:
    """The verdicts on one attempt that was made `age` seconds ago; `noted`: its start is known already."""
    attempt = OpenAttempt(token=T, state=state, created_at=NOW - age, started=noted)
    observed = Observed(
        proof=proof, started_at=started_at, containment="pidns" if started_at else ""
    )
    return reconcile([attempt], {T: observed}, NOW, took_over_at=took_over_at)


RUNS = MarkRunning(token=T, started_at=NOW, containment="pidns")
RAN = Adopt(token=T, started_at=NOW, containment="pidns")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # line 13: an exit record closes the attempt
        (
            {"proof": P.EXITED, "state": S.RUNNING, "noted": True, "started_at": NOW},
            [Finish(token=T)],
        ),
        ({"proof": P.EXITED, "started_at": NOW}, [RUNS, Finish(token=T)]),
        ({"proof": P.EXITED, "state": S.STOPPING, "started_at": NOW}, [RAN, Finish(token=T)]),
        (
            {"proof": P.EXITED},
            [Finish(token=T)],
        ),  # it could not be started: there is no start record
        # line 14: nobody claims it
        ({"proof": P.UNCLAIMED}, [Keep(token=T)]),
        ({"proof": P.UNCLAIMED, "age": CLAIM_GRACE - 0.1}, [Keep(token=T)]),
        ({"proof": P.UNCLAIMED, "age": CLAIM_GRACE}, [Revoke(token=T)]),
        ({"proof": P.UNCLAIMED, "state": S.STOPPING}, [Revoke(token=T)]),
        ({"proof": P.REVOKED}, [Lose(token=T, reason=Reason.NOT_CLAIMED)]),
        # line 15: another boot
        (
            {"proof": P.REBOOTED, "state": S.RUNNING, "noted": True, "started_at": NOW},
            [Lose(token=T, reason=Reason.NODE_REBOOTED)],
        ),
        (
            {"proof": P.REBOOTED, "started_at": NOW},
            [RUNS, Lose(token=T, reason=Reason.NODE_REBOOTED)],
        ),
        # line 16: it lives
        ({"proof": P.ALIVE}, [Keep(token=T)]),  # claimed, and about to run
        ({"proof": P.ALIVE, "age": 9e9}, [Keep(token=T)]),
        ({"proof": P.ALIVE, "started_at": NOW}, [RUNS]),
        ({"proof": P.ALIVE, "state": S.STOPPING, "started_at": NOW}, [RAN]),
        ({"proof": P.ALIVE, "state": S.RUNNING, "noted": True, "started_at": NOW}, [Keep(token=T)]),
        (
            {"proof": P.ALIVE, "state": S.SUSPENDED, "noted": True, "started_at": NOW},
            [Keep(token=T)],
        ),
        # line 17: its supervisor is dead
        ({"proof": P.DEAD, "state": S.RUNNING, "noted": True, "started_at": NOW}, [Reap(token=T)]),
        ({"proof": P.DEAD, "started_at": NOW}, [RUNS, Reap(token=T)]),
        ({"proof": P.UNKILLABLE, "state": S.STOPPING, "noted": True}, [Drain(token=T)]),
    ],
)
def test_each_proof_has_its_verdict(given, expected):
    assert verdicts(**given) == expected


def test_an_attempt_of_an_earlier_dispatcher_is_not_waited_for_as_long():
    early = {"proof": P.UNCLAIMED, "age": 3.0}
    assert verdicts(**early, took_over_at=NOW - TAKEOVER_GRACE) == [Revoke(token=T)]
    assert verdicts(**early, took_over_at=NOW - TAKEOVER_GRACE / 2) == [Keep(token=T)]
    assert verdicts(**early, took_over_at=NOW - 5) == [Keep(token=T)]


def test_what_is_not_observed_is_kept():
    attempt = OpenAttempt(token=T, state=S.RUNNING, created_at=0.0, started=True)
    assert reconcile([attempt], {}, NOW) == [Keep(token=T)]


observations = st.builds(
    Observed, proof=st.sampled_from(Proof), started_at=st.none() | st.floats(NOW - 99, NOW)
)
attempts = st.builds(
    OpenAttempt,
    token=st.sampled_from(["a-1", "b-1", "c-2"]),
    state=st.sampled_from(sorted(HOLDS_DEVICE | {S.SUSPENDED})),
    created_at=st.floats(NOW - 99, NOW + 99),
    started=st.booleans(),
)
CLOSES = (Finish, Revoke, Reap, Lose)


@given(
    st.lists(attempts, unique_by=lambda each: each.token),
    st.dictionaries(st.sampled_from(["a-1", "b-1"]), observations),
)
def test_every_attempt_gets_a_verdict_and_at_most_one_that_closes_it(open_ones, seen):
    found = reconcile(open_ones, seen, NOW)
    assert [*dict.fromkeys(each.token for each in found)] == [each.token for each in open_ones]
    for attempt in open_ones:
        mine = [each for each in found if each.token == attempt.token]
        assert sum(isinstance(each, CLOSES) for each in mine) <= 1
        assert not any(isinstance(each, CLOSES) for each in mine[:-1])


@given(attempts, observations)
def test_no_bytes_are_freed_while_processes_may_live(attempt, observed):
    found = reconcile([attempt], {attempt.token: observed}, NOW)
    if observed.proof in (P.ALIVE, P.UNKILLABLE):
        assert not any(isinstance(each, CLOSES) for each in found)
    if observed.proof is P.DEAD:
        assert any(isinstance(each, Reap) for each in found)
        assert not any(isinstance(each, Lose | Finish) for each in found)


@given(attempts, st.none() | st.floats(NOW - 99, NOW))
def test_only_what_nobody_claimed_is_revoked(attempt, started_at):
    for proof in set(P) - {P.UNCLAIMED}:
        found = reconcile(
            [attempt], {attempt.token: Observed(proof=proof, started_at=started_at)}, NOW
        )
        assert not any(isinstance(each, Revoke) for each in found)


@given(attempts, observations)
def test_no_start_is_noted_twice(attempt, observed):
    found = reconcile([attempt], {attempt.token: observed}, NOW)
    noted = [each for each in found if isinstance(each, MarkRunning | Adopt)]
    assert len(noted) == (observed.started_at is not None and not attempt.started)
