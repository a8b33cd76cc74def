"""Jobs, their attempts and bookings, and the event rows from which history and reports are computed.

`state`, `outcome` and what hangs on them are written by `jobs/lifecycle.py` alone.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from jobs.core.states import ACTIVE, JobState, Outcome, Priority
from jobs.models.ids import public_id
from jobs.querysets import AllocationQuerySet, AttemptQuerySet, JobQuerySet

STATE_CHOICES = [(state.value, state.value) for state in JobState]
OUTCOME_CHOICES = [(outcome.value, outcome.value) for outcome in Outcome]


class Job(models.Model):
    """A command that somebody wants run, with its needs; lives until it succeeds, fails or is cancelled."""

    class PriorityLabel(models.IntegerChoices):
        LOW = Priority.LOW.value, _("low")
        MEDIUM = Priority.MEDIUM.value, _("medium")
        HIGH = Priority.HIGH.value, _("high")

    id = models.CharField(primary_key=True, max_length=12, default=public_id, editable=False)
    project = models.ForeignKey("jobs.Project", on_delete=models.PROTECT, related_name="jobs")
    owner = models.ForeignKey("jobs.User", on_delete=models.PROTECT, related_name="jobs")
    task_id = models.CharField(max_length=64)
    run = models.PositiveIntegerField(default=1)
    priority = models.PositiveSmallIntegerField(choices=PriorityLabel, default=PriorityLabel.MEDIUM)

    # what was asked for; `spec` is the whole task in canonical form, the others are its parts that queries need
    spec = models.JSONField()
    content_hash = models.CharField(max_length=64)
    min_memory = models.PositiveBigIntegerField()  # bytes a card
    gpus = models.PositiveIntegerField(default=1)  # on each machine
    nodes = models.PositiveIntegerField(default=1)  # machines
    gpu_type = models.CharField(max_length=96, blank=True)
    exclusive = models.BooleanField(default=False)
    preemptible = models.BooleanField(default=False)
    est_time = models.FloatField(null=True, blank=True)  # seconds, as its owner said
    time_limit = models.FloatField(null=True, blank=True)  # seconds that one attempt may run
    template = models.CharField(
        max_length=64, blank=True
    )  # the same for jobs of the same kind: jobs/core/template.py
    memory_kind = models.CharField(
        max_length=64, blank=True
    )  # the same for jobs that need the same memory: jobs/core/estimate/kind.py
    datasets = models.ManyToManyField("jobs.Dataset", related_name="jobs", blank=True)
    cloned_from = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="clones"
    )
    door = models.CharField(max_length=12, blank=True)  # form, api, submit: how it came in

    # where it is
    state = models.CharField(max_length=10, choices=STATE_CHOICES, default=JobState.QUEUED)
    state_since = models.DateTimeField()
    submitted_at = models.DateTimeField()
    not_before = models.DateTimeField(null=True, blank=True)  # back-off after a failed attempt
    started_at = models.DateTimeField(null=True, blank=True)  # of the first attempt
    finished_at = models.DateTimeField(null=True, blank=True)
    epoch = models.PositiveIntegerField(
        default=0
    )  # number of the latest attempt: the fencing token
    service = models.FloatField(default=0)  # weighted GPU-seconds that its ended attempts have had
    hold_by_admin = models.BooleanField(default=False)
    wait_code = models.CharField(max_length=24, blank=True)
    wait_numbers = models.JSONField(default=dict, blank=True)

    # how it ended
    outcome = models.CharField(max_length=10, choices=OUTCOME_CHOICES, blank=True)
    reason = models.CharField(max_length=24, blank=True)
    detail = models.TextField(blank=True)  # one sentence for people
    exit_code = models.IntegerField(null=True, blank=True)

    # how far it is: step, total, loss, rate, eta_s, at; written by jobs/progress.py
    progress = models.JSONField(default=dict, blank=True)
    colour = models.PositiveSmallIntegerField(null=True, blank=True)  # slot of the job palette

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering: ClassVar[list[str]] = ["-submitted_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_job_a_run", fields=["project", "task_id", "run"]),
            models.UniqueConstraint(
                name="one_active_job_a_task_id",
                fields=["project", "task_id"],
                condition=Q(state__in=sorted(ACTIVE)),
            ),
            models.CheckConstraint(
                name="an_ended_job_has_its_time",
                condition=Q(state__in=sorted(ACTIVE), finished_at__isnull=True)
                | (~Q(state__in=sorted(ACTIVE)) & Q(finished_at__isnull=False)),
            ),
        ]
        indexes: ClassVar = [
            models.Index(name="job_queue", fields=["state", "-priority", "submitted_at"]),
            models.Index(name="job_newest_of_project", fields=["project", "-submitted_at"]),
            models.Index(name="job_newest_of_template", fields=["template", "-finished_at"]),
            models.Index(name="job_newest_of_memory_kind", fields=["memory_kind", "-finished_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.task_id}#{self.run}"

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.state in ACTIVE

    @property
    def open_attempt(self) -> Attempt | None:
        """Its attempt that has not ended, if any."""
        return self.attempts.filter(ended_at__isnull=True).first()

    @property
    def is_frozen(self) -> bool:
        """Whether it is suspended and keeps its memory on its cards."""
        attempt = self.open_attempt if self.state == JobState.SUSPENDED else None
        return attempt is not None and attempt.swap != Swap.SWAPPED


class Swap(models.TextChoices):
    """Where an attempt is with moving its memory between its card and main memory: jobs/swapping.py."""

    NO = "", _("not swapped")
    OUT = "out", _("on its way out")
    UNDO = "undo", _("taken back, because the card was not seen free")
    SWAPPED = "swapped", _("in main memory")
    BACK = "back", _("on its way back")
    BROKEN = "broken", _("did not come back")
    FAILED = "failed", _("not tried again")


class Attempt(models.Model):
    """One run of a job's processes, from the booking of memory to one outcome."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    node = models.ForeignKey("gpus.Node", on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=OUTCOME_CHOICES, blank=True)
    reason = models.CharField(max_length=24, blank=True)
    detail = models.TextField(blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    exit_signal = models.IntegerField(null=True, blank=True)
    containment = models.CharField(
        max_length=200, blank=True
    )  # how its process tree is held together
    cap = models.CharField(
        max_length=8, blank=True
    )  # what keeps it within its booking, if anything
    swap = models.CharField(max_length=8, choices=Swap, blank=True)
    resumed_at = models.DateTimeField(null=True, blank=True)  # when it was given its card back
    stop_for = models.CharField(
        max_length=10, choices=OUTCOME_CHOICES, blank=True
    )  # the outcome that whoever told it to stop wants
    stuck_since = models.DateTimeField(null=True, blank=True)  # its processes could not be ended
    saved_at = models.DateTimeField(null=True, blank=True)  # when its last checkpoint was complete
    saves_itself = models.BooleanField(
        default=False
    )  # its training writes a checkpoint when it is told to end
    preempted_for = models.CharField(
        max_length=12, blank=True
    )  # the job that it makes room for, by public id
    lost_seconds = models.FloatField(
        null=True, blank=True
    )  # GPU-seconds of work that its preemption threw away
    alone_rate = models.FloatField(
        null=True, blank=True
    )  # steps a second while nobody else was on its card; None: not measured

    # written by jobs/idling.py
    idle_kind = models.CharField(max_length=8, blank=True)  # idle or hangs, where it was warned of
    idle_since = models.DateTimeField(null=True, blank=True)  # since when it has done nothing
    idle_warned_at = models.DateTimeField(null=True, blank=True)
    idle_kept_until = models.DateTimeField(null=True, blank=True)  # its owner wants no warning
    idle_suspended_at = models.DateTimeField(null=True, blank=True)  # told to give its cards back

    objects = AttemptQuerySet.as_manager()

    class Meta:
        ordering: ClassVar[list[str]] = ["job", "number"]
        constraints: ClassVar = [
            models.UniqueConstraint(name="one_attempt_a_number", fields=["job", "number"]),
            models.UniqueConstraint(
                name="one_open_attempt_a_job", fields=["job"], condition=Q(ended_at__isnull=True)
            ),
            models.CheckConstraint(
                name="an_ended_attempt_has_an_outcome",
                condition=Q(ended_at__isnull=True, outcome="")
                | (Q(ended_at__isnull=False) & ~Q(outcome="")),
            ),
        ]
        indexes: ClassVar = [
            models.Index(name="open_attempts", fields=["node"], condition=Q(ended_at__isnull=True)),
            models.Index(name="ended_attempts", fields=["ended_at"]),
            models.Index(
                name="suspended_attempts",
                fields=["ended_at"],
                condition=Q(outcome=Outcome.SUSPENDED.value),
            ),
            models.Index(
                name="preempted_attempts",
                fields=["ended_at"],
                condition=Q(outcome=Outcome.PREEMPTED.value),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job_id}-{self.number}"

    @property
    def token(self) -> str:
        """The fencing token `job-epoch`."""
        return f"{self.job_id}-{self.number}"


class Allocation(models.Model):
    """Memory of one card, given to one attempt until the attempt's processes are known to be dead."""

    key = models.CharField(max_length=12, unique=True, default=public_id, editable=False)
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="allocations")
    device = models.ForeignKey("gpus.Device", on_delete=models.PROTECT, related_name="allocations")
    booked = models.PositiveBigIntegerField()  # bytes
    asked = models.PositiveBigIntegerField(null=True, blank=True)  # bytes booked at the start
    peak = models.PositiveBigIntegerField(null=True, blank=True)  # most ever measured, bytes
    over_since = models.DateTimeField(null=True, blank=True)  # it is measured above its booking
    # the latest measurement while its job gives its cards back, and its time
    measured = models.PositiveBigIntegerField(null=True, blank=True)
    measured_at = models.DateTimeField(null=True, blank=True)
    steady_peak = models.PositiveBigIntegerField(null=True, blank=True)  # has hardly grown since
    steady_since = models.DateTimeField(null=True, blank=True)
    steady_step = models.PositiveBigIntegerField(null=True, blank=True)  # of the training then
    exclusive = models.BooleanField(default=False)
    sm_share = models.FloatField(
        default=0
    )  # learned SM demand that its start counted with, 0..1; 0: not learned
    created_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)

    objects = AllocationQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                name="one_allocation_a_card_and_attempt",
                fields=["attempt", "device"],
                condition=Q(released_at__isnull=True),
            ),
            models.UniqueConstraint(
                name="one_exclusive_allocation_a_card",
                fields=["device"],
                condition=Q(exclusive=True, released_at__isnull=True),
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                name="open_allocations", fields=["device"], condition=Q(released_at__isnull=True)
            ),
            models.Index(name="released_allocations", fields=["released_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.booked} bytes of {self.device} for {self.attempt}"

    @property
    def was_asked(self) -> int:
        """What was booked at the start, in bytes."""
        return self.booked if self.asked is None else self.asked

    @property
    def allowed(self) -> int:
        """Bytes that the job may use: what was booked at the start, though that may have shrunk since, or grown."""
        return max(self.booked, self.was_asked)


class JobEvent(models.Model):
    """One recorded change: who, when, from where, to where, and why. Never changed, never deleted."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    attempt = models.ForeignKey(
        Attempt, on_delete=models.CASCADE, null=True, blank=True, related_name="events"
    )
    at = models.DateTimeField()
    actor = models.ForeignKey(
        "jobs.User", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )  # None: the scheduler itself
    kind = models.CharField(max_length=24)  # the verb of jobs/lifecycle.py
    old_state = models.CharField(max_length=10, blank=True)
    new_state = models.CharField(max_length=10)
    reason = models.CharField(max_length=24, blank=True)
    detail = models.TextField(blank=True)
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["id"]
        indexes: ClassVar = [models.Index(name="event_time", fields=["at"])]

    def __str__(self) -> str:
        return f"{self.job}: {self.kind} {self.old_state} -> {self.new_state}"
