"""What people can be told, and what they may choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from jobs.models import Job


class Kind(StrEnum):
    """One kind of notification; each can be switched off by itself."""

    STARTED = "started"
    ENDED = "ended"
    PAUSED = "paused"
    PREEMPTED = "preempted"
    RETRIED = "retried"
    SOON = "soon"
    IDLE = "idle"
    QUOTA = "quota"


LABELS: dict[str, Promise] = {
    Kind.STARTED: _("a job has started"),
    Kind.ENDED: _("a job has ended, with its cause"),
    Kind.PAUSED: _("somebody else paused a job"),
    Kind.PREEMPTED: _("a job makes room for another one"),
    Kind.RETRIED: _("an attempt has ended, the job is tried again"),
    Kind.SOON: _("a job is about to start"),
    Kind.IDLE: _("a job keeps a card idle"),
    Kind.QUOTA: _("this month's GPU-hours are nearly used up"),
}

FOLDABLE = frozenset({Kind.STARTED, Kind.ENDED, Kind.PAUSED, Kind.PREEMPTED, Kind.RETRIED})
"""Kinds that come in bursts: many of them become one line, "1,000 jobs ended: 990 succeeded, 10 failed"."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something that happened. Its sentence is made later, for each reader."""

    kind: Kind
    key: str  # of what happened: the same fact told again is not told twice
    at: datetime
    project: int  # primary key
    users: frozenset[int]  # whom it concerns, by primary key
    job: Job | None = None
    actor: int | None = None  # who did it: people are not told what they did themselves
    data: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
