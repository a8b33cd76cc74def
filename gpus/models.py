"""Nodes, their cards, and what was read from them. Sizes are bytes; `None` means "the card cannot tell".

Readings are written by `gpus/sampler.py` alone; bookings by the jobs' side, in the transaction that makes or
ends an allocation.
"""

from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Node(models.Model):
    """One machine that runs attempts."""

    name = models.CharField(max_length=253, unique=True)
    boot_id = models.CharField(max_length=64, blank=True)
    driver = models.CharField(max_length=64, blank=True)
    source = models.CharField(max_length=16, blank=True)  # "nvml" or "simulated"
    seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Device(models.Model):
    """One card, known by its UUID; an index may change with a reboot."""

    class Mode(models.TextChoices):
        EXCLUSIVE = "exclusive", _("one job at a time")
        SMART_QUEUE = "smart-queue", _("smart queue")
        DYNAMIC_SHARDING = "dynamic-sharding", _("dynamic sharding")

    uuid = models.CharField(max_length=96, unique=True)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="devices")
    index = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=96)
    memory_total = models.PositiveBigIntegerField()
    memory_reserved = models.PositiveBigIntegerField(default=0)  # the driver's own
    mode = models.CharField(max_length=20, choices=Mode, blank=True)  # empty: the site's mode
    weight = models.FloatField(
        default=1.0,
        validators=[MinValueValidator(0.01)],
        help_text=_("What an hour on this card counts in the fair share, relative to others."),
    )
    drained = models.BooleanField(default=False)
    drain_reason = models.CharField(max_length=200, blank=True)
    booked = models.PositiveBigIntegerField(default=0)  # sum of the open allocations on this card

    # the latest reading
    read_at = models.DateTimeField(null=True, blank=True)
    used = models.PositiveBigIntegerField(null=True, blank=True)
    foreign = models.PositiveBigIntegerField(default=0)  # measured, and not ours
    busy = models.FloatField(null=True, blank=True)  # 0..1: share of the time in which a kernel ran
    temperature = models.FloatField(null=True, blank=True)  # degrees Celsius
    power = models.FloatField(null=True, blank=True)  # watts
    power_limit = models.FloatField(null=True, blank=True)
    fault = models.CharField(max_length=300, blank=True)  # why the card cannot be used, in words

    class Meta:
        ordering = ["node__name", "index"]
        constraints = [
            models.CheckConstraint(
                name="device_never_booked_above_its_memory",
                condition=Q(booked__lte=F("memory_total")),
            ),
            models.CheckConstraint(name="device_weight_is_positive", condition=Q(weight__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.node} gpu{self.index}"


class Reading(models.Model):
    """What a card did in one period of `seconds`, from `start` (seconds since the epoch) on."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="readings")
    seconds = models.PositiveIntegerField()  # 10, 60 or 3600
    start = models.PositiveBigIntegerField()
    samples = models.PositiveIntegerField()
    used_mean = models.PositiveBigIntegerField(null=True)
    used_max = models.PositiveBigIntegerField(null=True)
    foreign_max = models.PositiveBigIntegerField(null=True)
    busy_mean = models.FloatField(null=True)
    power_mean = models.FloatField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="one_reading_a_period", fields=["device", "seconds", "start"]
            )
        ]
        indexes = [models.Index(name="readings_by_period", fields=["seconds", "start"])]

    def __str__(self) -> str:
        return f"{self.device} {self.start}+{self.seconds}s"


class HolderReading(models.Model):
    """The part of one holder (an attempt, to those who know attempts) in a card's period."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+")
    holder = models.CharField(max_length=64)
    seconds = models.PositiveIntegerField()
    start = models.PositiveBigIntegerField()
    samples = models.PositiveIntegerField()
    used_mean = models.PositiveBigIntegerField(null=True)
    used_max = models.PositiveBigIntegerField(null=True)
    busy_mean = models.FloatField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="one_holder_reading_a_period", fields=["holder", "device", "seconds", "start"]
            )
        ]
        indexes = [
            models.Index(name="holder_readings_by_period", fields=["seconds", "start", "device"])
        ]

    def __str__(self) -> str:
        return f"{self.holder} on {self.device} {self.start}+{self.seconds}s"


class Finding(models.Model):
    """Memory of a card that is booked for nobody, for as long as it is seen. Written by the agent alone."""

    class Kind(models.TextChoices):
        FOREIGN = "foreign", _("process outside the queue")
        STRAY = "stray", _("job on a card that is not booked for it")
        ZOMBIE = "zombie", _("dead process that its parent has not released")
        GHOST = "ghost", _("memory without a living process")

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="findings")
    kind = models.CharField(max_length=8, choices=Kind)
    pid = models.PositiveIntegerField(default=0)  # 0: no process is known
    started = models.PositiveBigIntegerField(
        default=0
    )  # clock ticks since boot; tells a used-again pid
    user = models.CharField(max_length=64, blank=True)
    command = models.CharField(max_length=64, blank=True)
    holder = models.CharField(max_length=64, blank=True)  # of a stray: whose process it is
    memory = models.PositiveBigIntegerField(null=True)  # None: the card does not tell
    since = models.DateTimeField()

    class Meta:
        ordering = ["device__node__name", "device__index", "since", "pk"]
        constraints = [
            models.UniqueConstraint(
                name="one_finding_a_process", fields=["device", "kind", "pid", "started"]
            )
        ]

    def __str__(self) -> str:
        return f"{self.device} {self.kind} {self.pid}"
