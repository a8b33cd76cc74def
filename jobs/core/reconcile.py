"""What should run against what does: a verdict for every open attempt, from the proof that its run directory gives.

Exactly one of *run* and *revoked* is ever true of an attempt, because both must win the same exclusive claim; so no
verdict depends on a clock being right. Bytes are freed only after `Finish`, `Revoke`, `Reap` or `Lose`: when the
processes are known to be dead, or known never to have been.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from jobs.core.states import JobState, Reason

CLAIM_GRACE = 10.0
"""Seconds that a supervisor has to claim its attempt before the attempt is revoked."""

TAKEOVER_GRACE = 1.0
"""Seconds that an attempt of an earlier dispatcher has for it, counted from the takeover: nobody launches it now."""


class Proof(StrEnum):
    """What the records of an attempt prove; see `jobs/rundir.py`."""

    UNCLAIMED = "unclaimed"  # nothing was executed yet
    REVOKED = "revoked"  # nothing was or will be executed
    ALIVE = "alive"  # a supervisor lives
    EXITED = "exited"  # the tree is empty, and there is an exit record
    DEAD = "dead"  # the supervisor died without one
    REBOOTED = "rebooted"  # the machine was restarted since
    UNKILLABLE = "unkillable"  # processes refuse to die, or a record is damaged


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenAttempt:
    """An attempt that the database knows to be open."""

    token: str
    state: JobState  # of its job
    created_at: float  # seconds since the epoch
    started: bool = False  # whether its start has been noted


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """What is proven about an attempt. `started_at` (epoch seconds) is None until its command is about to run."""

    proof: Proof
    started_at: float | None = None
    containment: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What to do about one attempt; the subclasses say what."""

    token: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Keep(Verdict):
    """Nothing: it is as it should be, or nothing is proven yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkRunning(Verdict):
    """Its command runs, or ran: move its job from STARTING to RUNNING."""

    started_at: float
    containment: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Adopt(Verdict):
    """Its command runs, or ran, though its job was told to stop meanwhile: note the start, change no state."""

    started_at: float
    containment: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish(Verdict):
    """It has ended and left an exit record: close it by that, and free its bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Revoke(Verdict):
    """No supervisor has come: try to win its claim. Won: close it as never run. Lost: it runs after all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reap(Verdict):
    """Its supervisor died: end what is left of its processes, verify, then close it as lost; else `Drain`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lose(Verdict):
    """Nothing of it lives, and there is no exit record: close it as lost, and free its bytes."""

    reason: Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Drain(Verdict):
    """Its processes cannot be ended, or nobody can tell: keep its bytes, and take its cards out of service."""


def reconcile(
    attempts: Iterable[OpenAttempt],
    observations: Mapping[str, Observed],
    now: float,
    *,
    took_over_at: float = 0.0,
) -> list[Verdict]:
    """The verdicts on all attempts, in the order in which they are to be carried out.

    Args:
        attempts: those that the database knows to be open.
        observations: by token; an attempt without one (its node is out of reach) is kept as it is.
        now: seconds since the epoch.
        took_over_at: when this dispatcher began to decide.
    """
    verdicts: list[Verdict] = []
    for attempt in attempts:
        observed = observations.get(attempt.token)
        steps = [*_steps(attempt, observed, now, took_over_at)] if observed else []
        verdicts += steps or [Keep(token=attempt.token)]
    return verdicts


def _steps(
    attempt: OpenAttempt, observed: Observed, now: float, took_over_at: float
) -> Iterator[Verdict]:
    yield from _start_to_note(attempt, observed)
    match observed.proof:
        case Proof.EXITED:
            yield Finish(token=attempt.token)
        case Proof.DEAD:
            yield Reap(token=attempt.token)
        case Proof.UNKILLABLE:
            yield Drain(token=attempt.token)
        case Proof.REBOOTED:
            yield Lose(token=attempt.token, reason=Reason.NODE_REBOOTED)
        case Proof.REVOKED:
            yield Lose(token=attempt.token, reason=Reason.NOT_CLAIMED)
        case Proof.UNCLAIMED if _is_overdue(attempt, now, took_over_at):
            yield Revoke(token=attempt.token)


def _start_to_note(attempt: OpenAttempt, observed: Observed) -> Iterator[Verdict]:
    """A start that is proven and not noted yet; it comes before the end, so that no job ends that never ran."""
    if observed.started_at is None or attempt.started:
        return
    kind = MarkRunning if attempt.state is JobState.STARTING else Adopt
    yield kind(
        token=attempt.token, started_at=observed.started_at, containment=observed.containment
    )


def _is_overdue(attempt: OpenAttempt, now: float, took_over_at: float) -> bool:
    """Whether to stop waiting for a supervisor. Wrong clocks cost at most a needless retry: the claim decides."""
    if attempt.state is JobState.STOPPING:
        return True
    deadline = attempt.created_at + CLAIM_GRACE
    if attempt.created_at < took_over_at:
        deadline = min(deadline, took_over_at + TAKEOVER_GRACE)
    return now >= deadline
