"""Which cards a job gets: hard rules first, then the smallest sufficient type, then the tightest fit.

A job gets all its cards at once or none: on one machine, all of one model. Nothing is ordered here: `decide` asks for
one job after the other, and what a job gets is gone for the next.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jobs.core.constraints import (
    PASSING_RULES,
    Need,
    Obstacle,
    has_room,
    has_room_but_for_strangers,
    is_below_busy_cap,
    is_below_cap,
    is_in_service,
    is_large_enough,
    is_of_type,
    may_share,
    no_room,
    obstacle_on,
    place_name,
    room,
    strangers_in_the_way,
    too_busy,
    too_small,
)
from jobs.core.plan import Wait, WaitCode
from jobs.core.snapshot import DeviceView, JobView, Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether one card would take a job now, and if not, why not."""

    uuid: str
    node: str
    index: int
    name: str
    need: int  # bytes
    free: int  # bytes that one more job may book there now
    fits: bool
    code: WaitCode | None = None
    numbers: dict[str, object] = field(default_factory=dict)


def verdicts(job: JobView, snapshot: Snapshot) -> tuple[Verdict, ...]:
    """What each card of the snapshot says to this job, taken by itself: neither queue nor quota is looked at."""
    need = Need.of(job)
    return tuple(_verdict(need, card) for card in snapshot.devices)


def never_fits(
    job: JobView, devices: Iterable[DeviceView], *, most_nodes: int | None = 1
) -> Wait | None:
    """Why these cards can never run the job, however long it waits; None where they could.

    Names the largest card of the type asked for. Where no card is known at all, nothing can be said: None.
    """
    obstacle = lasting_obstacle(Need.of(job), tuple(devices), most_nodes=most_nodes)
    return Wait(job=job.id, code=obstacle.code, numbers=obstacle.numbers) if obstacle else None


def lasting_obstacle(
    need: Need, cards: Sequence[DeviceView], *, most_nodes: int | None = 1
) -> Obstacle | None:
    """Why no waiting helps a job with this need; None where it could run on the cards one day.

    `most_nodes` is how many machines one job may span; None: as many as there are.
    """
    if not cards:
        return None
    of_type = [card for card in cards if is_of_type(need, card)]
    if not of_type:
        return _no_such_type(need, cards)
    suitable = [card for card in of_type if is_large_enough(need, card)]
    if not suitable:
        return too_small(need, max(of_type, key=lambda card: card.total - card.safety))
    may_span = most_nodes is None or need.nodes <= most_nodes
    if may_span and _suffice(need, suitable):
        return None
    most = max(map(len, _gangs(suitable).values()))
    numbers: dict[str, object] = {"gpus": need.gpus, "nodes": need.nodes, "most": most}
    if need.nodes > 1:
        numbers |= {"machines": _machines(need, suitable), "most_nodes": most_nodes}
    return Obstacle(code=WaitCode.TOO_FEW_CARDS, numbers=numbers)


def _passes(need: Need, card: DeviceView) -> bool:
    return all(rule.holds(need, card) for rule in PASSING_RULES)


def _verdict(need: Need, card: DeviceView) -> Verdict:
    obstacle = obstacle_on(need, card)
    return Verdict(
        uuid=card.uuid,
        node=card.node,
        index=card.index,
        name=card.name,
        need=need.memory,
        free=room(card),
        fits=obstacle is None,
        code=obstacle.code if obstacle else None,
        numbers=dict(obstacle.numbers) if obstacle else {},
    )


def _no_such_type(need: Need, cards: Sequence[DeviceView]) -> Obstacle:
    available = sorted({card.name for card in cards})
    numbers = {"gpu_type": need.gpu_type, "available": available}
    return Obstacle(code=WaitCode.NO_SUCH_GPU_TYPE, numbers=numbers)


def _gangs(cards: Iterable[DeviceView]) -> dict[tuple[str, str], list[DeviceView]]:
    """Cards that can work on one job together: of one machine and one model."""
    gangs: dict[tuple[str, str], list[DeviceView]] = defaultdict(list)
    for card in cards:
        gangs[card.node, card.name].append(card)
    return gangs


def _machines(need: Need, cards: Iterable[DeviceView]) -> int:
    """How many machines have cards of one model for this need: of the model that has most of them."""
    whole = Counter(name for (_, name), gang in _gangs(cards).items() if len(gang) >= need.gpus)
    return max(whole.values(), default=0)


def _suffice(need: Need, cards: Iterable[DeviceView]) -> bool:
    return _machines(need, cards) >= need.nodes


def passing_obstacle(need: Need, cards: Sequence[DeviceView]) -> Obstacle:
    """One reason for all cards together: what stands in the way on those that come nearest to taking the job.

    Asked where the fleet found nothing for a need that has no lasting obstacle. Where every rule of the cards holds,
    what is left are the processors and the main memory of their machines.
    """
    suitable = [card for card in cards if is_of_type(need, card) and is_large_enough(need, card)]
    in_service = [card for card in suitable if is_in_service(need, card)]
    if not _suffice(need, in_service):
        return _out_of_service([card for card in suitable if card.drained])
    readable = [card for card in in_service if card.measured_free is not None]
    if not _suffice(need, readable):
        unread = [place_name(card) for card in in_service if card.measured_free is None]
        return Obstacle(code=WaitCode.WAIT_READING, numbers={"cards": unread})
    ready = [card for card in readable if _passes(need, card)]
    if _suffice(need, ready):
        return Obstacle(code=WaitCode.WAIT_HOST, numbers={"node": ready[0].node})
    return _crowd_obstacle(need, readable) or _memory_obstacle(need, readable, cards)


def _out_of_service(drained: Sequence[DeviceView]) -> Obstacle:
    names = [place_name(card) for card in drained]
    numbers = {"cards": names, "drain_reason": drained[0].drain_reason}
    return Obstacle(code=WaitCode.GPU_DRAINED, numbers=numbers)


def _crowd_obstacle(need: Need, cards: Sequence[DeviceView]) -> Obstacle | None:
    """There is memory enough, but other jobs are in the way."""
    with_room = [card for card in cards if has_room(need, card)]
    if not _suffice(need, with_room):
        return None
    shared = [card for card in with_room if may_share(need, card)]
    if not _suffice(need, shared):
        names = [place_name(card) for card in with_room if not may_share(need, card)]
        return Obstacle(code=WaitCode.WAIT_EXCLUSIVE, numbers={"cards": names})
    below_cap = [card for card in shared if is_below_cap(need, card)]
    if not _suffice(need, below_cap):
        capped = next(card for card in shared if not is_below_cap(need, card))
        numbers = {"max_holders": capped.max_holders}
        return Obstacle(code=WaitCode.WAIT_CARD_CAP, numbers=numbers)
    busy = [card for card in below_cap if not is_below_busy_cap(need, card)]
    return too_busy(need, min(busy, key=lambda card: card.busy))


def _memory_obstacle(
    need: Need, cards: Sequence[DeviceView], fleet: Sequence[DeviceView]
) -> Obstacle:
    """`cards` are those that could take the job; `fleet` is all of them, of other types too."""
    tight = [card for card in cards if not has_room(need, card)]
    haunted = [card for card in tight if has_room_but_for_strangers(need, card)]
    if haunted and _suffice(need, [*haunted, *(card for card in cards if has_room(need, card))]):
        return strangers_in_the_way(need, max(haunted, key=lambda card: card.foreign))
    roomiest = max(tight, key=room)
    any_type = need._replace(gpu_type=None)
    if need.gpu_type and _suffice(
        need, [card for card in fleet if not obstacle_on(any_type, card)]
    ):
        numbers = {"gpu_type": need.gpu_type, "need": need.memory, "largest": room(roomiest)}
        return Obstacle(code=WaitCode.WAIT_GPU_TYPE, numbers=numbers)
    if need.gpus > 1 or need.nodes > 1:
        return _too_few_ready(need, [card for card in cards if _passes(need, card)])
    return no_room(need, roomiest)


def _too_few_ready(need: Need, ready: Sequence[DeviceView]) -> Obstacle:
    """For a job on several machines, both numbers count the cards of all of them."""
    if need.nodes == 1:
        gpus, most = need.gpus, max(map(len, _gangs(ready).values()), default=0)
    else:
        gpus, most = need.gpus * need.nodes, need.gpus * _machines(need, ready)
    numbers = {"gpus": gpus, "need": need.memory, "ready": most}
    return Obstacle(code=WaitCode.WAIT_CARDS, numbers=numbers)
