"""Named queries. Views, the API and the cycle ask for rows by these names and never filter on a state themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Self, TypeVar

from django.db import models
from django.db.models import Q

from jobs.core.plan import WaitCode
from jobs.core.states import ACTIVE, HOLDS_DEVICE, TERMINAL, WAITING, JobState

if TYPE_CHECKING:
    from jobs.models import User

Value = TypeVar("Value")


MOST_VALUES = 5_000
"""In one query; SQLite takes no more than 32,766 parameters."""


def in_parts(values: Iterable[Value], most: int = MOST_VALUES) -> Iterator[list[Value]]:
    """The values in lists that are short enough for a query each."""
    left = iter(values)
    while part := list(islice(left, most)):
        yield part


class JobQuerySet(models.QuerySet):
    """Jobs by where they are and by who may see them."""

    def queued(self) -> Self:
        """Those that the cycle may start."""
        return self.filter(state=JobState.QUEUED)

    def waiting(self) -> Self:
        """Queued and held ones."""
        return self.filter(state__in=WAITING)

    def waiting_for_others(self) -> Self:
        """Those held until the jobs that they depend on have succeeded."""
        return self.filter(state=JobState.HELD, wait_code=WaitCode.DEPENDENCY)

    def active(self) -> Self:
        """Those that have not ended."""
        return self.filter(state__in=ACTIVE)

    def ended(self) -> Self:
        """Those that have."""
        return self.filter(state__in=TERMINAL)

    def with_attempt(self) -> Self:
        """Those that hold cards: an attempt of theirs is open."""
        return self.filter(Q(state__in=HOLDS_DEVICE) | Q(state=JobState.SUSPENDED)).filter(
            attempts__ended_at__isnull=True, attempts__isnull=False
        )

    def in_queue_order(self) -> Self:
        """Priority, then first in first out; the id breaks ties."""
        return self.order_by("-priority", "submitted_at", "id")

    def visible_to(self, user: User) -> Self:
        """Those of the user's projects; all of them for an admin."""
        if user.is_superuser:
            return self
        return self.filter(project__memberships__user=user)


class AttemptQuerySet(models.QuerySet):
    """Attempts by whether they have ended."""

    def open(self) -> Self:
        """Those whose processes live, or are not yet known to be dead."""
        return self.filter(ended_at__isnull=True)

    def worth_a_look(self, job_ids: Collection[str]) -> Self:
        """Those of these jobs, and those whose processes must do something other than run."""
        told = Q(job__state__in=(JobState.STOPPING, JobState.SUSPENDING, JobState.SUSPENDED))
        return self.filter(told | Q(job_id__in=job_ids))


class AllocationQuerySet(models.QuerySet):
    """Bookings by whether they still count."""

    def open(self) -> Self:
        """Those that count against their card."""
        return self.filter(released_at__isnull=True)
