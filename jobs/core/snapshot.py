"""The frozen picture of one instant that the scheduler reads: cards, waiting and running jobs, projects.

Sizes are bytes, times are seconds (instants: since the epoch). `None` means "cannot tell"; zero means zero.
Usage and service are weighted GPU-seconds: seconds on a card x the card's weight x the share of the card that is held.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from jobs.core.plan import Placement
from jobs.core.scheduling.rules import Rules
from jobs.core.states import Priority

SUSPEND_SECONDS = 60.0
"""What suspending a job costs where none of its kind has been suspended yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceView:
    """One card as placement sees it."""

    uuid: str
    node: str
    index: int
    name: str  # the model name that `gpu_type` is matched with
    total: int
    safety: int  # kept free on every card, for contexts and the driver
    foreign: int = 0  # measured memory that is not ours: other people, ghosts
    booked: int = 0  # sum over our open attempts of max(booked, measured peak x margin)
    measured_free: int | None = None  # of the latest reading; None (stale) admits nothing
    threshold: float = 0.9  # share of `total` above which nothing more is placed
    holders: int = 0  # open attempts of ours on this card, frozen ones included
    max_holders: int | None = 8
    exclusive: bool = False  # an attempt of ours holds the whole card
    weight: float = 1.0  # what an hour on this card costs, relative to others
    busy: float = (
        0.0  # sum of the learned SM demands of the jobs on it (1.0: one job that fills it)
    )
    max_busy: float | None = None  # where that sum ends; None: no cap
    drained: bool = False
    drain_reason: str = ""

    @property
    def planned(self) -> int:
        """Memory that is spoken for: foreign + safety + bookings."""
        return self.foreign + self.safety + self.booked

    @property
    def free(self) -> int:
        """What bookings leave: total - safety - foreign - booked, never below zero."""
        return max(0, self.total - self.planned)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeView:
    """What a machine offers beside its cards; a machine without a view sets no limit."""

    name: str
    cpus: int  # thousandths of a core, not yet given away
    host_memory: int  # bytes, not yet given away


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """One job, immutable: what a policy orders and placement places."""

    id: str  # the public id
    task_id: str
    project: str
    user: str
    priority: Priority
    submitted_at: float
    min_memory: int  # per card
    gpus: int = 1  # on each machine
    nodes: int = 1
    gpu_type: str | None = None
    exclusive: bool = False
    preemptible: bool = False
    est_time: float = math.inf  # as its owner said; always comparable: infinity when unknown
    attempts: int = 0  # attempts made so far
    not_before: float | None = None  # waits out a back-off after a failed attempt
    waiting_since: float | None = (
        None  # since when it queues this time; None: since it was handed in
    )
    expected_run: float = (
        math.inf
    )  # seconds that it would still run, by progress, estimate or history
    sm_share: float = 0.0  # learned SM demand on each card when alone, 0..1; 0: not learned
    service: float = 0.0  # what its ended attempts have had
    preemptions: int = 0  # times that it was preempted within `Rules.preemption_window`
    suspend_seconds: float = SUSPEND_SECONDS  # what suspending and resuming it costs
    saves_itself: bool = (
        False  # it writes a checkpoint when it is told to suspend, and loses no work
    )
    host_cpus: int = 0  # thousandths of a core, on each machine
    host_memory: int = 0  # bytes of main memory, on each machine

    @property
    def cards(self) -> int:
        """All its cards together."""
        return self.gpus * self.nodes

    @property
    def queued_at(self) -> float:
        """Since when it waits this time."""
        return self.submitted_at if self.waiting_since is None else self.waiting_since

    @property
    def run_time(self) -> float:
        """Seconds that it is expected to run once it starts; infinity where nobody can tell."""
        return self.est_time if math.isinf(self.expected_run) else self.expected_run


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """A job that holds cards now, frozen ones included."""

    job: JobView
    placements: tuple[Placement, ...]  # with what it is charged on each card
    started_at: float
    expected_end: float = math.inf
    saved_at: float | None = (
        None  # its last checkpoint; None: it would start again from its beginning
    )
    frozen: bool = False
    leaving: bool = False  # it has been told to give its cards back
    leaving_for: str = ""  # the job for which it was preempted


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """A hard cap, or the guarantee below it; None means none."""

    cards: int | None = None
    memory: int | None = None
    running: int | None = None
    gpu_hours_month: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UserView:
    """One person in one project: quota and what was used. What the running jobs hold is not in these figures."""

    name: str
    limit: Limits = Limits()
    usage: float = 0.0  # decayed, of ended attempts
    gpu_hours_month: float = 0.0  # of ended attempts


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectView:
    """A project's quota, share and past usage. What its running jobs hold is counted from them, not told here."""

    slug: str
    limit: Limits = Limits()
    guarantee: Limits = Limits()
    weight: float = 1.0
    usage: float = 0.0  # decayed, of ended attempts
    gpu_hours_month: float = 0.0  # of ended attempts
    month_began: float = 0.0  # running jobs count towards the month from here
    users: Mapping[str, UserView] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Everything one cycle decides from; `now` is a field because the core reads no clock."""

    now: float
    devices: tuple[DeviceView, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    queued: tuple[JobView, ...] = ()  # eligible only: not held, dependencies met
    running: tuple[RunView, ...] = ()
    projects: Mapping[str, ProjectView] = field(default_factory=lambda: MappingProxyType({}))
    max_workers: int | None = None  # the most jobs that may hold a card, site-wide
    most_nodes: int | None = 1  # the most machines that one job may span; None: no limit
    agents_fresh: bool = True  # whether any node's agent has reported lately
    rules: Rules = field(default_factory=Rules)
