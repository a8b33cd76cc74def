"""One cycle: reconcile -> snapshot -> decide -> apply -> launch. Read this file first.

The decisions are pure (`jobs.core`); every step that changes something is guarded, so that a step which has gone
stale since the snapshot is dropped and decided again a moment later.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence

from django.db import transaction
from django.db.models import prefetch_related_objects
from django.utils import timezone

from jobs import dependencies, endings, lifecycle, loglinks, preparation, snapshots
from jobs.core.decide import decide
from jobs.core.plan import Plan, Start, Wait
from jobs.engines import local_engine
from jobs.engines.base import Engine
from jobs.models import Attempt
from jobs.reconciling import reconcile
from jobs.refs import ref_of
from jobs.refusals import Refused
from jobs.snapshots import Picture

log = logging.getLogger(__name__)


class Cycle:
    """The cycle of one dispatcher, from the moment in which it took the lease."""

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or local_engine()
        self._took_over_at = timezone.now()

    def run(self, hinted: Collection[str] | None = None) -> int:
        """Run once; how many attempts were started.

        With `hinted` only the attempts of these jobs are looked at, and those whose processes must be told
        something; without it all of them.
        """
        # 1. What became of the attempts that we know to be open?
        reconcile(self._engine, hinted, self._took_over_at)
        # 2. Who has waited for a job that has succeeded meanwhile?
        if hinted is None:
            dependencies.release_the_met()
        # 3. What starts, and why does the rest wait?
        picture = snapshots.take()
        plan = decide(picture.snapshot)
        # 4. Book it: one transaction, each start guarded by itself
        started = _apply(plan.starts, picture)
        # 5. Now that the bookings are on disk, let the processes begin
        prefetch_related_objects(started, "allocations__device")
        for attempt in started:
            self._launch(attempt)
        # 6. Keep the reasons that have changed
        _explain(plan, picture)
        # 7. Last, because nobody waits for it: links to the new logs, where people want them
        loglinks.link(started)
        return len(started)

    def _launch(self, attempt: Attempt) -> None:
        try:
            self._engine.start(preparation.prepare(attempt))
        except (Refused, OSError) as error:
            log.warning("The attempt %s could not be launched: %s", attempt, error)
            if self._engine.revoke(ref_of(attempt)):
                lifecycle.finish(attempt, endings.launch_failed(str(error)))


def _apply(starts: Sequence[Start], picture: Picture) -> list[Attempt]:
    with transaction.atomic():
        attempts = [_start(start, picture) for start in starts]
    return [attempt for attempt in attempts if attempt is not None]


def _start(start: Start, picture: Picture) -> Attempt | None:
    placements = [(picture.devices[each.uuid], each.memory) for each in start.placements]
    node = placements[0][0].node
    return lifecycle.start(picture.jobs[start.job], node, placements)


def _explain(plan: Plan, picture: Picture) -> None:
    """Store a reason where its code has changed; the numbers of now are computed when somebody reads them."""
    changed: dict[str, list[Wait]] = defaultdict(list)
    for wait in plan.waits:
        if picture.jobs[wait.job].wait_code != wait.code:
            changed[wait.code].append(wait)
    for waits in changed.values():
        lifecycle.explain_wait([wait.job for wait in waits], waits[0].code, waits[0].numbers)
