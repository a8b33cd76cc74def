"""What projects may hold at once, while one cycle decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jobs.core.constraints import Obstacle
from jobs.core.plan import WaitCode
from jobs.core.snapshot import JobView, Limits, ProjectView


class QuotaBooks:
    """The hard limits of all projects, and what their jobs hold; a start counts at once."""

    def __init__(self, projects: Mapping[str, ProjectView]) -> None:
        self._limited = {
            slug: _Account(view) for slug, view in projects.items() if view.limit != Limits()
        }

    def obstacle(self, job: JobView) -> Obstacle | None:
        """Why the job's project may not start it now; None where it may."""
        account = self._limited.get(job.project)
        return account.obstacle(job) if account else None

    def take(self, job: JobView) -> None:
        """Count a job that starts."""
        account = self._limited.get(job.project)
        if account:
            account.take(job)


class _Account:
    def __init__(self, project: ProjectView) -> None:
        self._project = project
        self._used = {
            "cards": project.cards,
            "memory": project.memory,
            "running": project.running,
        }

        self._answers: dict[tuple[int, int], Obstacle | None] = {}  # by cards and memory

    def obstacle(self, job: JobView) -> Obstacle | None:
        asked = (job.gpus * job.nodes, job.min_memory)
        if asked not in self._answers:
            self._answers[asked] = self._find_obstacle(job)
        return self._answers[asked]

    def take(self, job: JobView) -> None:
        self._answers.clear()
        for what, amount in _amounts(job):
            self._used[what] += amount

    def _find_obstacle(self, job: JobView) -> Obstacle | None:
        for what, asked in _amounts(job):
            limit: int | None = getattr(self._project.limit, what)
            if limit is None:
                continue
            if asked > limit:
                numbers = {"what": what, "need": asked, "limit": limit}
                return Obstacle(code=WaitCode.OVER_PROJECT_QUOTA, numbers=numbers)
            if self._used[what] + asked > limit:
                numbers = {"what": what, "used": self._used[what], "limit": limit}
                return Obstacle(code=WaitCode.WAIT_QUOTA, numbers=numbers)
        return self._month_obstacle()

    def _month_obstacle(self) -> Obstacle | None:
        limit, used = self._project.limit.gpu_hours_month, self._project.gpu_hours_month
        if limit is None or used < limit:
            return None
        numbers = {"what": "gpu_hours_month", "used": used, "limit": limit}
        return Obstacle(code=WaitCode.WAIT_QUOTA, numbers=numbers)


def _amounts(job: JobView) -> Iterator[tuple[str, int]]:
    cards = job.gpus * job.nodes
    yield "cards", cards
    yield "memory", cards * job.min_memory
    yield "running", 1
