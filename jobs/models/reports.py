"""The report ledger: finished days summed up, so that a year can be shown at once. docs/reports.md says how.

`jobs/ledger/` alone writes these rows. Everything in them is computed from bookings, attempts, events and readings and
can be thrown away and made again. Times are microseconds, sizes bytes, memory over time GiB-microseconds; a day is the
number of its date (1 is 1 January of the year 1) in the site's time zone.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class BookingDay(models.Model):
    """What one booking was on one day; the fields are those of `jobs.core.reports.bookings.DayPart`."""

    allocation = models.ForeignKey("jobs.Allocation", on_delete=models.CASCADE, related_name="+")
    day = models.PositiveIntegerField()
    job = models.ForeignKey("jobs.Job", on_delete=models.CASCADE, related_name="+", db_index=False)
    project = models.ForeignKey(
        "jobs.Project", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    owner = models.ForeignKey(
        "jobs.User", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    device = models.ForeignKey(
        "gpus.Device", on_delete=models.CASCADE, related_name="+", db_index=False
    )
    held = models.PositiveBigIntegerField()
    frozen = models.PositiveBigIntegerField()
    idle = models.PositiveBigIntegerField()
    memory = models.PositiveBigIntegerField()
    spare = models.PositiveBigIntegerField(null=True)
    idle_memory = models.PositiveBigIntegerField()
    charged = models.PositiveBigIntegerField()
    waste = models.CharField(max_length=8, blank=True)
    rank = models.PositiveSmallIntegerField()
    priority = models.PositiveSmallIntegerField(null=True)
    wait = models.PositiveBigIntegerField(null=True)
    outcome = models.CharField(max_length=10, blank=True)
    lost = models.PositiveBigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_row_a_booking_and_day", fields=["allocation", "day"])
        ]
        indexes: ClassVar = [models.Index(name="booking_days", fields=["day"])]

    def __str__(self) -> str:
        return f"booking {self.allocation_id} on day {self.day}"


class CardDay(models.Model):
    """What one card was on one finished day."""

    device = models.ForeignKey("gpus.Device", on_delete=models.CASCADE, related_name="+")
    day = models.PositiveIntegerField()
    service = models.PositiveBigIntegerField()  # time in which it answered and was not drained
    occupied = models.PositiveBigIntegerField()  # of it: with at least one booking
    waited = models.PositiveBigIntegerField()  # of it: free while a job waited that could use it
    hours = models.PositiveIntegerField()  # hourly readings that tell how busy it was
    busy = models.FloatField()  # their sum; each is 0..1
    memory_hours = models.PositiveIntegerField()  # hourly readings that tell what was used
    used = models.PositiveBigIntegerField()  # their sum
    foreign = models.PositiveBigIntegerField()  # sum of the highest foreign memory of each hour

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_row_a_card_and_day", fields=["day", "device"])
        ]

    def __str__(self) -> str:
        return f"{self.device} on day {self.day}"


class WaitedDay(models.Model):
    """Card time that was free on one day while this job waited that could have used it."""

    job = models.ForeignKey("jobs.Job", on_delete=models.CASCADE, related_name="+")
    day = models.PositiveIntegerField()
    time = models.PositiveBigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_row_a_waiting_job_and_day", fields=["day", "job"])
        ]

    def __str__(self) -> str:
        return f"{self.job} on day {self.day}"


class LedgerState(models.Model):
    """How far the ledger goes; one row."""

    through = models.DateTimeField(null=True)  # what ended before is in it; None: nothing is
    zone = models.CharField(max_length=64)  # the time zone whose midnights it was cut at
    rules = models.PositiveIntegerField()  # which way of counting made it

    def __str__(self) -> str:
        return f"reports through {self.through}"


class OutOfService(models.Model):
    """A stretch of time in which a card took no jobs, drained or with a fault; noted once a minute."""

    device = models.ForeignKey("gpus.Device", on_delete=models.CASCADE, related_name="+")
    begun = models.DateTimeField()
    ended = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="one_open_outage_a_card", fields=["device"], condition=Q(ended__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"{self.device} from {self.begun} to {self.ended}"
