"""Rows for tests of the data layer: one cast of people, cards of known size, jobs that need little said."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from gpus.models import Device, Node
from jobs import lifecycle
from jobs.core.states import JobState, Outcome, Priority
from jobs.models import Allocation, Attempt, Job, Membership, Project, User
from jobs.projects import default_project, join

GIB = 1024**3


def a_user(name: str = "member", *, role: str | None = Membership.Role.MEMBER) -> User:
    """A person; with a role in the project `default` unless `role` is None."""
    user, _ = User.objects.get_or_create(username=name)
    if role:
        join(user, default_project(), role)
    return user


def an_admin(name: str = "admin") -> User:
    user, _ = User.objects.get_or_create(
        username=name, defaults={"is_superuser": True, "is_staff": True}
    )
    return user


def a_node(name: str = "node-a") -> Node:
    return Node.objects.get_or_create(name=name)[0]


def a_device(
    index: int = 0,
    *,
    name: str = "NVIDIA A100-SXM4-80GB",
    total: int = 80 * GIB,
    node: Node | None = None,
    used: int | None = 0,
    age: float = 0.0,
    **fields: object,
) -> Device:
    """A card whose latest reading is `age` seconds old."""
    return Device.objects.create(
        uuid=f"GPU-test-{index}",
        node=node or a_node(),
        index=index,
        name=name,
        memory_total=total,
        used=used,
        read_at=timezone.now() - timedelta(seconds=age),
        **fields,
    )


def a_job(
    task_id: str = "job-1",
    *,
    owner: User | None = None,
    project: Project | None = None,
    memory: int = 14 * GIB,
    priority: Priority = Priority.MEDIUM,
    run: int = 1,
    **spec: object,
) -> Job:
    """A queued job that runs `true`, made by the one writer."""
    canonical = {
        "task_id": task_id,
        "priority": priority.name.lower(),
        "resources": {"min_memory": memory, "gpus": 1, "nodes": 1, "exclusive": False},
        "command": "true",
        "max_attempts": 3,
        "retry_on": ["lost"],
    } | spec
    owner = owner or a_user()
    job = Job(
        owner=owner,
        project=project or default_project(),
        task_id=task_id,
        run=run,
        priority=priority,
        spec=canonical,
        content_hash="0" * 64,
        min_memory=memory,
        gpus=canonical["resources"]["gpus"],
        nodes=canonical["resources"]["nodes"],
        est_time=canonical.get("est_time"),
        time_limit=canonical.get("time_limit"),
    )
    lifecycle.submit(job, owner)
    return job


def a_started_job(
    task_id: str = "job-1", *, device: Device, **fields: object
) -> tuple[Job, Attempt]:
    """A job in STARTING with its attempt."""
    job = a_job(task_id, **fields)
    attempt = lifecycle.start(job, device.node, [(device, job.min_memory)])
    assert attempt is not None
    return job, attempt


def a_running_job(
    task_id: str = "job-1", *, device: Device, **fields: object
) -> tuple[Job, Attempt]:
    """A job in RUNNING with its attempt."""
    job, attempt = a_started_job(task_id, device=device, **fields)
    assert lifecycle.mark_running(attempt, started_at=timezone.now(), containment="tag")
    assert job.refresh_from_db() is None
    assert job.state == JobState.RUNNING
    return job, attempt


def a_past_run(
    task_id: str = "past",
    *,
    device: Device,
    begun: datetime,
    ended: datetime,
    memory: int = 14 * GIB,
    outcome: Outcome = Outcome.SUCCEEDED,
    owner: User | None = None,
    project: Project | None = None,
    template: str = "",
    number: int = 1,
    job: Job | None = None,
    **booking: object,
) -> Attempt:
    """An attempt that ran on one card from `begun` to `ended`; written as rows, because its times are past ones."""
    job = job or Job.objects.create(
        owner=owner or a_user(),
        project=project or default_project(),
        task_id=task_id,
        run=Job.objects.filter(task_id=task_id).count() + 1,
        spec={},
        content_hash="0" * 64,
        min_memory=memory,
        template=template,
        epoch=number,
        state=JobState.SUCCEEDED,
        outcome=Outcome.SUCCEEDED,
        submitted_at=begun,
        state_since=ended,
        finished_at=ended,
    )
    attempt = Attempt.objects.create(
        job=job,
        number=number,
        node=device.node,
        created_at=begun,
        started_at=begun,
        ended_at=ended,
        outcome=outcome,
    )
    Allocation.objects.create(
        attempt=attempt,
        device=device,
        booked=memory,
        created_at=begun,
        released_at=ended,
        **booking,
    )
    return attempt
