"""What becomes of a job when an attempt of it has ended: done, failed, cancelled, or once more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from jobs.core.outofmemory import OUT_OF_MEMORY, NextNeed, Shortage
from jobs.core.states import JobState, Outcome, Reason

FIRST_BACKOFF = 30.0  # seconds before the second attempt of a job that failed by itself
LONGEST_BACKOFF = 3600.0

_RETRY_CLASS = {
    Reason.SUPERVISOR_DIED: "lost",
    Reason.NODE_REBOOTED: "lost",
    Reason.NODE_LOST: "lost",
    Reason.GPU_OUT_OF_MEMORY: "oom",
    Reason.OVER_MEMORY: "oom",
    Reason.HOST_OUT_OF_MEMORY: "oom",
    Reason.EXIT_CODE: "failed",
    Reason.SIGNAL: "failed",
    Reason.INCOMPLETE: "failed",
}
GAVE_BACK = frozenset({Outcome.PREEMPTED, Outcome.SUSPENDED})
"""How an attempt ended that was told to give its cards back: it has not been tried in vain."""
_NEVER_RAN = frozenset({Reason.NOT_CLAIMED, Reason.RESTORE_FAILED})


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How an attempt ended. `detail` is one sentence for people; `exit_code` and `signal` as the kernel told them.

    Where it ran out of GPU memory: `shortage`, what the message said, and `next_need`, with what it may be tried again.
    """

    outcome: Outcome
    reason: Reason
    detail: str = ""
    exit_code: int | None = None
    signal: int | None = None
    shortage: Shortage | None = None
    next_need: NextNeed | None = None

    @property
    def shortage_data(self) -> dict[str, object]:
        """What an event row keeps of the message."""
        return {"shortage": self.shortage.as_dict()} if self.shortage else {}

    @property
    def grown(self) -> dict[str, Any]:
        """What a job asks for from now on that is tried again with more memory; its task keeps what was written."""
        need = self.next_need
        return {"min_memory": need.memory, "exclusive": need.exclusive} if need else {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequel:
    """The job's next state, and how long it waits there before it may start again (seconds)."""

    state: JobState
    backoff: float = 0.0


def as_wished(ending: Ending, state: JobState) -> Ending:
    """The ending of a job in `state`. Who cancels a job that is giving its cards back does not want it again."""
    if ending.outcome in GAVE_BACK and state is JobState.STOPPING:
        return replace(ending, outcome=Outcome.CANCELLED, reason=Reason.USER)
    return ending


def sequel(
    ending: Ending, *, state: JobState, starts: int, max_attempts: int, retry_on: Collection[str]
) -> Sequel:
    """What follows `ending` for a job in `state` that has made `starts` attempts which really ran.

    A person's stop wins over everything but success. A job that made room for another one waits at its old place.
    An attempt that never ran is made again at once and does not count. The rest is tried again only for the causes
    in `retry_on` and at most `max_attempts` times; what ran out of memory only with more of it than before.
    """
    if ending.outcome is Outcome.SUCCEEDED:
        return Sequel(state=JobState.SUCCEEDED)
    if ending.outcome is Outcome.CANCELLED:
        return Sequel(state=JobState.CANCELLED)
    if ending.outcome is Outcome.PREEMPTED or ending.reason in _NEVER_RAN:
        return Sequel(state=JobState.QUEUED)
    if ending.outcome is Outcome.SUSPENDED:
        return Sequel(state=JobState.SUSPENDED)
    if state is JobState.STOPPING or _RETRY_CLASS.get(ending.reason) not in retry_on:
        return Sequel(state=JobState.FAILED)
    if starts >= max_attempts or (ending.reason in OUT_OF_MEMORY and ending.next_need is None):
        return Sequel(state=JobState.FAILED)
    if ending.next_need is not None:
        return Sequel(state=JobState.QUEUED)  # another try, not the same again: nothing to wait for
    return Sequel(state=JobState.QUEUED, backoff=_backoff(ending.outcome, starts))


def _backoff(outcome: Outcome, starts: int) -> float:
    """A lost attempt was not the job's fault and starts again at once, the first time; then the wait doubles."""
    doublings = starts - 2 if outcome is Outcome.LOST else starts - 1
    if doublings < 0:
        return 0.0
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0**doublings)
