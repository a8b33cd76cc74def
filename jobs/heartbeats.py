"""Proofs of life of the services, and how old each may get before it counts as dead."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from jobs.models import Heartbeat

DISPATCHER, AGENT, BACKGROUND = "dispatcher", "agent", "background"

MAX_AGE = {
    DISPATCHER: timedelta(seconds=5),
    AGENT: timedelta(seconds=5),
    BACKGROUND: timedelta(seconds=150),  # django-q2 looks at its schedules every half minute only
}


@dataclass(frozen=True, kw_only=True)
class Life:
    """Whether a service lives; `at` is its last proof, None where there never was one."""

    name: str
    at: datetime | None
    fresh: bool


def beat(name: str, **detail: Any) -> None:
    """This process shows that it lives. An agent adds its node: `agent:<node>`."""
    Heartbeat.objects.update_or_create(
        name=name, defaults={"at": timezone.now(), "pid": os.getpid(), "detail": detail}
    )


def lives() -> list[Life]:
    """Every service that must run, and every agent that ever reported."""
    beats = {row.name: row.at for row in Heartbeat.objects.all()}
    names = {DISPATCHER, BACKGROUND} | ({n for n in beats if n.startswith(AGENT)} or {AGENT})
    now = timezone.now()
    return [_life(name, beats.get(name), now) for name in sorted(names)]


def _life(name: str, at: datetime | None, now: datetime) -> Life:
    oldest = MAX_AGE[name.partition(":")[0]]
    return Life(name=name, at=at, fresh=at is not None and now - at <= oldest)
