from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gpus.models import Device, HolderReading, Reading
from jobs import lifecycle
from jobs.core.ending import Ending
from jobs.core.states import Outcome, Reason
from jobs.history import LOOK_AGAIN, REMEMBERED, RUNS, History
from jobs.models import Attempt, Job
from tests.rows import a_device, a_past_run, a_running_job

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = 60


def a_run(device: Device, *, minutes: float, ago: float = 60, **fields: Any) -> Attempt:
    """A succeeded run of the kind `k` that ended `ago` minutes ago."""
    ended = NOW - timedelta(minutes=ago)
    begun = ended - timedelta(minutes=minutes)
    return a_past_run(device=device, begun=begun, ended=ended, **{"template": "k"} | fields)


def known(*templates: str) -> History:
    history = History()
    history.refresh(NOW, templates or ("k",))
    return history


def watch(
    attempt: Attempt, device: Device, *, busy: float | None, minutes: int = 10, start: int = 0
) -> None:
    for minute in range(start, start + minutes):
        HolderReading.objects.create(
            holder=attempt.token, device=device, seconds=MINUTE, start=minute * MINUTE, samples=6,
            busy_mean=busy,
        )  # fmt: skip


def test_a_kind_that_never_succeeded_is_unknown() -> None:
    a_run(a_device(), minutes=30, outcome=Outcome.FAILED)
    past = known().of("k")
    assert (past.count, past.usual, past.sm_share) == (0, math.inf, 0)


def test_the_median_and_the_ninth_of_ten_runs_are_known() -> None:
    card = a_device()
    for minutes in range(10, 110, 10):
        a_run(card, minutes=minutes)
    a_run(card, minutes=5000, template="another kind")
    past = known().of("k")
    assert (past.count, past.usual, past.long) == (10, 50 * MINUTE, 90 * MINUTE)


def test_only_the_newest_runs_of_late_count() -> None:
    card = a_device()
    for number in range(RUNS + 5):
        a_run(card, minutes=10, ago=number)
    a_run(card, minutes=999, ago=2000)
    a_run(card, minutes=999, ago=REMEMBERED / timedelta(minutes=1) + 60, template="old")
    history = known("k", "old")
    assert (history.of("k").count, history.of("k").long) == (RUNS, 10 * MINUTE)
    assert history.of("old").count == 0


def test_work_that_an_earlier_attempt_saved_belongs_to_the_run() -> None:
    card = a_device()
    last = a_run(card, minutes=20, number=2)
    begun = NOW - timedelta(hours=9)
    first = a_past_run(
        device=card, job=last.job, number=1, begun=begun, ended=begun + timedelta(hours=1),
        outcome=Outcome.PREEMPTED,
    )  # fmt: skip
    Attempt.objects.filter(pk=first.pk).update(saved_at=begun + timedelta(minutes=40))
    assert known().of("k").usual == 60 * MINUTE


def test_jobs_without_a_kind_teach_nothing() -> None:
    a_run(a_device(), minutes=10, template="")
    assert known("").of("").count == 0


@pytest.mark.parametrize(("busy", "share"), [(0.43, 0.45), (0.001, 0.05), (1.0, 1.0)])
def test_the_load_is_that_of_the_minutes_alone_on_the_card(busy: float, share: float) -> None:
    card = a_device()
    attempt, other = a_run(card, minutes=30), a_run(card, minutes=30, template="other")
    watch(attempt, card, busy=busy)
    watch(attempt, card, busy=0.9, start=100)
    watch(other, card, busy=0.1, start=100)
    assert known().of("k").sm_share == share


def test_neighbours_on_other_cards_do_not_disturb() -> None:
    card, elsewhere = a_device(0), a_device(1)
    attempt, other = a_run(card, minutes=30), a_run(elsewhere, minutes=30, template="other")
    watch(attempt, card, busy=0.5)
    watch(other, elsewhere, busy=0.1)
    assert known().of("k").sm_share == 0.5


def test_a_few_minutes_are_not_enough() -> None:
    card = a_device()
    watch(a_run(card, minutes=30), card, busy=0.5, minutes=4)
    assert known().of("k").sm_share == 0


def test_where_processes_are_not_told_apart_the_cards_own_load_is_taken() -> None:
    card = a_device()
    watch(a_run(card, minutes=30), card, busy=None)
    for minute in range(10):
        Reading.objects.create(
            device=card, seconds=MINUTE, start=minute * MINUTE, samples=6, busy_mean=0.7
        )
    assert known().of("k").sm_share == 0.7


def test_what_succeeds_is_learned_some_minutes_later() -> None:
    card = a_device()
    a_run(card, minutes=10)
    history = known()
    succeed(card, minutes=100)
    assert history.refresh(NOW + LOOK_AGAIN / 2, {"k"}) == frozenset()
    assert history.refresh(NOW + LOOK_AGAIN, {"k"}) == {"k"}
    assert (history.of("k").count, history.of("k").long) == (2, pytest.approx(6000, rel=0.01))


def test_a_time_that_hardly_differs_stays_as_it_was() -> None:
    card = a_device()
    a_run(card, minutes=10)
    history = known()
    succeed(card, minutes=10.5)
    assert history.refresh(NOW + LOOK_AGAIN, {"k"}) == frozenset()
    assert history.of("k").count == 1


def test_nothing_new_costs_no_query(django_assert_num_queries: Any) -> None:
    a_run(a_device(), minutes=10)
    history = known()
    with django_assert_num_queries(0):
        history.refresh(NOW + timedelta(seconds=1), {"k"})


def succeed(device: Device, *, minutes: float) -> None:
    """A job of the kind that succeeds now, through the one writer."""
    job, attempt = a_running_job("new", device=device)
    Job.objects.filter(pk=job.pk).update(template="k")
    attempt.refresh_from_db()
    Attempt.objects.filter(pk=attempt.pk).update(
        started_at=attempt.created_at - timedelta(minutes=minutes)
    )
    attempt.refresh_from_db()
    ending = Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED, exit_code=0)
    assert lifecycle.finish(attempt, ending)
