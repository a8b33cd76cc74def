"""Jobs for which room is being made: out of the line, counted against quotas, with cards kept for them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from jobs.core.snapshot import JobView

PATIENCE = 30.0  # seconds for which the freed cards are kept while their readings catch up


@dataclass(slots=True)
class Promise:
    """One job, the cards on which room is made for it, and when the promise lapses."""

    job: JobView
    uuids: dict[str, None] = field(default_factory=dict)
    lapses_at: float = math.inf  # set when the last job that had to leave has gone


class Promises:
    """All promises, the oldest first."""

    def __init__(self) -> None:
        self._promises: dict[str, Promise] = {}

    def __iter__(self) -> Iterator[Promise]:
        return iter(list(self._promises.values()))

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._promises

    def __len__(self) -> int:
        return len(self._promises)

    def get(self, job_id: str) -> Promise | None:
        """The promise made to this job."""
        return self._promises.get(job_id)

    def make(self, job: JobView, uuids: Iterable[str]) -> Promise:
        """Promise these cards to the job, beside those that it may have been promised before."""
        promise = self._promises.setdefault(job.id, Promise(job))
        promise.job = job
        promise.uuids.update(dict.fromkeys(uuids))
        return promise

    def drop(self, job_id: str) -> Promise | None:
        """The job has started, or waits like everybody else again."""
        return self._promises.pop(job_id, None)

    @property
    def next_lapse(self) -> float:
        """When the next promise lapses."""
        return min((each.lapses_at for each in self._promises.values()), default=math.inf)
