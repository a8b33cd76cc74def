"""The queue of a rival scheduler: one line for each sort of need, and a walk over all of them in order."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from enum import Enum
from heapq import heapify, heappop, heappush

from jobs.core.constraints import Need
from jobs.core.snapshot import JobView

Key = tuple[float, ...]
_Entry = tuple[Key, str]
_ALONE = -1  # the place of a job that waits in no line


class Step(Enum):
    """How a walk goes on after a job."""

    STARTED = "it started and waits no more"
    LATER = "it waits; the next one with the same need may do better"
    NO_ROOM = "no job with this need finds room now"
    STOP = "nobody else is looked at"


class WaitingLines:
    """Jobs that wait, each with a key that does not change while it waits; smaller keys come first."""

    def __init__(self) -> None:
        self._lines: dict[Need, list[_Entry]] = {}
        self._entries: dict[str, tuple[_Entry, Need]] = {}
        self.jobs: dict[str, JobView] = {}

    def put(self, job: JobView, key: Key) -> None:
        """Let a job wait, or change it."""
        self.drop(job.id)
        entry, need = (key, job.id), Need.of(job)
        insort(self._lines.setdefault(need, []), entry)
        self._entries[job.id] = entry, need
        self.jobs[job.id] = job

    def drop(self, job_id: str) -> None:
        """The job waits no more; one that is not known is no matter."""
        known = self._entries.pop(job_id, None)
        if known is None:
            return
        entry, need = known
        line = self._lines[need]
        del line[bisect_left(line, entry)]
        if not line:
            del self._lines[need]
        del self.jobs[job_id]

    def in_order(self) -> list[str]:
        """All ids by key."""
        return [job_id for _key, job_id in sorted(entry for entry, _need in self._entries.values())]

    def walk(
        self,
        attempt: Callable[[JobView, Need, Key], Step],
        others: Sequence[tuple[Key, JobView]] = (),
    ) -> None:
        """Show the jobs to `attempt` by key, until it says stop or no line is left.

        It must not change the lines itself; who has started is dropped here. `others` are jobs that wait in no line and
        are shown among them.
        """
        running = {job.id: job for _key, job in others}
        heap = [(line[0], need, 0) for need, line in self._lines.items()]
        heap += [((key, job.id), Need.of(job), _ALONE) for key, job in others]
        heapify(heap)  # ids differ, so needs are never compared
        while heap:
            (key, job_id), need, place = heappop(heap)
            job = running[job_id] if place == _ALONE else self.jobs[job_id]
            step = attempt(job, need, key)
            if step is Step.STOP:
                return
            if step is Step.NO_ROOM or place == _ALONE:
                continue
            if step is Step.STARTED:
                self.drop(job_id)
            else:
                place += 1
            line = self._lines.get(need, [])
            if place < len(line):
                heappush(heap, (line[place], need, place))
