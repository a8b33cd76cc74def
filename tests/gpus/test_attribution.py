"""Whose memory it is: cases as data, and that over random cards nothing is ever counted as free that is not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpus.attribution import PEAK_MARGIN, YOUNG_SECONDS, Account, account_for
from gpus.readings import DeviceReading, Holding, ProcessReading

GIB = 2**30
NOW = 1_800_000_000.0
STRANGER = 999


def reading(
    *, used: int | None, listed: dict[int, int | None] | None, total=80 * GIB, reserve=0
) -> DeviceReading:
    """A card with the listed processes (pid -> memory)."""
    return DeviceReading(
        uuid="GPU-0",
        index=0,
        name="card",
        memory_total=total,
        memory_used=used,
        memory_reserved=reserve,
        processes=None
        if listed is None
        else tuple(
            ProcessReading(pid=pid, memory=memory, busy=0.5) for pid, memory in listed.items()
        ),
    )


def held(pid: int = 1, *, booked=10 * GIB, since=0.0, **fields) -> Holding:
    """A booking whose process is `pid`; an old one unless `since` says otherwise."""
    return Holding(
        key=f"k{pid}",
        holder=f"h{pid}",
        uuid="GPU-0",
        booked=booked,
        pids=frozenset({pid}),
        since=since,
        **fields,
    )


def accounted(card: DeviceReading, *holdings: Holding, before: int | None = 0, **peaks) -> Account:
    return account_for(card, holdings, peaks=peaks, ghost_before=before, now=NOW)


def test_an_empty_card_is_free_but_for_the_drivers_reserve():
    account = accounted(reading(used=GIB, listed={}, reserve=GIB))

    assert (account.foreign, account.free, account.booked) == (0, 79 * GIB, 0)


def test_a_booking_counts_before_its_memory_shows():
    account = accounted(reading(used=0, listed={}), held(booked=14 * GIB))

    assert account.free == 66 * GIB
    assert account.parts[0].used == 0


def test_the_memory_of_a_job_is_its_own_and_not_foreign():
    account = accounted(reading(used=8 * GIB, listed={1: 8 * GIB}), held())

    assert (account.foreign, account.parts[0].used) == (0, 8 * GIB)
    assert account.free == 70 * GIB


def test_all_processes_of_a_tree_count_together():
    holding = Holding(key="k", holder="h", uuid="GPU-0", booked=10 * GIB, pids=frozenset({1, 2, 3}))

    account = accounted(reading(used=5 * GIB, listed={1: 2 * GIB, 2: 3 * GIB}), holding)

    assert (account.parts[0].used, account.parts[0].busy) == (5 * GIB, 1.0)


def test_somebody_elses_process_is_foreign_and_is_named():
    account = accounted(reading(used=9 * GIB, listed={1: 4 * GIB, STRANGER: 5 * GIB}), held())

    assert account.foreign == 5 * GIB
    assert account.strangers == {STRANGER}


def test_the_process_of_an_ended_attempt_is_a_ghost_and_counts_as_foreign():
    assert accounted(reading(used=4 * GIB, listed={1: 4 * GIB})).foreign == 4 * GIB


def test_memory_that_no_listed_process_holds_is_foreign():
    account = accounted(reading(used=10 * GIB, listed={1: 4 * GIB}), held())

    assert account.foreign == 6 * GIB
    assert account.free == 64 * GIB


def test_a_job_above_its_booking_is_charged_for_its_peak_and_a_margin():
    account = accounted(reading(used=20 * GIB, listed={1: 20 * GIB}), held(booked=10 * GIB))

    assert account.parts[0].charge == math.ceil(20 * GIB * PEAK_MARGIN)
    assert account.free == 80 * GIB - math.ceil(20 * GIB * PEAK_MARGIN)


@pytest.mark.parametrize("known", ["by the sampler", "by the booking"])
def test_a_peak_is_remembered_when_the_memory_has_gone_down(known):
    card = reading(used=GIB, listed={1: GIB})
    if known == "by the sampler":
        account = accounted(card, held(), k1=15 * GIB)
    else:
        account = accounted(card, held(peak=15 * GIB))

    assert account.parts[0].peak == 15 * GIB
    assert account.parts[0].used == GIB


@pytest.mark.parametrize("listed", [None, {1: None}])
def test_where_the_card_cannot_tell_a_job_is_taken_to_use_its_booking_or_its_peak(listed):
    card = reading(used=20 * GIB, listed=listed)

    by_booking = accounted(card, held(booked=14 * GIB))
    by_peak = accounted(card, held(booked=14 * GIB, peak=18 * GIB))

    assert by_booking.foreign == 6 * GIB
    assert by_peak.foreign == 2 * GIB
    assert by_booking.parts[0].used is None


def test_a_card_that_does_not_tell_its_memory_has_no_foreign_and_no_free_memory():
    account = accounted(reading(used=None, listed=None), held())

    assert (account.used, account.foreign, account.free) == (None, None, None)
    assert account.booked == 10 * GIB


def test_growth_that_nobody_explains_is_a_young_attempts_own_up_to_its_booking():
    young = held(booked=10 * GIB, since=NOW - 5)

    account = accounted(reading(used=15 * GIB, listed={}), young, before=3 * GIB)

    assert account.foreign == 5 * GIB  # the 3 GiB from before, and 2 GiB beyond the booking
    assert account.parts[0].used == 10 * GIB
    assert account.parts[0].peak is None  # a guess is no measurement


def test_what_was_foreign_before_an_attempt_began_stays_foreign():
    young = held(booked=10 * GIB, since=NOW - 5)

    assert accounted(reading(used=3 * GIB, listed={}), young, before=3 * GIB).foreign == 3 * GIB


def test_in_a_first_reading_nothing_is_taken_for_growth():
    young = held(booked=10 * GIB, since=NOW - 5)

    assert accounted(reading(used=3 * GIB, listed={}), young, before=None).foreign == 3 * GIB


@pytest.mark.parametrize("since", [NOW - YOUNG_SECONDS, NOW + 86_400])
def test_an_attempt_that_is_old_or_of_the_future_is_charged_no_growth(since):
    assert accounted(reading(used=3 * GIB, listed={}), held(since=since)).foreign == 3 * GIB


def test_growth_goes_to_the_young_attempts_in_turn():
    first = held(1, booked=4 * GIB, since=NOW - 9)
    second = held(2, booked=4 * GIB, since=NOW - 3)

    account = accounted(reading(used=6 * GIB, listed={}), first, second)

    assert [part.used for part in account.parts] == [4 * GIB, 2 * GIB]
    assert account.foreign == 0


def test_a_frozen_job_keeps_its_memory_and_is_idle():
    account = accounted(reading(used=4 * GIB, listed={1: 4 * GIB}), held(frozen=True))

    assert (account.parts[0].used, account.parts[0].busy) == (4 * GIB, 0.0)


# --- over random cards -------------------------------------------------------------------------------

amounts = st.integers(0, 100)
holders = st.lists(
    st.tuples(amounts, amounts, st.booleans(), st.booleans()), max_size=6
)  # booked, used, whether it is young, whether the card tells its memory


@st.composite
def cards(draw):
    """A card, its holdings, and the truth: what is foreign, and what each holder uses."""
    given_holders = draw(holders)
    reserve, foreign, ghost = draw(amounts), draw(amounts), draw(amounts)
    uses = [used for _, used, _, _ in given_holders]
    used = reserve + foreign + ghost + sum(uses)
    total = used + draw(amounts)
    holdings = [
        held(pid, booked=booked, since=NOW - 1 if young else 0.0)
        for pid, (booked, _, young, _) in enumerate(given_holders, start=1)
    ]
    listed: dict[int, int | None] = {STRANGER: foreign}
    for pid, (_, memory, _, tells) in enumerate(given_holders, start=1):
        listed[pid] = memory if tells else None
    card = reading(used=used, listed=listed, total=total, reserve=reserve)
    return card, holdings, foreign + ghost, uses


@given(cards(), st.none() | amounts)
def test_the_parts_of_a_card_never_exceed_it(world, before):
    card, holdings, _, _ = world
    account = account_for(card, holdings, peaks={}, ghost_before=before, now=NOW)

    charged = sum(part.charge for part in account.parts)
    shown = sum(part.used or 0 for part in account.parts)
    assert account.foreign >= 0
    assert account.free >= 0
    assert account.foreign + shown + card.memory_reserved <= card.memory_used
    if account.free:
        assert account.foreign + charged + account.free + card.memory_reserved <= card.memory_total


@given(cards(), st.none() | amounts)
def test_free_memory_is_never_more_than_what_is_not_used(world, before):
    card, holdings, _, _ = world
    account = account_for(card, holdings, peaks={}, ghost_before=before, now=NOW)

    assert account.free <= card.memory_total - card.memory_used


@given(cards(), st.none() | amounts)
def test_where_the_card_tells_all_and_nobody_is_young_the_account_is_the_truth(world, before):
    card, holdings, foreign, uses = world
    told = [process.memory for process in card.processes]
    if None in told or any(holding.since for holding in holdings):
        return
    account = account_for(card, holdings, peaks={}, ghost_before=before, now=NOW)

    truly_spoken_for = foreign + sum(
        max(holding.booked, used) for holding, used in zip(holdings, uses, strict=True)
    )
    assert account.foreign == foreign
    assert [part.used for part in account.parts] == uses
    assert account.free <= max(0, card.memory_total - card.memory_reserved - truly_spoken_for)


@given(cards())
def test_the_second_look_at_the_same_card_says_the_same(world):
    card, holdings, _, _ = world
    first = account_for(card, holdings, peaks={}, ghost_before=0, now=NOW)
    again = account_for(card, holdings, peaks={}, ghost_before=first.ghost, now=NOW)
    third = account_for(card, holdings, peaks={}, ghost_before=again.ghost, now=NOW)

    assert again == third
    assert again.foreign >= first.foreign


def test_a_stranger_that_comes_while_an_attempt_is_young_is_not_taken_for_its_late_memory():
    card = reading(used=5 * GIB, listed={STRANGER: 5 * GIB})

    account = accounted(card, held(booked=10 * GIB, since=NOW - 1))

    assert (account.foreign, account.free) == (5 * GIB, 65 * GIB)


@given(
    booked=st.integers(0, 30),
    ours=st.integers(0, 10),
    looks=st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), min_size=1, max_size=8),
    age=st.integers(0, 120),
)
def test_ghosts_strays_and_foreign_processes_that_come_and_go_are_never_counted_free(
    booked, ours, looks, age
):
    """Each look has a ghost, which only ever shrinks, and a listed stranger."""
    holder, before, ghost = held(booked=booked * GIB, since=NOW - age), None, looks[0][0]
    for grown, stranger in looks:
        ghost = min(ghost, grown)
        listed = {1: ours * GIB, STRANGER: stranger * GIB}
        card = reading(used=(ours + ghost + stranger) * GIB, listed=listed)

        account = accounted(card, holder, before=before)

        really = 80 - max(booked, ours) - ghost - stranger
        assert account.foreign == (ghost + stranger) * GIB
        assert account.free <= max(0, really) * GIB
        before = account.ghost
