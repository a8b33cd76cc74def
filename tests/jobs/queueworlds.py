"""Queues for tests of what is told about them, made of rows."""

from __future__ import annotations

from jobs import heartbeats
from jobs.models import Job, Project
from jobs.projects import join
from tests.rows import GIB, a_device, a_job, a_running_job, a_user

HOUR = 3600.0


def a_project(slug: str = "vision") -> Project:
    return Project.objects.get_or_create(slug=slug, defaults={"name": slug.title()})[0]


def a_stranger(name: str = "stranger", project: Project | None = None):
    """A member of another project only."""
    user = a_user(name, role=None)
    join(user, project or a_project())
    return user


def kept_for_another() -> tuple[Job, Job]:
    """A card that is kept for a job of another project, and the job that would fit there: (mine, secret)."""
    heartbeats.beat(heartbeats.DISPATCHER)
    a_running_job("holder", device=a_device(), memory=40 * GIB, est_time=HOUR)
    secret = a_job("secret", owner=a_stranger(), project=a_project(), memory=70 * GIB)
    return a_job("mine", memory=20 * GIB), secret


def behind_one_another(*names: str, est_time: float | None = HOUR) -> list[Job]:
    """Jobs that each need the whole of the one card, which somebody has for another hour."""
    heartbeats.beat(heartbeats.DISPATCHER)
    known = {} if est_time is None else {"est_time": est_time}
    a_running_job("holder", device=a_device(), memory=40 * GIB, **known)
    return [a_job(name, memory=70 * GIB, **known) for name in names]
