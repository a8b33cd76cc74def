"""A lane: waiting jobs of one project and one kind, of which only the head is ever tried."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from heapq import heapify, heappop, heappush

from jobs.core.scheduling.keys import Kind
from jobs.core.snapshot import JobView

Head = tuple[int, float, str]  # the step of its people, its key, its id: smaller is sooner
SHARED = ""
_SLACK = 64  # entries of jobs that have gone, before they are taken out


class Group:
    """The lanes of one kind, whoever their people are: where one of them finds no place, none does."""

    __slots__ = ("admits", "is_open", "kind", "lanes")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.lanes: dict[Lane, None] = {}
        # in the cycle that is under way:
        self.is_open = False  # there may be room for this kind,
        self.admits: Collection[str] = ()  # or for these projects, on cards that are kept


class Lane:
    """Jobs of one kind, smallest key first. `owner` has it alone; `SHARED`: everybody who need not be told apart."""

    __slots__ = ("_heap", "first", "group", "jobs", "owner", "project", "step")

    def __init__(self, project: str, owner: str, group: Group, step: int) -> None:
        self.project, self.owner, self.group, self.step = project, owner, group, step
        self.jobs: dict[str, JobView] = {}
        self.first: Head | None = None  # where the first job stands; None where nobody waits
        self._heap: list[tuple[float, str]] = []

    @property
    def kind(self) -> Kind:
        """What its jobs are alike in."""
        return self.group.kind

    @property
    def is_open(self) -> bool:
        """Whether there may be room for its jobs in the cycle that is under way."""
        return self.group.is_open or self.project in self.group.admits

    def add(self, job: JobView, key: float) -> bool:
        """Let a job wait here; whether it is the first one now."""
        self.jobs[job.id] = job
        heappush(self._heap, (key, job.id))
        if len(self._heap) > 2 * len(self.jobs) + _SLACK:
            self._heap = sorted({entry for entry in self._heap if entry[1] in self.jobs})
        return self._find_first()

    def remove(self, job_id: str) -> JobView:
        """Take a job out."""
        job = self.jobs.pop(job_id)
        if self.first is not None and self.first[2] == job_id:
            self._find_first()
        return job

    def rekey(self, key: Callable[[JobView], float]) -> None:
        """Order the jobs by other keys."""
        self._heap = [(key(job), job.id) for job in self.jobs.values()]
        heapify(self._heap)
        self._find_first()

    def in_order(self) -> list[Head]:
        """Where all its jobs stand, the first one first."""
        entries = sorted({entry for entry in self._heap if entry[1] in self.jobs})
        return [(self.step, key, job_id) for key, job_id in entries]

    def _find_first(self) -> bool:
        heap, jobs, before = self._heap, self.jobs, self.first
        while heap and heap[0][1] not in jobs:
            heappop(heap)
        if not heap:
            self.first = None
        elif before is None or before[1:] != heap[0]:
            self.first = (self.step, *heap[0])
        return self.first is not before


class Heads:
    """Lanes by their first jobs. An entry whose lane has another one by now is dropped when it comes up."""

    __slots__ = ("_heap", "_made")

    def __init__(self, lanes: Iterable[Lane] = ()) -> None:
        first = [(lane.first, lane) for lane in lanes if lane.first is not None]
        self._heap = [(head, at, lane) for at, (head, lane) in enumerate(first)]
        self._made = len(self._heap)  # tells entries of the same job apart
        heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)

    def offer(self, lane: Lane) -> None:
        """List the lane under its first job of now."""
        if lane.first is not None:
            self._made += 1
            heappush(self._heap, (lane.first, self._made, lane))

    def peek(self, is_out: Callable[[Lane], bool]) -> tuple[Head, Lane] | None:
        """The first lane that is not out; those that are out are dropped."""
        heap = self._heap
        while heap:
            head, _made, lane = heap[0]
            if head is lane.first and not is_out(lane):
                return head, lane
            heappop(heap)
        return None
