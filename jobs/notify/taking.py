"""Reading on in the event rows: what happened since the last time is told, exactly once.

The place is kept in the database and moves in the transaction that writes what is told, so that a crash repeats
nothing and leaves nothing out. Several processes may call it; they wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils.dateparse import parse_datetime

from jobs.journal import Gaps
from jobs.models import JobEvent, ReadingPlace
from jobs.notify import telling
from jobs.notify.facts import facts_of

PLACE = "notifications"
BATCH = 2_000
_MOST_BATCHES = 20


def read_on(now: datetime) -> int:
    """Tell what is new; how many event rows were read."""
    read = 0
    for _batch in range(_MOST_BATCHES):
        if not _is_news():
            break
        count = _read_batch(now)
        read += count
        if count < BATCH:
            break
    return read


def _is_news() -> bool:
    place = ReadingPlace.objects.filter(name=PLACE).first()
    if place is None or place.missing:
        return True
    return JobEvent.objects.filter(pk__gt=place.last).exists()


@transaction.atomic
def _read_batch(now: datetime) -> int:
    place = _place()
    rows = JobEvent.objects.select_related("job", "attempt", "actor").order_by("pk")
    gaps = Gaps({int(pk): _moment(at) for pk, at in place.missing.items()})
    late = list(rows.filter(pk__in=list(gaps.missing)))
    new = list(rows.filter(pk__gt=place.last)[:BATCH])
    _note(place, gaps, [event.pk for event in late], [event.pk for event in new], now)
    telling.tell(facts_of([*late, *new]), now)
    return len(late) + len(new)


def _place() -> ReadingPlace:
    """The place, locked; a site that has none begins with what happens from now on."""
    newest = JobEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    ReadingPlace.objects.get_or_create(name=PLACE, defaults={"last": newest})
    return ReadingPlace.objects.select_for_update().get(name=PLACE)


def _note(
    place: ReadingPlace, gaps: Gaps, late: Sequence[int], new: Sequence[int], now: datetime
) -> None:
    gaps.have_come(late)
    if new:
        gaps.note([place.last, *new], now)
        place.last = new[-1]
    gaps.give_up(now)
    place.missing = {str(pk): at.isoformat() for pk, at in gaps.missing.items()}
    place.save()


def _moment(text: str) -> datetime:
    at = parse_datetime(text)
    assert at is not None  # noqa: S101 - written by `_note`
    return at
