"""The arithmetic of reports: exact sums, days, percentiles, waste."""

from __future__ import annotations

import random

import pytest

from jobs.core.reports.usage import GIB, HOUR, Hold, by_day, percentile, shares, summed, total
from jobs.core.reports.waste import ended_badly, unmeasured, unused


def hold(job="a", *, begun=0, ended=HOUR, booked=16 * GIB, peak=None, **fields):
    values = {
        "name": f"{job}#1",
        "owner": "ana",
        "project": "default",
        "card": "A100",
        "outcome": "succeeded",
        "reason": "completed",
        "rate": 1.0,
    } | fields
    return Hold(job=job, booked=booked, peak=peak, begun=begun, ended=ended, **values)


def test_an_hour_on_two_cards_is_two_gpu_hours_of_one_job():
    whole = total([hold(), hold()])
    assert (whole.gpu_hours, whole.memory_hours, whole.members) == (2.0, 32.0, {"a"})


def test_nothing_held_is_nothing():
    assert total([]).gpu_hours == 0


def test_who_held_the_most_comes_first():
    found = summed([hold(owner="bo"), hold(owner="ana", ended=2 * HOUR)], lambda each: each.owner)
    assert list(found) == ["ana", "bo"]


def test_days_together_are_the_whole_to_the_microsecond():
    chance = random.Random(7)
    days = [day * 24 * HOUR for day in range(8)]
    holds = []
    for _each in range(300):
        begun = chance.randrange(7 * 24 * HOUR - 1)
        holds.append(hold(begun=begun, ended=chance.randrange(begun + 1, 7 * 24 * HOUR)))
    assert sum(day.time for day in by_day(holds, days)) == total(holds).time
    assert sum(day.memory for day in by_day(holds, days)) == total(holds).memory


def test_a_booking_over_midnight_is_cut_there():
    days = by_day([hold(begun=23 * HOUR, ended=26 * HOUR)], [0, 24 * HOUR, 48 * HOUR])
    assert [day.gpu_hours for day in days] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [([], 0.5, None), ([4.0], 0.9, 4.0), ([3.0, 1.0, 2.0], 0.5, 2.0), (list(range(1, 11)), 0.9, 9)],
)
def test_a_percentile_is_a_value_that_occurred(values, share, found):
    assert percentile(values, share) == found


def test_shares_of_nothing_are_none():
    assert shares({"a": 0.0, "b": 0.0}) == {"a": 0.0, "b": 0.0}
    assert shares({"a": 1.0, "b": 3.0}) == {"a": 0.25, "b": 0.75}


def test_what_is_booked_above_the_peak_is_unused_and_what_was_never_measured_is_not_guessed():
    holds = [hold("a", peak=4 * GIB), hold("b", peak=None), hold("c", peak=20 * GIB)]
    entry = unused(holds)
    assert (entry.whole.memory_hours, list(entry.jobs)) == (12.0, ["a"])
    assert unmeasured(holds) == 1


def test_failure_memory_and_loss_are_told_apart():
    holds = [
        hold("a", outcome="failed", reason="exit_code"),
        hold("b", outcome="failed", reason="gpu_out_of_memory"),
        hold("c", outcome="lost", reason="node_lost"),
        hold("d", outcome="preempted", reason="preempted"),
    ]
    found = {entry.kind: list(entry.jobs) for entry in ended_badly(holds)}
    assert found == {"failed": ["a"], "oom": ["b"], "lost": ["c"]}
