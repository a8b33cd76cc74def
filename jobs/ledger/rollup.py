"""The ledger of finished days: filled after midnight, safe to repeat, made again from the rows at any time.

An attempt is in it as a whole or not at all: all days of the attempts that ended before `through`. What ended later, or
goes on, is computed when somebody asks, so nothing that may still change is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Min, Q

from gpus.models import Reading
from jobs.core.reports.bookings import Booking, parts
from jobs.ledger.bookings import HOUR_S, bookings_of
from jobs.ledger.cards import card_parts
from jobs.ledger.days import date_of, days_between, midnight
from jobs.models import Attempt, BookingDay, CardDay, LedgerState, WaitedDay

RULES = 1
"""Counts up when something is counted otherwise: the ledger is made again then."""

SETTLED = timedelta(minutes=10)
"""After midnight, before a day is taken as finished: what ended in it has been committed by then."""

STEP = 28
"""The most days that are stored in one transaction, so that nobody waits for it long."""

MOST_WAITING = 200
"""Jobs a day that are kept behind the card time that was free while somebody waited: those that lost the most."""

_DAY = timedelta(days=1)


def through() -> datetime | None:
    """Before which ended attempts, and days of cards, are in the ledger; None where there is none that holds."""
    state = LedgerState.objects.filter(zone=settings.TIME_ZONE, rules=RULES).first()
    return state.through if state else None


def roll_up(now: datetime) -> int:
    """Take in what has been finished; how many days that were."""
    state = _state()
    end = date_of(now - SETTLED)
    first = date_of(state.through) if state.through else _first_day()
    count = 0
    while first and first < end:
        last = min(end, first + STEP * _DAY)
        if not _take(state, first, last):
            break
        count += (last - first).days
        first = last
    return count


def start_over() -> None:
    """Forget the ledger, so that the next `roll_up` makes all of it."""
    with transaction.atomic():
        for model in (BookingDay, CardDay, WaitedDay, LedgerState):
            model.objects.all().delete()


def _state() -> LedgerState:
    """The state of the ledger that holds; one of other rules or midnights is forgotten."""
    state = LedgerState.objects.first()
    if state and (state.zone, state.rules) != (settings.TIME_ZONE, RULES):
        start_over()
        state = None
    return state or LedgerState.objects.create(zone=settings.TIME_ZONE, rules=RULES)


def _first_day() -> date | None:
    """The first day of which anything is known."""
    attempt = Attempt.objects.aggregate(first=Min("created_at"))["first"]
    hour = Reading.objects.filter(seconds=HOUR_S).aggregate(first=Min("start"))["first"]
    known = [attempt, hour and datetime.fromtimestamp(hour, UTC)]
    return min((date_of(each) for each in known if each), default=None)


def _take(state: LedgerState, first: date, last: date) -> bool:
    """Store the days from `first` to the day before `last`; False where somebody else did, or forgot the ledger."""
    until = midnight(last)
    ended = Q(ended_at__lt=until)
    if state.through:
        ended &= Q(ended_at__gte=state.through)
    bookings = list(bookings_of(ended, until))
    cards, waited = card_parts(days_between(first, last - _DAY), until)
    most = sorted(waited, key=lambda part: (part.day, -part.time, part.job))
    with transaction.atomic():
        if not LedgerState.objects.filter(pk=state.pk, through=state.through).update(through=until):
            return False
        BookingDay.objects.bulk_create(_booking_days(bookings, last), batch_size=2000)
        CardDay.objects.bulk_create([_card_day(part._asdict()) for part in cards], batch_size=2000)
        WaitedDay.objects.bulk_create(
            [
                WaitedDay(day=part.day, job_id=part.job, time=part.time)
                for place, part in enumerate(most)
                if place < MOST_WAITING or most[place - MOST_WAITING].day != part.day
            ],
            batch_size=2000,
        )
    state.through = until
    return True


def _booking_days(bookings: Iterable[tuple[int, Booking]], last: date) -> list[BookingDay]:
    bookings = list(bookings)
    if not bookings:
        return []
    begun = min(booking.begun for _key, booking in bookings)
    days = days_between(date_of(datetime.fromtimestamp(begun // 1_000_000, UTC)), last - _DAY)
    return [
        _booking_day(key, part._asdict())
        for key, booking in bookings
        for part in parts(booking, days)
    ]


def _booking_day(key: int, fields: dict[str, object]) -> BookingDay:
    named = {_FOREIGN.get(name, name): value for name, value in fields.items()}
    return BookingDay(allocation_id=key, **named)


def _card_day(fields: dict[str, object]) -> CardDay:
    return CardDay(**{_FOREIGN.get(name, name): value for name, value in fields.items()})


_FOREIGN = {name: f"{name}_id" for name in ("job", "project", "owner", "device")}
