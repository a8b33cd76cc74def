"""Carrying out what a cycle decided about preemptions: the jobs that give way are told, each guarded by itself.

Telling is a row in the database; the reconciler then stops the processes, again and again until they are seen to be
gone. Cards are free when `lifecycle.finish` has closed the attempt, and never before.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from django.db import transaction

from jobs import events, lifecycle
from jobs.core.plan import Preempt, PreemptionRule
from jobs.models import Attempt, Job

log = logging.getLogger(__name__)


_BETWEEN_RUNNING = frozenset({PreemptionRule.PRESSURE, PreemptionRule.PACKING})
"""Rules by which a job gives way to one that runs already."""


def apply(
    preemptions: Sequence[Preempt], also: Mapping[str, Mapping[str, object]] | None = None
) -> int:
    """Tell these jobs to make room; how many were told. `also` is what else the event rows tell, by job.

    Left out is a job that does not run any more, is frozen or is not preemptible, and one whose beneficiary does not
    wait any more, or where both run, has ended meanwhile.
    """
    if not preemptions:
        return 0
    running = _running({each.job for each in preemptions})
    staying = _running({each.beneficiary for each in preemptions if each.rule in _BETWEEN_RUNNING})
    waiting = _still_queued({each.beneficiary for each in preemptions})
    with transaction.atomic():
        told = [
            each
            for each in preemptions
            if each.beneficiary in (staying if each.rule in _BETWEEN_RUNNING else waiting)
            and each.job in running
            and _tell(each, running.pop(each.job), (also or {}).get(each.job, {}))
        ]
        for each in told:
            # The processes are told by the next pass of the reconciler; there is no reason to wait a second for it.
            transaction.on_commit(partial(events.wake_dispatcher, each.job))
    for each in told:
        log.info("The job %s makes room for %s (%s).", each.job, each.beneficiary, each.rule)
    return len(told)


def _tell(preemption: Preempt, attempt: Attempt, also: Mapping[str, object]) -> bool:
    return attempt.job.preemptible and lifecycle.preempt(
        attempt.job,
        attempt,
        beneficiary=preemption.beneficiary,
        rule=preemption.rule,
        lost=preemption.lost,
        also=also,
    )


def _running(jobs: Collection[str]) -> dict[str, Attempt]:
    """The open attempts of these jobs, by job id."""
    attempts = Attempt.objects.open().filter(job__in=jobs).select_related("job")
    return {attempt.job_id: attempt for attempt in attempts}


def _still_queued(jobs: Collection[str]) -> set[str]:
    return set(Job.objects.queued().filter(pk__in=jobs).values_list("pk", flat=True))
