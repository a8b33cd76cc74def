"""A job that ran out of GPU memory: what it had, what cards here could give it, and with what it is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.db.models import Max

from jobs import snapshots, submission
from jobs.core.constraints import Need, is_of_type
from jobs.core.ending import Ending
from jobs.core.estimate.answer import estimate_of
from jobs.core.estimate.problems import CannotEstimate
from jobs.core.outofmemory import OF_A_CARD, Had, NextNeed, next_need
from jobs.core.remedies import Case
from jobs.memory import local_config
from jobs.models import Attempt, Job


def with_next_need(attempt: Attempt, ending: Ending) -> Ending:
    """The same ending, with what the next attempt is to have, where the task allows another one after this."""
    if ending.reason not in OF_A_CARD:
        return ending
    if "oom" not in attempt.job.spec.get("retry_on", ()):
        return ending
    return replace(ending, next_need=_next_need(attempt, ending))


def case_of(attempt: Attempt, ending: Ending) -> Case:
    """What is known of an attempt that ran out of GPU memory."""
    job, config = attempt.job, config_of(attempt.job)
    return Case(
        had=had_by(attempt),
        shortage=ending.shortage,
        largest=largest_for(job),
        config=config,
        cards=job.gpus * job.nodes,
        model=local_config(config.get("model_name_or_path")) if config else None,
    )


def config_of(job: Job) -> Mapping[str, Any] | None:
    """Its LLaMA-Factory settings; None for a command."""
    config = job.spec.get("llamafactory")
    return config if isinstance(config, Mapping) else None


def had_by(attempt: Attempt) -> Had:
    """What the attempt had on each card; a booking that had shrunk since counts as what was asked."""
    found = attempt.allocations.aggregate(
        booked=Max("booked"), asked=Max("asked"), peak=Max("peak")
    )
    shared = attempt.allocations.filter(exclusive=False).exists()
    return Had(
        memory=max(found["booked"] or attempt.job.min_memory, found["asked"] or 0),
        exclusive=not shared,
        peak=found["peak"],
    )


def largest_for(job: Job) -> int:
    """Bytes that the job could have at most on one card of this site; 0 where no card may run it."""
    need = Need.of(snapshots.job_view(job))
    cards = (card for card in snapshots.device_views() if is_of_type(need, card))
    return max((card.total - card.safety for card in cards if not card.drained), default=0)


def _next_need(attempt: Attempt, ending: Ending) -> NextNeed | None:
    case = case_of(attempt, ending)
    wanted = next_need(case.had, case.shortage, case.largest, formula=_formula(case))
    if wanted is None:
        return None
    view = replace(snapshots.job_view(attempt.job), min_memory=wanted.memory)
    job = attempt.job
    return None if submission.over_quota(view, job.owner, job.project) else wanted


def _formula(case: Case) -> int:
    if case.config is None:
        return 0
    try:
        return estimate_of(case.config, cards=case.cards, model=case.model).likely
    except CannotEstimate:
        return 0
