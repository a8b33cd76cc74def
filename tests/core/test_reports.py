"""The arithmetic of reports: exact sums, days, percentiles, waste, cards free while somebody waited."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.reports.bookings import GIB, Booking, End, Size, Start, parts
from jobs.core.reports.spans import Days, joined, length, without
from jobs.core.reports.usage import HOUR, Usage, folded, percentile, shares, total
from jobs.core.reports.waiting import Spell, Want, free_while_waiting
from jobs.core.reports.waste import Waste

DAYS = Days(10, tuple(day * 24 * HOUR for day in range(8)))


def booking(job="a", *, begun=0, ended=HOUR, booked=16 * GIB, peak=None, **fields):
    values = {"project": 1, "owner": 1, "device": 1, "rank": 1} | fields
    values.setdefault("sizes", (Size(begun, ended, booked, 1.0),))
    return Booking(job=job, peak=peak, **values)


def added(*bookings):
    used, wasted = Usage(), Waste()
    for each in bookings:
        for part in parts(each, DAYS):
            used.add(part)
            wasted.add(part)
    return used, wasted


spans = st.tuples(st.integers(0, 7 * 24 * HOUR), st.integers(0, 7 * 24 * HOUR)).map(
    lambda pair: (min(pair), max(pair))
)


def test_an_hour_on_two_cards_is_two_gpu_hours_of_one_job():
    used, _wasted = added(booking(), booking(device=2, rank=0))
    whole = total(used.by_who.values())
    assert (whole.gpu_hours, whole.memory_hours, whole.jobs) == (2.0, 32.0, {"a"})


@given(st.lists(st.tuples(spans, st.lists(spans, max_size=3)), max_size=12))
def test_the_days_together_are_the_whole_to_the_microsecond(world):
    bookings = [
        booking(begun=begun, ended=ended, frozen=tuple(joined(frozen)))
        for (begun, ended), frozen in world
    ]
    used, _wasted = added(*bookings)
    whole, days = total(used.by_who.values()), total(used.by_day.values())
    assert whole.used + whole.frozen == sum(each.ended - each.begun for each in bookings)
    assert (days.used, days.frozen, days.memory) == (whole.used, whole.frozen, whole.memory)


@given(st.lists(spans, max_size=6), st.lists(spans, max_size=6))
def test_what_is_taken_away_and_what_is_left_are_the_whole(spans_, taken):
    some, away = joined(spans_), joined(taken)
    left = without(some, away)
    assert length(left) == length(joined([*left, *away])) - length(away)
    assert length(joined([*some, *away])) == length(left) + length(away)


def test_frozen_time_is_held_and_not_used_and_not_idle():
    frozen, idle = ((0, HOUR // 2),), ((0, HOUR),)
    used, wasted = added(booking(frozen=frozen, idle=idle))
    whole = total(used.by_who.values())
    assert (whole.gpu_hours, whole.paused_hours, whole.memory_hours) == (0.5, 0.5, 16.0)
    assert wasted.entries["idle"].whole.gpu_hours == 0.5


def test_a_booking_counts_with_each_of_its_sizes_for_its_time():
    sizes = (Size(0, HOUR, 40 * GIB, 0.5), Size(HOUR, 25 * HOUR, 8 * GIB, 0.1))
    idle = ((0, 2 * HOUR),)
    world = booking(sizes=sizes, peak=6 * GIB, idle=idle, frozen=((0, HOUR // 2),))
    first, second = parts(world, DAYS)
    assert (first.memory, second.memory) == (40 * HOUR + 23 * 8 * HOUR, 8 * HOUR)
    assert (first.spare, second.spare) == (34 * HOUR + 23 * 2 * HOUR, 2 * HOUR)
    assert (first.idle, first.idle_memory) == (HOUR * 3 // 2, 28 * HOUR)
    assert first.charged == HOUR // 2 + round(2.3 * HOUR)


def test_who_held_the_most_comes_first():
    used, _wasted = added(booking("b", owner=2), booking(ended=2 * HOUR))
    assert list(folded(used.by_who, lambda key: "?ab"[key[0]])) == ["a", "b"]


def test_a_start_and_an_end_are_told_once_on_their_days():
    end = End(30 * HOUR, "succeeded", "completed", 0)
    world = booking(begun=HOUR, ended=30 * HOUR, start=Start(1, 5), end=end)
    told = [(part.day, part.wait, part.outcome) for part in parts(world, DAYS)]
    assert told == [(10, 5, ""), (11, None, "succeeded")]
    assert [part.wait for part in parts(world._replace(rank=0), DAYS)] == [None, None]


def test_an_end_at_midnight_belongs_to_the_day_that_begins():
    end = End(24 * HOUR, "failed", "exit_code", 0)
    told = [(p.day, p.held, p.outcome) for p in parts(booking(ended=24 * HOUR, end=end), DAYS)]
    assert told == [(10, 24 * HOUR, ""), (11, 0, "failed")]


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [([], 0.5, None), ([4], 0.9, 4), ([1, 2, 3], 0.5, 2), (list(range(1, 11)), 0.9, 9)],
)
def test_a_percentile_is_a_value_that_occurred(values, share, found):
    assert percentile(values, share) == found


def test_shares_of_nothing_are_none():
    assert shares({"a": 0.0, "b": 0.0}) == {"a": 0.0, "b": 0.0}
    assert shares({"a": 1.0, "b": 3.0}) == {"a": 0.25, "b": 0.75}


def test_what_is_booked_above_the_peak_is_unused_and_what_was_never_measured_is_not_guessed():
    _used, wasted = added(booking("a", peak=4 * GIB), booking("b"), booking("c", peak=20 * GIB))
    entry = wasted.entries["unused"]
    assert (entry.whole.memory_hours, list(entry.behind)) == (12.0, ["a"])
    assert wasted.unmeasured == {"b"}


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 4))), st.integers(1, 7))
def test_the_largest_few_are_the_first_of_all(held, most):
    entry = Waste().entries["idle"]
    for name, time in held:
        entry.add(name, time, 0)
    assert entry.largest(most) == entry.largest()[:most]
    assert len(entry.largest()) == len({name for name, _time in held})


@pytest.mark.parametrize(
    ("outcome", "reason", "kind"),
    [
        ("failed", "exit_code", "failed"),
        ("failed", "gpu_out_of_memory", "oom"),
        ("failed", "over_memory", "oom"),
        ("failed", "restore_failed", "failed"),
        ("lost", "node_lost", "lost"),
        ("preempted", "preempted", "preempted"),
        ("suspended", "user", "paused"),
    ],
)
def test_every_bad_end_has_its_kind(outcome, reason, kind):
    _used, wasted = added(booking(end=End(HOUR, outcome, reason, HOUR)))
    assert {name for name, entry in wasted.entries.items() if entry.behind} == {kind}
    assert wasted.entries[kind].whole.gpu_hours == 1.0


def test_a_card_is_free_while_somebody_waits_only_where_the_job_could_have_used_it():
    free = {0: [(0, 10)], 1: [(5, 20)], 2: [(0, 20)]}
    one = Spell("one", Want(0b001, 1, 1), 0, 20)
    pair = Spell("pair", Want(0b011, 2, 1), 0, 20)
    found = free_while_waiting(free, [0b011, 0b100], [one])
    assert (found.cards, found.jobs) == ({0: 10}, {"one": 10})
    found = free_while_waiting(free, [0b011, 0b100], [pair])
    assert (found.cards, found.jobs) == ({0: 5, 1: 5}, {"pair": 10})
    assert free_while_waiting(free, [0b001, 0b110], [pair]).jobs == {}
