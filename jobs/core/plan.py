"""What one cycle decided: starts, preemptions, reservations, and a coded reason for every job that does not start.

A `Wait` has no default reason: whoever makes one must say which of `WaitCode` holds, and give the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class WaitCode(StrEnum):
    """Why a job does not start, in three classes by what its reader must do.

    Beside each code stand the numbers that go with it; sizes are bytes.
    """

    # wait
    WAIT_MEMORY = "WAIT_MEMORY"  # need, largest, largest_index, largest_node
    WAIT_GPU_TYPE = "WAIT_GPU_TYPE"  # gpu_type, need, largest
    WAIT_TURN = "WAIT_TURN"  # ahead
    WAIT_QUOTA = "WAIT_QUOTA"  # what, used, limit
    WAIT_MAX_WORKERS = "WAIT_MAX_WORKERS"  # holding, max_workers
    WAIT_BACKOFF = "WAIT_BACKOFF"  # until (epoch seconds), wait (seconds left, in steps of ten)
    WAIT_CARD_CAP = "WAIT_CARD_CAP"  # max_holders
    WAIT_CARDS = "WAIT_CARDS"  # gpus, need, ready: cards on one machine that have room now
    WAIT_EXCLUSIVE = "WAIT_EXCLUSIVE"  # cards that cannot be shared
    WAIT_BUSY = (
        "WAIT_BUSY"  # busy, max_busy, sm_share: the cards with room compute too much already
    )
    WAIT_HOST = "WAIT_HOST"  # node machines with room on their cards lack processors or main memory
    WAIT_RESERVED = (
        "WAIT_RESERVED"  # kept_for (job id), until (epoch s or None), what: cards or quota
    )
    WAIT_PREEMPTION = "WAIT_PREEMPTION"  # jobs: how many are being suspended to make room for it
    WAIT_READING = "WAIT_READING"  # cards without a fresh reading
    # change the task
    NEVER_FITS = "NEVER_FITS"  # need, largest, largest_name
    NO_SUCH_GPU_TYPE = "NO_SUCH_GPU_TYPE"  # gpu_type, available
    TOO_FEW_CARDS = "TOO_FEW_CARDS"  # gpus, nodes, most: suitable cards on one machine
    OVER_PROJECT_QUOTA = "OVER_PROJECT_QUOTA"  # what, need, limit
    DATASET_MISSING = "DATASET_MISSING"  # name
    HELD_BY_YOU = "HELD_BY_YOU"
    DEPENDENCY = "DEPENDENCY"  # task_ids
    # call the admin
    GPU_DRAINED = "GPU_DRAINED"  # cards, drain_reason
    GHOST_MEMORY = "GHOST_MEMORY"  # need, foreign, index, node
    AGENT_OFFLINE = "AGENT_OFFLINE"
    HELD_BY_ADMIN = "HELD_BY_ADMIN"
    SCHEDULER_STALLED = "SCHEDULER_STALLED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Memory booked on one card for one attempt."""

    uuid: str
    memory: int  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Start this job on these cards now, all or none."""

    job: str
    placements: tuple[Placement, ...]


class PreemptionRule(StrEnum):
    """Why one job may take another's place."""

    RECLAIM = "reclaim"  # its project is below its guarantee, and the other's borrows
    PRIORITY = "priority"  # same project, higher priority
    SERVICE = "service"  # same project and priority; the other has had more service already
    PATIENCE = "patience"  # same project, no lower priority; it has waited too long
    PRESSURE = "pressure"  # both run on one card; the other needs memory that is not there
    PACKING = "packing"  # both run on one card, and get less done together than one alone


@dataclass(frozen=True, kw_only=True, slots=True)
class Preempt:
    """Suspend this job so that another may start; what it holds is free only when it is known to have gone."""

    job: str
    beneficiary: str
    rule: PreemptionRule
    lost: float  # GPU-seconds of work that are done again, or spent on suspending and resuming


@dataclass(frozen=True, kw_only=True, slots=True)
class Reservation:
    """Cards that are kept for a job that does not fit yet."""

    job: str
    uuids: tuple[str, ...]
    at: float | None  # when they are expected to be free (epoch seconds); None: nobody can tell
    draining: bool = False  # nothing that cannot be suspended is put there any more


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """This job does not start now, for this reason, with the numbers its sentence needs."""

    job: str
    code: WaitCode
    numbers: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The decisions of one cycle, in the order in which they were made.

    Waits with one reason in common share one `numbers` object.
    """

    starts: tuple[Start, ...] = ()
    preemptions: tuple[Preempt, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    waits: tuple[Wait, ...] = ()
    policy_problem: str = ""  # why the configured policy's order was not used
