"""Jobs that wait for other jobs: let go when the last of these has succeeded."""

from __future__ import annotations

from jobs import lifecycle
from jobs.core.plan import WaitCode
from jobs.core.states import JobState
from jobs.models import Job, Project


def unmet(task_ids: tuple[str, ...] | list[str], project: Project) -> dict[str, str]:
    """The task_ids whose latest run has not succeeded, with the state that it is in ("" where there is none)."""
    latest: dict[str, str] = dict.fromkeys(task_ids, "")
    runs = Job.objects.filter(project=project, task_id__in=task_ids).order_by("run")
    latest |= dict(runs.values_list("task_id", "state"))
    return {name: state for name, state in latest.items() if state != JobState.SUCCEEDED}


def release_the_met() -> None:
    """Queue the jobs whose dependencies are met now, and keep on the others what they still wait for."""
    for job in Job.objects.waiting_for_others().select_related("project"):
        missing = unmet(job.spec.get("depends_on", ()), job.project)
        if not missing:
            lifecycle.release(job)
        elif job.wait_numbers != {"task_ids": missing}:
            lifecycle.explain_hold(job, {"task_ids": missing})


def wait_of(task_ids: tuple[str, ...], project: Project) -> WaitCode | None:
    """Whether a new job must be held for what it depends on."""
    return WaitCode.DEPENDENCY if unmet(task_ids, project) else None
