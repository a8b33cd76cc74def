"""What no event row tells and somebody has to look for: jobs that start soon, and quotas that are nearly used up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.utils import timezone

from jobs import queuestate
from jobs.core.snapshot import Limits, Snapshot
from jobs.models import Job, Membership, Project
from jobs.notify.kinds import Fact, Kind
from jobs.notify.telling import tell

SOON = timedelta(minutes=10)
WAITED = timedelta(minutes=10)
"""Whoever has just handed a job in need not be told when it starts."""

NEARLY = (0.8, 1.0)
"""Shares of a month's GPU-hours at which people are told."""

_HOUR = 3600.0


def look(now: datetime) -> None:
    """Tell what is found. Safe to repeat: each start and each share of a month is told once."""
    head = queuestate.current().head().snapshot
    tell([*_starts(head, now), *_quotas(head, now)], now)


def _starts(head: Snapshot, now: datetime) -> Iterator[Fact]:
    forecast = queuestate.current().forecast() if head.queued else None
    if forecast is None:
        return
    soon = {
        job_id: expected.at
        for job_id, expected in forecast.expected.items()
        if now.timestamp() < expected.at <= (now + SOON).timestamp()
    }
    waiting = Job.objects.queued().filter(pk__in=list(soon), state_since__lt=now - WAITED)
    for job in waiting:
        at = datetime.fromtimestamp(soon[job.pk], timezone.get_default_timezone())
        yield Fact(
            kind=Kind.SOON,
            key=f"soon:{job.pk}:{job.epoch}",
            at=now,
            project=job.project_id,
            users=frozenset({job.owner_id}),
            job=job,
            data={"expected": at.isoformat()},
        )


def _quotas(head: Snapshot, now: datetime) -> Iterator[Fact]:
    projects = {project.slug: project for project in Project.objects.all()}
    for slug, view in head.projects.items():
        project = projects.get(slug)
        if project is None:
            continue
        held = {name: _running_hours(head, slug, view.month_began, name) for name in view.users}
        whole = view.gpu_hours_month + _running_hours(head, slug, view.month_began, None)
        yield from _quota(project, "", whole, view.limit, now)
        for name, person in view.users.items():
            used = person.gpu_hours_month + held[name]
            yield from _quota(project, name, used, person.limit, now)


def _quota(
    project: Project, user: str, used: float, limit: Limits, now: datetime
) -> Iterator[Fact]:
    hours = limit.gpu_hours_month
    reached = [share for share in NEARLY if hours and used >= share * hours]
    if not reached:
        return
    people = project.memberships.filter(role=Membership.Role.LEAD)
    if user:
        people = project.memberships.filter(user__username=user)
    yield Fact(
        kind=Kind.QUOTA,
        key=f"quota:{project.pk}:{user[:30]}:{timezone.localtime(now):%Y-%m}:{reached[-1]:.0%}",
        at=now,
        project=project.pk,
        users=frozenset(people.values_list("user", flat=True)),
        data={"project": project.slug, "user": user, "used": round(used, 1), "limit": hours},
    )


def _running_hours(head: Snapshot, slug: str, month_began: float, user: str | None) -> float:
    """What the running jobs add to the month, of one person or of all."""
    return sum(
        max(0.0, head.now - max(run.started_at, month_began)) * len(run.placements) / _HOUR
        for run in head.running
        if run.job.project == slug and user in {None, run.job.user}
    )
