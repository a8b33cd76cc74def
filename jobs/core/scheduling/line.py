"""The queue: lanes of equal jobs inside projects.

Where the head of a lane finds no place, none behind it does. So a cycle costs what the kinds of jobs cost, not what the
jobs cost. People share lanes, except those who must be told apart: they have a quota of their own, or have used more
than their share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from heapq import heappop, heappush

from jobs.core.scheduling.keys import Kind, guard_time, static_key
from jobs.core.scheduling.lane import SHARED, Group, Heads, Lane
from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import JobView

_MOST_LATE = 2  # of one project that go first in one cycle
_MOST_LOOKS = 16  # at those of one project that are late, to find them
_SLACK = 64  # entries that may be out of date before a list is tidied
_AFTER_THE_RANKED = 1e9  # added to the key of a job that a policy has not ranked yet


Entry = tuple[float, str]  # when, and the job


class ProjectLine:
    """What waits in one project."""

    def __init__(self, slug: str) -> None:
        self.slug = slug
        self.lanes: dict[tuple[str, Kind], Lane] = {}
        self.heads = Heads()
        self.people: dict[str, int] = {}  # waiting jobs of each person
        self.limited: AbstractSet[str] = frozenset()  # people with a quota of their own
        self.steps: Mapping[str, int] = {}  # of people who have used more than their share

    def owner(self, job: JobView) -> str:
        """Whose lane the job waits in."""
        apart = job.user in self.limited or job.user in self.steps
        return job.user if apart else SHARED

    def reorder(self) -> None:
        """List all lanes anew."""
        self.heads = Heads(self.lanes.values())

    def tidy(self) -> None:
        """Forget the entries that are out of date, where there are many."""
        if len(self.heads) > 2 * len(self.lanes) + _SLACK:
            self.reorder()


class Line:
    """All waiting jobs that are not resting after a failed attempt."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.projects: dict[str, ProjectLine] = {}
        self.groups: dict[Kind, Group] = {}  # lanes in which somebody waits
        self.ranks: Mapping[str, int] | None = None  # a policy's order
        self._lanes: dict[str, Lane] = {}  # by job
        self._guard: list[Entry] = []  # when who will have waited too long
        self._late: dict[str, list[Entry]] = {}  # by project: who has

    def __len__(self) -> int:
        return len(self._lanes)

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

    def project(self, slug: str) -> ProjectLine:
        """The line of a project, known or new."""
        if slug not in self.projects:
            self.projects[slug] = ProjectLine(slug)
        return self.projects[slug]

    def key(self, job: JobView) -> float:
        """What orders the job inside its project: the policy's rank, or its static key."""
        rank = self.ranks.get(job.id) if self.ranks is not None else None
        if rank is not None:
            return float(rank)
        later = 0.0 if self.ranks is None else _AFTER_THE_RANKED
        return later + static_key(job, self._rules)

    # --- who waits -----------------------------------------------------------------------------------

    def add(self, job: JobView) -> None:
        """Let a job wait, or take over its new values."""
        if self.get(job.id) == job:
            return
        self.remove(job.id)
        people = self.project(job.project).people
        people[job.user] = people.get(job.user, 0) + 1
        self._enlist(job)
        heappush(self._guard, (guard_time(job, self._rules), job.id))
        if len(self._guard) > 2 * len(self) + _SLACK:
            self._guard = self._tidied(self._guard)

    def remove(self, job_id: str) -> JobView | None:
        """Take a job out; None where it did not wait."""
        job = self._strike(job_id)
        if job is not None:
            people = self.projects[job.project].people
            people[job.user] -= 1
            if not people[job.user]:
                del people[job.user]
        return job

    def _enlist(self, job: JobView) -> None:
        project, kind = self.projects[job.project], Kind.of(job, self._rules)
        lane = project.lanes.get((project.owner(job), kind)) or self._new_lane(project, job, kind)
        self._lanes[job.id] = lane
        if lane.add(job, self.key(job)):
            project.heads.offer(lane)

    def _new_lane(self, project: ProjectLine, job: JobView, kind: Kind) -> Lane:
        group = self.groups.get(kind)
        if group is None:
            group = self.groups[kind] = Group(kind)
        owner = project.owner(job)
        lane = Lane(project.slug, owner, group, project.steps.get(owner, 0))
        project.lanes[owner, kind] = lane
        group.lanes[lane] = None
        return lane

    def _strike(self, job_id: str) -> JobView | None:
        lane = self._lanes.pop(job_id, None)
        if lane is None:
            return None
        first, job = lane.first, lane.remove(job_id)
        project = self.projects[lane.project]
        if not lane.jobs:
            self._drop_lane(project, lane)
        elif lane.first is not first:
            project.heads.offer(lane)
        return job

    def _drop_lane(self, project: ProjectLine, lane: Lane) -> None:
        del project.lanes[lane.owner, lane.kind]
        del lane.group.lanes[lane]
        if not lane.group.lanes:
            del self.groups[lane.kind]

    # --- their order ---------------------------------------------------------------------------------

    def rank(self, ranks: Mapping[str, int] | None) -> None:
        """Order by a policy's ranks from here on; None: by the static keys."""
        self.ranks = ranks
        for project in self.projects.values():
            for lane in project.lanes.values():
                lane.rekey(self.key)
            project.reorder()

    def set_limited(self, slug: str, people: AbstractSet[str]) -> None:
        """Name the people of a project who have a quota of their own."""
        project = self.project(slug)
        moving = project.limited ^ people
        project.limited = people
        self._move(project, moving)

    def set_steps(self, slug: str, steps: Mapping[str, int]) -> None:
        """Name the people of a project who have used more than their share, and how many times of it."""
        project = self.projects[slug]
        if steps == project.steps:
            return
        both = project.steps.keys() | steps.keys()
        moving = {name for name in both if steps.get(name) != project.steps.get(name)}
        project.steps = dict(steps)
        self._move(project, moving)

    def _move(self, project: ProjectLine, people: AbstractSet[str]) -> None:
        if people.isdisjoint(project.people):
            return
        lanes = list(project.lanes.values())
        jobs = [job for lane in lanes for job in lane.jobs.values() if job.user in people]
        for job in jobs:
            self._strike(job.id)
        for job in jobs:
            self._enlist(job)

    # --- who has waited too long ---------------------------------------------------------------------

    def overdue(self, now: float, is_of_use: Callable[[JobView], bool]) -> dict[str, list[JobView]]:
        """By project, the jobs that have waited too long and could start: the first ones, the longest first."""
        while self._guard and self._guard[0][0] <= now:
            entry = heappop(self._guard)
            if self._is_true(entry):
                self._note_late(self._lanes[entry[1]].project, entry)
        found = {slug: self._first(late, is_of_use) for slug, late in self._late.items()}
        return {slug: jobs for slug, jobs in found.items() if jobs}

    def next_guard(self, now: float) -> float:
        """When the next job will have waited too long; infinity where none will."""
        return min((at for at, _job in self._guard[:1] if at > now), default=float("inf"))

    def _is_true(self, entry: Entry) -> bool:
        job = self.get(entry[1])
        return job is not None and guard_time(job, self._rules) == entry[0]

    def _note_late(self, slug: str, entry: Entry) -> None:
        late = self._late.setdefault(slug, [])
        heappush(late, entry)
        if len(late) > 2 * sum(self.projects[slug].people.values()) + _SLACK:
            self._late[slug] = self._tidied(late)

    def _first(self, late: list[Entry], is_of_use: Callable[[JobView], bool]) -> list[JobView]:
        seen: list[Entry] = []
        found: list[JobView] = []
        while late and len(found) < _MOST_LATE and len(seen) < _MOST_LOOKS:
            entry = heappop(late)
            if entry in seen or not self._is_true(entry):
                continue
            seen.append(entry)
            job = self._lanes[entry[1]].jobs[entry[1]]
            found += [job] if is_of_use(job) else []
        for entry in seen:
            heappush(late, entry)
        return found

    def _tidied(self, entries: list[Entry]) -> list[Entry]:
        """A heap of those entries that are not out of date."""
        return sorted(entry for entry in set(entries) if self._is_true(entry))
