"""Which jobs have changed since the last look, as their event rows tell: every move of a job leaves one.

Numbers of rows are given out before the rows become visible, so on PostgreSQL a lower one may show after a higher one.
What is missing between two numbers is asked for again for some minutes; then it was undone and will never come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice, pairwise

from jobs.models import JobEvent

PATIENCE = timedelta(minutes=5)
"""For which a missing row may still appear; the longest transaction is far shorter."""

_LOOK_BACK = 1_000  # rows before the beginning of which one may be missing
_MOST_GAPS = 1_000
MOST = 20_000
"""More changes at once are not told one by one."""


class Gaps:
    """The numbers of rows that were skipped and may still come, each with since when it is missed."""

    def __init__(self, missing: Mapping[int, datetime] | None = None) -> None:
        self.missing: dict[int, datetime] = dict(missing or {})

    def note(self, seen: Sequence[int], now: datetime) -> None:
        """What is missing between rows that were seen one after the other."""
        gaps = (pk for before, after in pairwise(seen) for pk in range(before + 1, after))
        room = max(0, _MOST_GAPS - len(self.missing))
        self.missing |= dict.fromkeys(islice(gaps, room), now)

    def have_come(self, numbers: Iterable[int]) -> None:
        """These are not missing any more."""
        for number in numbers:
            self.missing.pop(number, None)

    def give_up(self, now: datetime) -> None:
        """Forget what has been missing too long: it was undone."""
        self.missing = {pk: at for pk, at in self.missing.items() if now - at < PATIENCE}


class Journal:
    """A reader's place among the event rows."""

    def __init__(self, now: datetime) -> None:
        newest = JobEvent.objects.order_by("-pk").values_list("pk", flat=True)
        seen = sorted(newest[:_LOOK_BACK])
        self._last = seen[-1] if seen else 0
        self._gaps = Gaps()
        self._gaps.note(seen, now)

    @property
    def is_current(self) -> bool:
        """Whether nothing was written since the last look."""
        return not JobEvent.objects.filter(pk__gt=self._last).exists()

    def changed(self, now: datetime) -> set[str] | None:
        """The ids of the jobs that have changed since the last look; None where they are too many."""
        later = JobEvent.objects.filter(pk__gt=self._last).order_by("pk")
        rows = list(later.values_list("pk", "job")[: MOST + 1])
        jobs = {job for _pk, job in rows} | self._late()
        if rows:
            first = self._last
            self._last = rows[-1][0]
            self._gaps.note([first, *(pk for pk, _job in rows)], now)
        self._gaps.give_up(now)
        return jobs if len(rows) <= MOST else None

    def _late(self) -> set[str]:
        """Jobs of rows that were missing and have come."""
        if not self._gaps.missing:
            return set()
        rows = JobEvent.objects.filter(pk__in=list(self._gaps.missing))
        come = list(rows.values_list("pk", "job"))
        self._gaps.have_come(pk for pk, _job in come)
        return {job for _pk, job in come}
