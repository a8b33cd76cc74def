"""When jobs are expected to start, and what is said where nobody can tell."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from jobs import estimates, why
from jobs.core.plan import WaitCode
from jobs.core.scheduling.forecast import Expected
from jobs.estimates import Estimates, Forecast, Head, endless
from jobs.queuestate import POSITIONS, Look
from jobs.starts import start_of
from tests.builders import NOW, a100, job, queue_of, run, world
from tests.waiting import wait_until

LOOK = Look(
    at=NOW,
    order=("a", "b", "c"),
    positions={"a": 1, "b": 2, "c": 3},
    starting=frozenset(),
    cards=(),
    policy="",
    is_stalled=False,
)
LATER = Expected(at=NOW + 600, earliest=NOW + 420, latest=NOW + 900)
MEMORY = (WaitCode.WAIT_MEMORY, {})


def forecast_of(**fields):
    return Forecast(**{"asked": frozenset("abc")} | fields)


def test_an_expected_start_is_told_with_its_range():
    found = start_of("b", MEMORY, LOOK, forecast_of(expected={"b": LATER}))
    assert (found.expected, found.sentence) == (LATER, "")


def test_a_forecast_that_has_aged_expects_nothing_in_the_past():
    old = Expected(at=NOW - 5, earliest=NOW - 9, latest=NOW + 3)
    found = start_of("b", MEMORY, LOOK, forecast_of(expected={"b": old}))
    assert found.expected == Expected(at=NOW, earliest=NOW, latest=NOW + 3)


def test_a_job_that_nothing_stands_in_the_way_of_starts_now():
    found = start_of("a", (why.STARTS_NOW, {}), LOOK, None)
    assert found.expected == Expected(at=NOW, earliest=NOW, latest=NOW)


@pytest.mark.parametrize(
    ("reason", "forecast", "words"),
    [
        ((WaitCode.NEVER_FITS, {}), None, "only after somebody has done something"),
        ((WaitCode.SCHEDULER_STALLED, {}), None, "only after somebody has done something"),
        ((WaitCode.WAIT_READING, {}), None, "the cards give no readings"),
        ((WaitCode.WAIT_QUOTA, {"what": "gpu_hours_month"}), None, "quota of the next month"),
        (MEMORY, None, "being worked out"),
        (MEMORY, forecast_of(asked=frozenset("ac")), "being worked out"),
        (MEMORY, forecast_of(endless=frozenset({"runs"})), "nobody knows how long"),
        (MEMORY, forecast_of(endless=frozenset("a")), "nobody knows how long"),
        (MEMORY, forecast_of(endless=frozenset("bc")), "it is too far ahead"),
    ],
)
def test_where_nobody_can_tell_the_reason_is_said(reason, forecast, words):
    found = start_of("b", reason, LOOK, forecast)
    assert found.expected is None
    assert words in found.sentence


def test_only_the_head_of_a_long_queue_is_estimated():
    order = tuple(f"j{number}" for number in range(POSITIONS))
    look = replace(LOOK, order=order, positions={})
    found = start_of("far", MEMORY, look, forecast_of())
    assert found.sentence == f"not estimated: only the first {POSITIONS} of the queue are"


def test_jobs_of_unknown_length_are_named_whether_they_run_or_wait():
    snapshot = world(
        [a100()], queue_of(job("a"), job("b", est_time=60.0)), running=[run("r"), run("s", ends=9)]
    )
    assert endless(snapshot) == {"a", "r"}


# --- the thread that works them out ----------------------------------------------------------------


def head(*queued, ends=600.0):
    running = [run("holder", "60G", ends=ends)]
    return Head(
        snapshot=world([a100(booked="60G")], queue_of(*queued), running=running), ranks=None
    )


def test_the_first_reader_waits_a_moment_and_the_next_ones_share_it(monkeypatch):
    monkeypatch.setattr(estimates, "PATIENCE", 20.0)
    made = Estimates()
    asked = []

    def ask():
        asked.append(1)
        return head(job("a", "70G"))

    first = made.latest(ask)
    assert first is not None
    assert first.expected["a"].at == NOW + 600
    assert made.latest(ask) is first
    assert len(asked) == 1


@pytest.fixture
def stuck(monkeypatch):
    """A forecast that is not made until this is set."""
    go_on = threading.Event()

    def forecast(*_arguments, **_options):
        go_on.wait(20)
        return {}

    monkeypatch.setattr(estimates, "forecast", forecast)
    yield go_on
    go_on.set()


def test_nobody_waits_long_for_a_forecast_that_takes_long(monkeypatch, stuck):
    monkeypatch.setattr(estimates, "PATIENCE", 0.01)
    made = Estimates()
    assert made.latest(head) is None
    stuck.set()
    assert wait_until(lambda: made.latest(head)) == Forecast(endless=frozenset())


def test_a_forecast_that_fails_says_nothing_and_is_tried_again_later(monkeypatch, caplog):
    monkeypatch.setattr(estimates, "PATIENCE", 20.0)
    monkeypatch.setattr(estimates, "FRESH_FOR", 0.0)
    made = Estimates()
    with monkeypatch.context() as broken:
        broken.setattr(estimates, "forecast", lambda *_a, **_k: 1 / 0)
        assert made.latest(lambda: head(job("a", "70G"))) == Forecast()
    assert "could not be forecast" in caplog.text
    found = wait_until(lambda: getattr(made.latest(lambda: head(job("a", "70G"))), "expected", {}))
    assert set(found) == {"a"}


def test_while_a_new_forecast_is_made_the_old_one_serves(monkeypatch, stuck):
    monkeypatch.setattr(estimates, "PATIENCE", 20.0)
    monkeypatch.setattr(estimates, "FRESH_FOR", 0.0)
    monkeypatch.setattr(estimates, "SHARE", 1e9)
    made = Estimates()
    stuck.set()
    first = made.latest(lambda: head(job("a", "70G")))
    stuck.clear()
    assert [made.latest(lambda: head(job("b", "70G"))) for _reader in range(3)] == [first] * 3
    stuck.set()
    wait_until(lambda: made.latest(head) is not first)
