"""Whether a running job does nothing, or hangs: told from a whole window, and never from what nobody could see."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.idleness import CardMinute, Sighting, Verdict, judge, may_be_suspended
from jobs.core.units import GIB

NOW = 1_800_000_000.0
WINDOW = 1800.0
MINUTES = 30


def minutes(busy: float | None = 0.0, *, card: str = "a", used: int | None = GIB, **fields):
    return [CardMinute(card=card, busy=busy, used=used, **fields) for _ in range(MINUTES)]


def sighting(seen=None, **fields) -> Sighting:
    """A job that has run for ten hours on one card, without a word in its log for the last two."""
    given_fields = {
        "now": NOW,
        "window": WINDOW,
        "running_since": NOW - 36_000,
        "cards": 1,
        "minutes": minutes() if seen is None else seen,
        "log_grew_at": NOW - 7200,
    }
    return Sighting(**{**given_fields, **fields})


ONE_BUSY_MINUTE = [*minutes()[1:], CardMinute(card="a", busy=0.4, used=GIB)]
GROWING = [CardMinute(card="a", busy=0.0, used=GIB * (1 + at)) for at in range(MINUTES)]


@pytest.mark.parametrize(
    ("given_sighting", "verdict"),
    [
        (sighting(), Verdict.IDLE),
        (sighting(log_grew_at=NOW), Verdict.IDLE),
        (sighting(ONE_BUSY_MINUTE), Verdict.WORKS),
        (sighting(GROWING), Verdict.WORKS),
        (sighting(minutes(power=0.5)), Verdict.WORKS),
        (sighting(minutes(None, power=0.1)), Verdict.IDLE),
        (sighting(minutes(None)), Verdict.UNKNOWN),
        (sighting(minutes()[:10]), Verdict.UNKNOWN),
        (sighting(running_since=NOW - 600), Verdict.UNKNOWN),
        (sighting(cards=2), Verdict.UNKNOWN),
        (sighting([*minutes(), *minutes(0.9, card="b")], cards=2), Verdict.WORKS),
        (sighting([*minutes(), *minutes(card="b")], cards=2), Verdict.IDLE),
        (sighting(progress_at=NOW - 60), Verdict.WORKS),
        (sighting(progress_at=NOW - 7200), Verdict.HANGS),
        (sighting(progress_at=NOW - 7200, log_grew_at=NOW - 60), Verdict.IDLE),
        (sighting(minutes(1.0), progress_at=NOW - 7200, report_every=30.0), Verdict.HANGS),
        (sighting(minutes(1.0), progress_at=NOW - 7200, report_every=3600.0), Verdict.WORKS),
        (sighting(minutes(1.0), progress_at=NOW - 7200), Verdict.WORKS),
        (sighting(minutes(1.0), report_every=30.0), Verdict.WORKS),
        (sighting(minutes(0.6), progress_at=NOW - 7200, report_every=30.0), Verdict.WORKS),
    ],
    ids=[
        "nothing at all",
        "its cards do nothing, though it prints",
        "one busy minute",
        "memory that grows",
        "power that is drawn",
        "power tells where utilisation does not",
        "nothing can be told",
        "too few minutes were seen",
        "it has only begun",
        "one of its cards was not seen",
        "one of its cards works",
        "none of its cards works",
        "it makes progress on the processor",
        "it has stopped making progress",
        "it has stopped, but prints",
        "it spins since its last step",
        "its next report is not due yet",
        "nobody knows when a report is due",
        "it never made progress, and may be one long step",
        "it works, with breaks",
    ],
)
def test_the_verdict(given_sighting, verdict):
    assert judge(given_sighting) is verdict


def test_a_job_that_prints_is_not_suspended():
    assert may_be_suspended(sighting())
    assert not may_be_suspended(sighting(log_grew_at=NOW - 60))


MINUTE = st.builds(
    CardMinute,
    card=st.sampled_from(["a", "b"]),
    busy=st.none() | st.floats(min_value=0, max_value=1),
    used=st.none() | st.integers(min_value=0, max_value=80 * GIB),
    power=st.none() | st.floats(min_value=0, max_value=1.2),
)
TIMES = st.floats(min_value=NOW - 100_000, max_value=NOW)
SIGHTINGS = st.builds(
    Sighting,
    now=st.just(NOW),
    window=st.sampled_from([300.0, 1800.0]),
    running_since=TIMES,
    cards=st.integers(min_value=1, max_value=2),
    minutes=st.lists(MINUTE, max_size=70),
    log_grew_at=st.none() | TIMES,
    progress_at=st.none() | TIMES,
    report_every=st.none() | st.floats(min_value=0.1, max_value=10_000),
)


@given(SIGHTINGS)
def test_fresh_progress_is_never_called_idle_or_a_hang(seen):
    assert judge(replace(seen, progress_at=NOW)) in {Verdict.WORKS, Verdict.UNKNOWN}


@given(SIGHTINGS, st.floats(min_value=0.02, max_value=0.97))
def test_one_minute_of_real_work_clears_a_job(seen, busy):
    working = CardMinute(card="a", busy=busy)
    assert judge(replace(seen, minutes=[*seen.minutes, working])) in {
        Verdict.WORKS,
        Verdict.UNKNOWN,
    }


@given(SIGHTINGS)
def test_nothing_is_held_against_a_job_that_was_not_seen(seen):
    blind = [replace(each, busy=None, power=None) for each in seen.minutes]
    assert judge(replace(seen, minutes=blind)) is Verdict.UNKNOWN


@given(SIGHTINGS)
def test_a_fresh_word_in_its_log_is_no_hang_and_keeps_it_from_being_suspended(seen):
    spoke = replace(seen, log_grew_at=NOW)
    assert judge(spoke) is not Verdict.HANGS
    assert not may_be_suspended(spoke)


@given(SIGHTINGS, st.floats(min_value=0, max_value=50_000))
def test_as_long_as_nothing_is_seen_to_change_a_verdict_stays(seen, later):
    verdict = judge(seen)
    if verdict in {Verdict.IDLE, Verdict.HANGS}:
        assert judge(replace(seen, now=NOW + later)) in {Verdict.IDLE, Verdict.HANGS}
