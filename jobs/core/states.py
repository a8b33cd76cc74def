"""Where a job is, how an attempt ended, and why: one table of allowed moves, groups named once.

*Where it is* (`JobState`) and *why* (`Outcome`, `Reason`) are different questions and different fields:
reasons are many, states are ten.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class JobState(StrEnum):
    """Where a job is between submit and its end."""

    QUEUED = "QUEUED"  # waits for a card; the cycle may start it
    HELD = "HELD"  # a person or a dependency keeps it from starting
    STARTING = "STARTING"  # an attempt holds its bookings; its process does not run yet
    RUNNING = "RUNNING"  # the process of its open attempt runs
    SUSPENDING = "SUSPENDING"  # told to give its card back; still holds what it held
    SUSPENDED = (
        "SUSPENDED"  # frozen or swapped out (attempt open), or saved to disk (attempt ended)
    )
    STOPPING = "STOPPING"  # told to end; its processes may still live
    SUCCEEDED = "SUCCEEDED"  # ended as intended
    FAILED = "FAILED"  # ended otherwise, and no attempt is left
    CANCELLED = "CANCELLED"  # ended by a person


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUSPENDED = "suspended"
    PREEMPTED = "preempted"
    LOST = "lost"
    CANCELLED = "cancelled"


class Reason(StrEnum):
    """Why an attempt ended as it did."""

    COMPLETED = "completed"  # exit code 0, and the training says that it is complete
    EXIT_CODE = "exit_code"  # the command returned another code than 0
    SIGNAL = "signal"  # the command was ended by a signal that we did not send
    INCOMPLETE = "incomplete"  # exit code 0, but the training did not reach its last step
    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    TIME_LIMIT = "time_limit"
    LAUNCH_FAILED = "launch_failed"  # nothing of the command ran
    NOT_CLAIMED = "not_claimed"  # no supervisor took the attempt; it was revoked
    SUPERVISOR_DIED = "supervisor_died"
    NODE_REBOOTED = "node_rebooted"
    NODE_LOST = "node_lost"
    USER = "user"  # a person asked for it
    PREEMPTED = "preempted"  # made room for another job
    IDLE = "idle"  # its cards did nothing, or it hung, and the site suspends such jobs
    OVER_MEMORY = "over_memory"  # measured above the memory that it booked, for too long
    RESTORE_FAILED = "restore_failed"  # its swapped-out memory did not come back


class Priority(IntEnum):
    """The article's three priorities; a higher one is served first, and never breaks a quota."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2


_S = JobState

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    _S.QUEUED: frozenset({_S.HELD, _S.STARTING, _S.STOPPING, _S.CANCELLED, _S.FAILED}),
    _S.HELD: frozenset({_S.QUEUED, _S.STOPPING, _S.CANCELLED, _S.FAILED}),
    _S.STARTING: frozenset({_S.RUNNING, _S.STOPPING, _S.QUEUED, _S.FAILED}),
    _S.RUNNING: frozenset(
        {_S.SUSPENDING, _S.SUSPENDED, _S.STOPPING, _S.QUEUED, _S.SUCCEEDED, _S.FAILED}
    ),
    _S.SUSPENDING: frozenset(
        {_S.SUSPENDED, _S.RUNNING, _S.STOPPING, _S.QUEUED, _S.SUCCEEDED, _S.FAILED}
    ),
    _S.SUSPENDED: frozenset(
        {_S.RUNNING, _S.QUEUED, _S.STOPPING, _S.CANCELLED, _S.SUCCEEDED, _S.FAILED}
    ),
    _S.STOPPING: frozenset({_S.CANCELLED, _S.SUCCEEDED, _S.FAILED, _S.QUEUED}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
}
"""Every move a job may make; the database layer refuses all others."""

TERMINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)
ACTIVE = frozenset(JobState) - TERMINAL
WAITING = frozenset({_S.QUEUED, _S.HELD})
HOLDS_DEVICE = frozenset({_S.STARTING, _S.RUNNING, _S.SUSPENDING, _S.STOPPING})
"""States in which a job always has an open attempt. SUSPENDED may have one (frozen) or none (saved)."""


def may_move(old: JobState, new: JobState) -> bool:
    """Whether a job may go from `old` to `new`."""
    return new in TRANSITIONS[old]
