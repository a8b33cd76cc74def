"""A cheap look at jobs that somebody watches: progress, size of the log, keys of the bookings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from jobs import rundir
from jobs.models import Allocation, Job


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """A watched job as it is now."""

    attempt: int  # number of the latest one; 0 before the first
    log_size: int  # bytes
    progress: Mapping[str, Any]
    allocations: frozenset[str]  # keys of its open bookings


def look(job_ids: Iterable[str]) -> dict[str, Glimpse]:
    """A glimpse of each job that exists: two queries for all of them, and one `stat` each."""
    ids = set(job_ids)
    keys: dict[str, set[str]] = defaultdict(set)
    bookings = Allocation.objects.open().filter(attempt__job__in=ids)
    for job_id, key in bookings.values_list("attempt__job_id", "key"):
        keys[job_id].add(key)
    jobs = Job.objects.filter(pk__in=ids).values_list("pk", "epoch", "progress")
    return {
        job_id: Glimpse(
            attempt=epoch,
            log_size=log_size(job_id, epoch),
            progress=progress,
            allocations=frozenset(keys[job_id]),
        )
        for job_id, epoch, progress in jobs
    }


def log_size(job_id: str, attempt: int) -> int:
    """Bytes of an attempt's log; 0 where it has none yet."""
    path = rundir.attempt_directory(settings.COOP_HOME, job_id, attempt) / rundir.LOG
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
