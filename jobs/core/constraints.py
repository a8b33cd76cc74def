"""The hard rules of placement: what must hold for a card to take one more job, each with a name and its numbers.

Every rule is a question about one need and one card. `OBSTACLE_CHECKS` lists them from the lasting to the passing; the
first that does not hold is the card's verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from jobs.core.gputypes import matches_gpu_type
from jobs.core.plan import WaitCode
from jobs.core.snapshot import DeviceView, JobView

SHARE_STEPS = 20  # SM demands are told apart in steps of one twentieth
BUSY_SLACK = 1e-9  # sums of twentieths are not exact


class Need(NamedTuple):
    """What jobs ask of cards. Jobs with equal needs are one class: where one finds no place, none does."""

    gpu_type: str | None
    memory: int  # bytes on each card
    gpus: int  # on each machine; 0 (simulations only): processors and main memory alone
    nodes: int
    exclusive: bool
    sm_share: float = 0.0  # SM demand on each card, in steps of 0.05; 0: not learned
    host_cpus: int = 0  # thousandths of a core on each machine
    host_memory: int = 0  # bytes of main memory on each machine

    @classmethod
    def of(cls, job: JobView) -> Need:
        """What this job asks for."""
        return cls(
            job.gpu_type,
            job.min_memory,
            job.gpus,
            job.nodes,
            job.exclusive,
            in_steps(job.sm_share),
            job.host_cpus,
            job.host_memory,
        )


def in_steps(sm_share: float) -> float:
    """An SM demand as needs tell it apart: a multiple of 0.05 up to 1, and 0 only where none is learned."""
    if sm_share <= 0:
        return 0.0
    return max(1, min(SHARE_STEPS, round(sm_share * SHARE_STEPS))) / SHARE_STEPS


@dataclass(frozen=True, kw_only=True, slots=True)
class Obstacle:
    """What keeps a job from starting, or from one card, with the numbers that its sentence needs."""

    code: WaitCode
    numbers: Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One hard constraint: whether it holds, and what to say where it does not."""

    holds: Callable[[Need, DeviceView], bool]
    obstacle: Callable[[Need, DeviceView], Obstacle]


def is_of_type(need: Need, card: DeviceView) -> bool:
    """The model is the one asked for."""
    return matches_gpu_type(need.gpu_type, card.name, card.total)


def is_large_enough(need: Need, card: DeviceView) -> bool:
    """The card could hold the job if nothing else were on it."""
    return need.memory <= largest_job(card)


def is_in_service(_need: Need, card: DeviceView) -> bool:
    """Nobody has taken the card out of service."""
    return not card.drained


def has_fresh_reading(_need: Need, card: DeviceView) -> bool:
    """What the card really holds is known; a stale reading admits nothing."""
    return card.measured_free is not None


def may_share(need: Need, card: DeviceView) -> bool:
    """Neither the job nor one that is there wants the card to itself while the other is on it."""
    return not card.exclusive and not (need.exclusive and card.holders)


def is_below_cap(_need: Need, card: DeviceView) -> bool:
    """The card runs fewer jobs than it may."""
    return card.max_holders is None or card.holders < card.max_holders


def is_below_busy_cap(need: Need, card: DeviceView) -> bool:
    """The jobs on the card leave it the SMs; the only job on a card, and one of unknown demand, are never refused."""
    if card.max_busy is None or not card.holders or not need.sm_share:
        return True
    return card.busy + need.sm_share <= card.max_busy + BUSY_SLACK


def has_room(need: Need, card: DeviceView) -> bool:
    """The job's memory fits into what bookings and the latest reading leave."""
    return need.memory <= room(card)


def has_room_but_for_strangers(need: Need, card: DeviceView) -> bool:
    """The job would fit if the memory that is not ours were free."""
    return need.memory <= room(card, strangers_gone=True)


def largest_job(card: DeviceView) -> int:
    """The most memory (bytes) that one job can ever have on this card: all but the safety margin."""
    return card.total - card.safety


def room(card: DeviceView, *, strangers_gone: bool = False) -> int:
    """Memory (bytes) that one more job may book here now.

    The smaller of two answers: what bookings leave below the threshold, and what was measured free. The threshold does
    not bind the only job on an otherwise empty card. A few foreign MiB, no more than the safety margin, such as those
    of a display, do not make a card occupied.
    """
    foreign = 0 if strangers_gone else card.foreign
    measured = (card.measured_free or 0) + (card.foreign - foreign)
    alone = not card.holders and not card.booked and foreign <= card.safety
    ceiling = card.total if alone else int(card.threshold * card.total)
    return max(0, min(ceiling - foreign - card.safety - card.booked, measured))


def obstacle_on(need: Need, card: DeviceView) -> Obstacle | None:
    """Why this card does not take the job now; None where it would."""
    for rule in OBSTACLE_CHECKS:
        if not rule.holds(need, card):
            return rule.obstacle(need, card)
    return None


def place_name(card: DeviceView) -> str:
    """How people know a card: its index and its machine."""
    return f"gpu{card.index} on {card.node}"


def _other_type(need: Need, card: DeviceView) -> Obstacle:
    numbers = {"gpu_type": need.gpu_type, "need": need.memory, "largest": room(card)}
    return Obstacle(code=WaitCode.WAIT_GPU_TYPE, numbers=numbers)


def too_small(need: Need, card: DeviceView) -> Obstacle:
    """Not even alone on the card could the job have its memory."""
    numbers = {"need": need.memory, "largest": largest_job(card), "largest_name": card.name}
    return Obstacle(code=WaitCode.NEVER_FITS, numbers=numbers)


def _drained(_need: Need, card: DeviceView) -> Obstacle:
    numbers = {"cards": [place_name(card)], "drain_reason": card.drain_reason}
    return Obstacle(code=WaitCode.GPU_DRAINED, numbers=numbers)


def _unread(_need: Need, card: DeviceView) -> Obstacle:
    return Obstacle(code=WaitCode.WAIT_READING, numbers={"cards": [place_name(card)]})


def _not_shared(_need: Need, card: DeviceView) -> Obstacle:
    return Obstacle(code=WaitCode.WAIT_EXCLUSIVE, numbers={"cards": [place_name(card)]})


def _at_cap(_need: Need, card: DeviceView) -> Obstacle:
    return Obstacle(code=WaitCode.WAIT_CARD_CAP, numbers={"max_holders": card.max_holders})


def too_busy(need: Need, card: DeviceView) -> Obstacle:
    """The jobs on the card compute too much for one more."""
    numbers = {
        "busy": round(card.busy, 2),
        "max_busy": card.max_busy,
        "sm_share": need.sm_share,
    }
    return Obstacle(code=WaitCode.WAIT_BUSY, numbers=numbers)


def _too_full(need: Need, card: DeviceView) -> Obstacle:
    if has_room_but_for_strangers(need, card):
        return strangers_in_the_way(need, card)
    return no_room(need, card)


def strangers_in_the_way(need: Need, card: DeviceView) -> Obstacle:
    """Only memory that belongs to no job of ours keeps the job from this card."""
    numbers = {
        "need": need.memory,
        "foreign": card.foreign,
        "index": card.index,
        "node": card.node,
    }
    return Obstacle(code=WaitCode.GHOST_MEMORY, numbers=numbers)


def no_room(need: Need, card: DeviceView) -> Obstacle:
    """The card has less left than the job needs."""
    numbers = {
        "need": need.memory,
        "largest": room(card),
        "largest_index": card.index,
        "largest_node": card.node,
    }
    return Obstacle(code=WaitCode.WAIT_MEMORY, numbers=numbers)


LASTING_RULES = (
    Rule(holds=is_of_type, obstacle=_other_type),
    Rule(holds=is_large_enough, obstacle=too_small),
    Rule(holds=is_in_service, obstacle=_drained),
    Rule(holds=has_fresh_reading, obstacle=_unread),
)
"""Rules whose answer no start changes."""

PASSING_RULES = (
    Rule(holds=may_share, obstacle=_not_shared),
    Rule(holds=is_below_cap, obstacle=_at_cap),
    Rule(holds=is_below_busy_cap, obstacle=too_busy),
    Rule(holds=has_room, obstacle=_too_full),
)
"""Rules whose answer each start on the card may change, always from yes to no."""

OBSTACLE_CHECKS = LASTING_RULES + PASSING_RULES
