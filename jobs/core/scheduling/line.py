"""The queue: lanes of equal jobs inside projects, and the order in which their heads are tried.

A *lane* holds the waiting jobs of one person that are of one kind. Only the head of a lane is ever tried: where it
finds no place, none behind it does. So a cycle costs what the lanes cost, not what the jobs cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import TypeVar

from jobs.core.scheduling.keys import Kind, guard_time, static_key
from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import JobView

_Key = TypeVar("_Key")
_GUARD_LOOK = 8  # times as many are looked at as are wanted
_LAST = 1e18  # the rank of a job that a policy has not ranked yet

Head = tuple[int, float, str]  # the step of its owner, its key, its id


class Lane:
    """Waiting jobs of one person and one kind, smallest key first."""

    __slots__ = ("_heap", "jobs", "kind", "project", "user")

    def __init__(self, project: str, user: str, kind: Kind) -> None:
        self.project, self.user, self.kind = project, user, kind
        self.jobs: dict[str, JobView] = {}
        self._heap: list[tuple[float, str]] = []

    def add(self, job: JobView, key: float) -> None:
        """Let a job wait here."""
        self.jobs[job.id] = job
        heappush(self._heap, (key, job.id))

    def head(self) -> tuple[float, JobView] | None:
        """The first job and its key; None where nobody waits."""
        heap, jobs = self._heap, self.jobs
        while heap:
            key, job_id = heap[0]
            job = jobs.get(job_id)
            if job is not None:
                return key, job
            heappop(heap)
        return None

    def rekey(self, key: Callable[[JobView], float]) -> None:
        """Order the jobs by other keys."""
        self._heap = [(key(job), job.id) for job in self.jobs.values()]
        heapify(self._heap)

    def in_order(self) -> list[tuple[float, str]]:
        """Keys and ids, smallest first."""
        return sorted(entry for entry in set(self._heap) if entry[1] in self.jobs)


class ProjectLine:
    """The lanes of one project, and the steps of its people."""

    def __init__(self, slug: str) -> None:
        self.slug = slug
        self.lanes: dict[tuple[str, Kind], Lane] = {}
        self.steps: dict[str, int] = {}
        self.waiting: dict[str, int] = {}  # jobs by person
        self._heads: list[tuple[Head, Lane]] = []
        self._tried: list[Lane] = []
        self._listed: set[int] = set()  # lanes (by identity) that are in `_heads` or `_tried`

    def lane(self, user: str, kind: Kind) -> Lane:
        """The lane of this person and kind."""
        lane = self.lanes.get((user, kind))
        if lane is None:
            lane = self.lanes[user, kind] = Lane(self.slug, user, kind)
        return lane

    def offer(self, lane: Lane) -> None:
        """Have the lane's head tried: it has just become longer, or its head has changed."""
        head = lane.head()
        if head is not None:
            heappush(self._heads, ((self.steps.get(lane.user, 0), head[0], head[1].id), lane))

    def peek(self) -> tuple[Lane, float, JobView] | None:
        """The lane to try next, the key of its head and the head; None where all have been tried."""
        heads = self._heads
        while heads:
            (step, key, job_id), lane = heads[0]
            head = lane.head()
            fresh = (
                head is not None
                and head[1].id == job_id
                and head[0] == key
                and step == self.steps.get(lane.user, 0)
            )
            if fresh and head is not None and id(lane) not in self._listed:
                return lane, key, head[1]
            heappop(heads)
        return None

    def pass_over(self, lane: Lane) -> None:
        """Do not offer this lane again in this cycle."""
        self._listed.add(id(lane))
        self._tried.append(lane)

    def begin(self) -> None:
        """A new cycle: everybody may be tried again."""
        tried, self._tried, self._listed = self._tried, [], set()
        for lane in tried:
            self.offer(lane)

    def set_steps(self, steps: Mapping[str, int]) -> None:
        """Put people where they belong; only what changed costs."""
        if steps != self.steps:
            self.steps = dict(steps)
            self.reorder()

    def reorder(self) -> None:
        """List all heads anew."""
        self._heads, self._tried, self._listed = [], [], set()
        for lane in self.lanes.values():
            self.offer(lane)

    def forget_empty(self, lane: Lane) -> None:
        """Drop a lane in which nobody waits."""
        if not lane.jobs:
            self.lanes.pop((lane.user, lane.kind), None)


class Line:
    """All waiting jobs that are not resting after a failed attempt."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.projects: dict[str, ProjectLine] = {}
        self.kinds: dict[Kind, int] = {}  # how many wait of each kind
        self._lanes: dict[str, Lane] = {}  # by job
        self.ranks: Mapping[str, int] | None = None  # a policy's order
        self._guard: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._lanes)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._lanes

    def __iter__(self) -> Iterator[JobView]:
        return (lane.jobs[job_id] for job_id, lane in self._lanes.items())

    @property
    def has_policy(self) -> bool:
        """Whether a policy has given the order."""
        return self.ranks is not None

    def get(self, job_id: str) -> JobView | None:
        """A waiting job."""
        lane = self._lanes.get(job_id)
        return lane.jobs[job_id] if lane else None

    def lane_of(self, job_id: str) -> Lane:
        """The lane in which the job waits."""
        return self._lanes[job_id]

    def key(self, job: JobView) -> float:
        """What orders the job inside its project: the policy's rank, or its static key."""
        if self.ranks is None:
            return static_key(job, self._rules)
        return float(self.ranks.get(job.id, _LAST))

    def add(self, job: JobView) -> None:
        """Let a job wait, or take over its new values."""
        known = self.get(job.id)
        if known == job:
            return
        self.remove(job.id)
        project = self.projects.get(job.project)
        if project is None:
            project = self.projects[job.project] = ProjectLine(job.project)
        kind = Kind.of(job, self._rules)
        lane = project.lane(job.user, kind)
        lane.add(job, self.key(job))
        self._lanes[job.id] = lane
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        project.waiting[job.user] = project.waiting.get(job.user, 0) + 1
        heappush(self._guard, (guard_time(job, self._rules), job.id))
        if lane.head() == (self.key(job), job):
            project.offer(lane)

    def remove(self, job_id: str) -> JobView | None:
        """Take a job out; None where it did not wait."""
        lane = self._lanes.pop(job_id, None)
        if lane is None:
            return None
        was_head = lane.head()
        job = lane.jobs.pop(job_id)
        project = self.projects[lane.project]
        _count_down(self.kinds, lane.kind)
        _count_down(project.waiting, lane.user)
        if was_head is not None and was_head[1] is job:
            project.offer(lane)
        project.forget_empty(lane)
        return job

    def rank(self, ranks: Mapping[str, int] | None) -> None:
        """Order by a policy's ranks from here on; None: by the static keys."""
        if ranks == self.ranks:
            return
        self.ranks = ranks
        for project in self.projects.values():
            for lane in project.lanes.values():
                lane.rekey(self.key)
            project.reorder()

    def overdue(self, now: float, most: int, is_of_use: Callable[[JobView], bool]) -> list[JobView]:
        """The jobs that have waited too long and could start, at most so many, the longest first."""
        seen: list[tuple[float, str]] = []
        found: dict[str, JobView] = {}
        while self._guard and self._guard[0][0] <= now and len(seen) < _GUARD_LOOK * most:
            entry = heappop(self._guard)
            job = self.get(entry[1])
            if job is None or guard_time(job, self._rules) != entry[0]:
                continue
            seen.append(entry)
            if is_of_use(job):
                found[job.id] = job
            if len(found) == most:
                break
        for entry in seen:
            heappush(self._guard, entry)
        return list(found.values())

    def next_guard(self, now: float) -> float:
        """When the next job will have waited too long; infinity where none will."""
        return min((at for at, _job in self._guard[:1] if at > now), default=float("inf"))


def _count_down(counts: dict[_Key, int], key: _Key) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
