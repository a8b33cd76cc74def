"""Database and latest readings -> the frozen `Snapshot` that one cycle decides from.

Reads only, in a fixed number of queries.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Prefetch, Sum
from django.utils import timezone

from gpus import readings
from gpus.attribution import charge
from gpus.models import Device
from jobs import sitesettings
from jobs.core.jobspec import JobSpec
from jobs.core.snapshot import DeviceView, JobView, Limits, ProjectView, Snapshot
from jobs.core.states import Priority
from jobs.models import Allocation, Job, Project, Quota, User
from jobs.sitesettings import SiteSettings

STALE_AFTER = timedelta(seconds=readings.STALE_AFTER)
"""A card whose latest reading is older admits nothing."""

_MIB = 1024 * 1024
_SAFETY_FLOOR = 600 * _MIB
_SAFETY_SHARE = 0.02


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A snapshot, and the rows behind its ids."""

    snapshot: Snapshot
    devices: Mapping[str, Device]  # by UUID
    jobs: Mapping[str, Job]  # queued ones, by id


def take() -> Picture:
    """The picture of now."""
    now = timezone.now()
    values = sitesettings.current()
    devices = list(_devices())
    queued = list(Job.objects.queued().in_queue_order().select_related("project", "owner"))
    snapshot = Snapshot(
        now=now.timestamp(),
        devices=tuple(device_view(device, values, now) for device in devices),
        queued=tuple(job_view(job) for job in queued),
        projects=_projects(),
        holding=Job.objects.with_attempt().count(),
        max_workers=values.max_workers,
        agents_fresh=any(_is_fresh(device.read_at, now) for device in devices),
    )
    return Picture(
        snapshot=snapshot,
        devices={device.uuid: device for device in devices},
        jobs={job.pk: job for job in queued},
    )


def device_views() -> tuple[DeviceView, ...]:
    """The cards as placement would see them now."""
    now, values = timezone.now(), sitesettings.current()
    return tuple(device_view(device, values, now) for device in _devices())


def safety(total: int) -> int:
    """What is kept free on a card of `total` bytes, for contexts and the driver: 2 %, at least 600 MiB."""
    return min(total, max(_SAFETY_FLOOR, int(total * _SAFETY_SHARE)))


def device_view(device: Device, values: SiteSettings, now: datetime) -> DeviceView:
    """One card; its open allocations must have been fetched (`_devices`)."""
    open_ones: list[Allocation] = device.open_allocations  # type: ignore[attr-defined] # by _devices
    mode = device.mode or values.mode
    fresh = _is_fresh(device.read_at, now) and not device.fault
    alone = mode == Device.Mode.EXCLUSIVE
    return DeviceView(
        uuid=device.uuid,
        node=device.node.name,
        index=device.index,
        name=device.name,
        total=device.memory_total,
        safety=safety(device.memory_total),
        foreign=device.foreign,
        booked=sum(charge(each.booked, each.peak) for each in open_ones),
        measured_free=_measured_free(device) if fresh else None,
        threshold=values.threshold(mode),
        holders=len(open_ones),
        max_holders=1 if alone else values.max_jobs_per_card,
        exclusive=any(each.exclusive for each in open_ones),
        drained=device.drained,
        drain_reason=device.drain_reason,
    )


def job_view(job: Job) -> JobView:
    """One job as policies and placement see it."""
    est_time = job.spec.get("est_time")
    return JobView(
        id=job.pk,
        task_id=job.task_id,
        project=job.project.slug,
        user=job.owner.username,
        priority=Priority(job.priority),
        submitted_at=job.submitted_at.timestamp(),
        min_memory=job.min_memory,
        gpus=job.gpus,
        nodes=job.spec.get("resources", {}).get("nodes", 1),
        gpu_type=job.gpu_type or None,
        exclusive=job.exclusive,
        preemptible=job.preemptible,
        est_time=math.inf if est_time is None else est_time,
        attempts=job.epoch,
        not_before=job.not_before.timestamp() if job.not_before else None,
    )


def spec_view(spec: JobSpec, user: User, project: Project) -> JobView:
    """A job that is not stored yet, as placement would see it."""
    return JobView(
        id="",
        task_id=spec.task_id,
        project=project.slug,
        user=user.username,
        priority=spec.priority,
        submitted_at=timezone.now().timestamp(),
        min_memory=spec.resources.min_memory or 0,
        gpus=spec.resources.gpus,
        nodes=spec.resources.nodes,
        gpu_type=spec.resources.gpu_type,
        exclusive=spec.resources.exclusive,
        preemptible=bool(spec.preemptible),
        est_time=math.inf if spec.est_time is None else spec.est_time,
    )


def _devices() -> Iterable[Device]:
    return (
        Device.objects.select_related("node")
        .prefetch_related(
            Prefetch("allocations", queryset=Allocation.objects.open(), to_attr="open_allocations")
        )
        .order_by("node__name", "index")
    )


def _is_fresh(read_at: datetime | None, now: datetime) -> bool:
    return read_at is not None and now - read_at <= STALE_AFTER


def _measured_free(device: Device) -> int | None:
    if device.used is None:
        return None
    return max(0, device.memory_total - device.used)


def _projects() -> dict[str, ProjectView]:
    held = _held_by_project()
    quotas = {quota.project_id: quota for quota in Quota.objects.filter(user=None)}
    return {
        project.slug: _project_view(project, quotas.get(project.pk), held[project.pk])
        for project in Project.objects.all()
    }


def _held_by_project() -> dict[int, dict[str, int]]:
    rows = (
        Allocation.objects.open()
        .values("attempt__job__project")
        .annotate(cards=Count("pk"), memory=Sum("booked"), running=Count("attempt", distinct=True))
    )
    nothing = {"cards": 0, "memory": 0, "running": 0}
    held: dict[int, dict[str, int]] = defaultdict(lambda: dict(nothing))
    for row in rows:
        held[row["attempt__job__project"]] = {
            "cards": row["cards"],
            "memory": row["memory"],
            "running": row["running"],
        }
    return held


def _project_view(project: Project, quota: Quota | None, held: Mapping[str, int]) -> ProjectView:
    return ProjectView(
        slug=project.slug,
        weight=project.weight,
        limit=_limits(quota, "limit"),
        guarantee=_limits(quota, "guarantee"),
        **held,
    )


def _limits(quota: Quota | None, kind: str) -> Limits:
    if quota is None:
        return Limits()
    return Limits(
        cards=getattr(quota, f"{kind}_cards"),
        memory=getattr(quota, f"{kind}_memory"),
        running=getattr(quota, f"{kind}_running"),
        gpu_hours_month=getattr(quota, f"{kind}_gpu_hours"),
    )
