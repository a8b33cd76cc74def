"""The order in which waiting jobs are tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.core.snapshot import JobView


class BasePolicy:
    """Higher priority first, and within a priority first come, first served.

    Derive from it to order jobs your own way:

        from datetime import datetime
        from llama_factory.coop import BasePolicy

        class ShortFirstAtWeekends(BasePolicy):
            def schedule(self, tasks):
                if datetime.now().weekday() > 4:
                    return sorted(tasks, key=lambda t: t.est_time)
                return super().schedule(tasks)

    A policy decides the order and nothing else: which card a job gets, quotas and the caps on cards stay with the
    scheduler, and a job that does not fit now is passed over.
    """

    def schedule(self, tasks: list[JobView]) -> list[JobView]:
        """The waiting jobs in the order in which they shall be tried.

        `tasks` are the jobs that could start: none that is held, waits for another job or is kept back by its
        project's quota. Each has, at least, `task_id`, `priority` (a number; higher is sooner), `project`, `user`,
        `submitted_at` (seconds), `est_time` (seconds, infinite when unknown), `min_memory` (bytes a card), `gpu_type`
        and `gpus`. They cannot be changed. Return the same jobs, each once; anything else is reported, and the
        order of `BasePolicy` is used.
        """
        return sorted(tasks, key=_priority_then_age)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """The jobs in order; `problem` says why they are not in the order of the policy that was asked."""

    jobs: tuple[JobView, ...]
    problem: str = ""


def ordered(jobs: Sequence[JobView], policy: BasePolicy | None = None) -> Order:
    """The jobs in the policy's order, or in that of `BasePolicy` where the policy fails."""
    default = BasePolicy()
    if policy is None:
        return Order(jobs=tuple(default.schedule(list(jobs))))
    problem = ""
    try:
        answer = tuple(policy.schedule(list(jobs)))
    except Exception as error:  # noqa: BLE001 - a policy is the site's own code, and must never stop the queue
        problem = f"raised {type(error).__name__}: {error}"
    else:
        problem = _difference(jobs, answer)
    if not problem:
        return Order(jobs=answer)
    return Order(
        jobs=tuple(default.schedule(list(jobs))),
        problem=f"The policy {type(policy).__name__} {problem}. The default order is used.",
    )


def _priority_then_age(job: JobView) -> tuple[int, float, str]:
    return -job.priority, job.submitted_at, job.id


def _difference(given: Sequence[JobView], answer: Sequence[object]) -> str:
    """What is wrong with a policy's answer; empty where it is the same jobs, each once."""
    known = {id(job) for job in given}
    seen = {id(job) for job in answer}
    if foreign := len(seen - known):
        return f"returned {foreign} tasks that it was not given"
    if missing := len(known - seen):
        return f"left out {missing} of {len(known)} tasks"
    if len(answer) > len(seen):
        return f"returned {len(answer) - len(seen)} tasks more than once"
    return ""
