"""The frozen picture of one instant that `decide` reads: cards, waiting jobs, projects.

Sizes are bytes, times are seconds (instants: since the epoch). `None` means "cannot tell"; zero means zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from jobs.core.states import Priority


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
class JobView:
    """One job, immutable: what a policy orders and placement places."""

    id: str  # the public id
    task_id: str
    project: str
    user: str
    priority: Priority
    submitted_at: float
    min_memory: int  # per card
    gpus: int = 1
    nodes: int = 1
    gpu_type: str | None = None
    exclusive: bool = False
    preemptible: bool = False
    est_time: float = math.inf  # always comparable: infinity when unknown
    attempts: int = 0  # attempts made so far
    not_before: float | None = None  # waits out a back-off after a failed attempt


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """A hard cap and the guarantee below it, for one project; None means no limit."""

    cards: int | None = None
    memory: int | None = None
    running: int | None = None
    gpu_hours_month: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectView:
    """A project's quota, share, and what its jobs hold now."""

    slug: str
    limit: Limits = Limits()
    guarantee: Limits = Limits()
    weight: float = 1.0
    cards: int = 0
    memory: int = 0
    running: int = 0
    gpu_hours_month: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Everything one cycle decides from; `now` is a field because the core reads no clock."""

    now: float
    devices: tuple[DeviceView, ...] = ()
    queued: tuple[JobView, ...] = ()  # eligible only: not held, dependencies met
    projects: Mapping[str, ProjectView] = field(default_factory=lambda: MappingProxyType({}))
    holding: int = 0  # jobs that hold a card now, frozen ones included
    max_workers: int | None = None  # the most jobs that may hold a card, site-wide
    agents_fresh: bool = True  # whether any node's agent has reported lately
