"""One cycle: reconcile -> refresh -> decide -> apply -> launch. Read this file first.

The decisions are pure (`jobs.core`); every step that changes something is guarded, so that a step which has gone
stale since is dropped and decided again a moment later.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from django.db import transaction
from django.db.models import prefetch_related_objects
from django.utils import timezone

from gpus.models import Device
from jobs import (
    dependencies,
    endings,
    lifecycle,
    loglinks,
    mps,
    ordering,
    preempting,
    preparation,
    returning,
    watchdog,
)
from jobs.core.plan import Start, Wait
from jobs.engines import local_engine
from jobs.engines.base import Engine
from jobs.mirror import Mirror
from jobs.models import Attempt, Job
from jobs.reconciling import reconcile
from jobs.refs import ref_of
from jobs.refusals import Refused
from jobs.sharding import Sharding

_MANY_WAIT = 1_000  # from which on only what is new is explained in each pass
_MOST_EXPLAINED = 200

log = logging.getLogger(__name__)


class Cycle:
    """The cycle of one dispatcher, from the moment in which it took the lease."""

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or local_engine()
        self._took_over_at = timezone.now()
        self._mirror = Mirror()
        self._policy = ordering.DispatchersPolicy()
        self._sharding = Sharding()

    def run(self, hinted: Collection[str] | None = None) -> int:
        """Run once; how many attempts were started.

        With `hinted` only the attempts of these jobs are looked at, and those whose processes must be told
        something; without it all of them.
        """
        # 1. What became of the attempts that we know to be open?
        reconcile(self._engine, hinted, self._took_over_at)
        # 2. Who has waited for a job that has succeeded meanwhile, and who uses more memory than it booked?
        if hinted is None:
            dependencies.release_the_met()
            watchdog.act(timezone.now())
            mps.look(self._engine)
            # Bookings follow what jobs really use, where cards are shared so
            self._sharding.keep_books(timezone.now())
        # 3. What has changed since the last cycle, and what follows from it?
        self._mirror.refresh()
        self._policy.order(self._mirror)
        relief = self._sharding.relieve(self._mirror, timezone.now()) if hinted is None else []
        plan = self._mirror.decide()
        # 4. Book it: one transaction, each start guarded by itself; and tell those who must make room
        started = self._apply(plan.starts)
        preempting.apply([*relief, *plan.preemptions], also=self._sharding.demands)
        # 5. Now that the bookings are on disk, let the processes begin
        prefetch_related_objects(started, "allocations__device")
        for attempt in started:
            self._launch(attempt)
        # 6. Keep the reasons that have changed
        if hinted is None:
            self._explain()
        # 7. Last, because nobody waits for it: links to the new logs, where people want them
        loglinks.link(started)
        return len(started)

    def close(self) -> None:
        """End what runs beside the cycle: the process of the site's policy."""
        self._policy.close()

    def _apply(self, starts: Sequence[Start]) -> list[Attempt]:
        if not starts:
            return []
        devices = _devices(starts)
        rows = Job.objects.queued().filter(pk__in=[start.job for start in starts])
        jobs = {job.pk: job for job in rows.select_related("project", "owner")}
        with transaction.atomic():
            attempts = [
                self._start(start, jobs[start.job], devices)
                for start in starts
                if start.job in jobs
            ]
        return [attempt for attempt in attempts if attempt is not None]

    def _start(self, start: Start, job: Job, devices: Mapping[str, Device]) -> Attempt | None:
        swapped = job.open_attempt if job.epoch else None
        if swapped is not None:
            returning.take_back(job, swapped, {each.uuid for each in start.placements})
            return None  # no process is launched: the reconciler brings its memory back
        placements = [(devices[each.uuid], each.memory) for each in start.placements]
        known = self._mirror.scheduler.run(start.job).job
        return lifecycle.start(job, placements[0][0].node, placements, known.sm_share)

    def _launch(self, attempt: Attempt) -> None:
        try:
            self._engine.start(preparation.prepare(attempt))
        except (Refused, OSError) as error:
            log.warning("The attempt %s could not be launched: %s", attempt, error)
            if self._engine.revoke(ref_of(attempt)):
                lifecycle.finish(attempt, endings.launch_failed(str(error)))

    def _explain(self) -> None:
        """Store a reason where its code has changed; the numbers of now are computed when somebody reads them."""
        codes, scheduler = self._mirror.wait_codes, self._mirror.scheduler
        changed: dict[str, list[Wait]] = defaultdict(list)
        for job_id in _to_explain(codes):
            wait = scheduler.why(job_id)
            if wait is not None and wait.code != codes[job_id]:
                changed[wait.code].append(wait)
                codes[job_id] = wait.code
        for waits in changed.values():
            lifecycle.explain_wait([wait.job for wait in waits], waits[0].code, waits[0].numbers)


def _to_explain(codes: dict[str, str]) -> list[str]:
    """The jobs whose reason is looked at: all of a short queue, else those that have none yet."""
    if len(codes) <= _MANY_WAIT:
        return list(codes)
    return [job_id for job_id, code in codes.items() if not code][:_MOST_EXPLAINED]


def _devices(starts: Sequence[Start]) -> dict[str, Device]:
    uuids = {each.uuid for start in starts for each in start.placements}
    rows = Device.objects.filter(uuid__in=uuids).select_related("node")
    return {device.uuid: device for device in rows}
