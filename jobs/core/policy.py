"""The order in which waiting jobs are tried, as a site may choose it; and the check of what a policy answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from jobs.core.scheduling.keys import static_key
from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import JobView


class BasePolicy:
    """The default: first come, first served, where each step of priority is worth twelve hours of waiting.

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

    now: float = 0.0
    """For which instant the order is asked, in seconds since the epoch. Set before each call; a simulation sets its own
    time, so a policy that reads this instead of the clock can be tried on the past."""

    rules: Rules = Rules()
    """The scheduler's numbers, as the site has them. Set before the first call."""

    @property
    def local_time(self) -> datetime:
        """`now` in the time zone of the machine."""
        return datetime.fromtimestamp(self.now, tz=UTC).astimezone()

    def schedule(self, tasks: list[JobView]) -> list[JobView]:
        """The waiting jobs in the order in which they shall be tried.

        `tasks` are the jobs that could start, in the default order: none that is held, waits for another job or is kept
        back by its project's quota. Each has, at least, `task_id`, `priority` (a number; higher is sooner), `project`,
        `user`, `submitted_at` (seconds), `est_time` (seconds, infinite when unknown), `min_memory` (bytes a card),
        `gpu_type` and `gpus`. They cannot be changed. Return the same jobs, each once; anything else is reported, and
        the order of `BasePolicy` is used.
        """
        return in_default_order(tasks, self.rules)


class BadOrder(ValueError):
    """What a policy returned is not an order of its tasks; the text goes on from "The policy X"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """The jobs in order; `problem` says why they are not in the order of the policy that was asked."""

    jobs: tuple[JobView, ...]
    problem: str = ""


def in_default_order(jobs: Iterable[JobView], rules: Rules) -> list[JobView]:
    """As the scheduler itself orders the jobs of one project."""
    return sorted(jobs, key=lambda job: default_key(job, rules))


def default_key(job: JobView, rules: Rules) -> tuple[float, float, str]:
    """Smaller is sooner; it never changes while a job waits, and of two jobs never says the same."""
    return static_key(job, rules), job.submitted_at, job.id


def ordered(
    jobs: Sequence[JobView], policy: BasePolicy | None = None, *, now: float = 0.0
) -> Order:
    """The jobs in the policy's order, or in that of `BasePolicy` where the policy fails.

    Runs the policy here and now: for simulations and tests. The service asks a process of its own
    (`jobs/policies/host.py`), because a policy may hang.
    """
    given = in_default_order(jobs, policy.rules if policy else BasePolicy.rules)
    if policy is None:
        return Order(jobs=tuple(given))
    try:
        return Order(jobs=ask(policy, given, now=now))
    except BadOrder as bad:
        problem = str(bad)
    except Exception as error:  # noqa: BLE001 - a policy is the site's own code, and must never stop the queue
        problem = f"raised {type(error).__name__}: {error}"
    name = type(policy).__name__
    return Order(
        jobs=tuple(given), problem=f"The policy {name} {problem}. The default order is used."
    )


def ask(policy: BasePolicy, tasks: Sequence[JobView], *, now: float) -> tuple[JobView, ...]:
    """What the policy answers, checked.

    Raises:
        BadOrder: the answer is not the same tasks, each once.
        Exception: whatever the policy itself raises.
    """
    policy.now = now
    answer: object = policy.schedule(list(tasks))
    if not isinstance(answer, Iterable) or isinstance(answer, str | bytes):
        raise BadOrder(f"returned {_shown(answer)} instead of its tasks in their order")
    # One more than there may be: a generator that never ends is not read to its end.
    found = tuple(islice(answer, len(tasks) + 1))
    _check(tasks, found)
    return found


def _check(given: Sequence[JobView], answer: Sequence[object]) -> None:
    known = {id(job) for job in given}
    seen = {id(job) for job in answer}
    if strange := [each for each in answer if not isinstance(each, JobView)]:
        raise BadOrder(f"returned {_shown(strange[0])}, which is not one of its tasks")
    if foreign := len(seen - known):
        raise BadOrder(f"returned {foreign} tasks that it was not given")
    if len(answer) > len(seen):
        raise BadOrder(f"returned {len(answer) - len(seen)} tasks more than once")
    if missing := len(known - seen):
        raise BadOrder(f"left out {missing} of {len(known)} tasks")


def _shown(value: object) -> str:
    """The value, short; a type's name where it cannot even be shown."""
    if value is None:
        return "None"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - the site's own class
        text = "a value"
    return f"{text if len(text) <= 60 else text[:59] + '…'} ({type(value).__name__})"
