"""Cards that are kept for jobs that do not fit yet, so that a stream of small jobs cannot starve a large one.

EASY backfilling (Lifka, "The ANL/IBM SP scheduling system", 1995) carried over to memory: a later job may use a card
that is kept if it is expected to be gone in time, if there is room for both, or if the waiting job may preempt it.
"""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import islice

from jobs.core.constraints import Need
from jobs.core.plan import Reservation
from jobs.core.scheduling.fleet import Fleet
from jobs.core.scheduling.keys import Kind
from jobs.core.scheduling.outlook import Outlook, outlook
from jobs.core.scheduling.rules import Rules
from jobs.core.scheduling.runs import Runs
from jobs.core.snapshot import JobView

_MOST_BOARDS = 32  # needs whose outlooks are remembered
_MOST_CARDS = (
    256  # cards that are looked at for one need: enough to choose from in a fleet of any size
)
_MOST_GANGS = 8  # or as many as so many gangs need


@dataclass(slots=True)
class _Kept:
    """The cards of one reservation, with what they can spare."""

    job: JobView
    urgency: float
    at: float  # when there will be room; infinite where nobody can tell
    until: float  # others may use the cards until then, if they are expected to be gone
    draining: bool
    spare: dict[str, int]  # bytes, by card
    slots: dict[str, float]
    idle: dict[str, float]  # SM demand that may be added

    def lets_all(self, kind: Kind, now: float) -> bool:
        """Whether jobs of this kind may use any card of the reservation, because they will have gone in time."""
        return not self.draining and now + kind.run_time <= self.until

    def displaces(self, kind: Kind, now: float, min_run: float) -> bool:
        """Whether the waiting job may displace jobs of this kind in time, if they are of its own project.

        Not from cards that are drained: one of a stream of them would always be in its minimum run.
        """
        gives_way = kind.preemptible and kind.urgency < self.urgency and not self.draining
        return gives_way and now + min_run <= self.until

    def lets(self, kind: Kind) -> Iterator[str]:
        """Cards that have room for jobs of this kind and the waiting job together."""
        if kind.need.exclusive:
            return
        for uuid, spare in self.spare.items():
            is_idle = kind.need.sm_share <= self.idle[uuid]
            if kind.need.memory <= spare and self.slots[uuid] >= 1 and is_idle:
                yield uuid


class Reservations:
    """The reservations of one cycle; what is known of cards lasts from cycle to cycle."""

    def __init__(self, fleet: Fleet, runs: Runs, rules: Rules) -> None:
        self._fleet, self._runs, self._rules = fleet, runs, rules
        self._kept: dict[str, _Kept] = {}
        self._taken: set[str] = set()
        self._boards: OrderedDict[Need, _Board] = OrderedDict()
        self._changed: set[str] = set()  # cards, since the boards were last told

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """A new cycle keeps nothing yet."""
        self._kept.clear()
        self._taken.clear()
        self._fleet.set_aside_nothing()

    def touch(self, uuids: Iterable[str]) -> None:
        """These cards, or what runs on them, have changed."""
        self._changed.update(uuids)

    @property
    def taken(self) -> set[str]:
        """All cards that are kept for somebody."""
        return self._taken

    def keep_for(self, job: JobView, kind: Kind, now: float) -> bool:
        """Keep for the job the cards that will have room soonest; False where none ever will."""
        spans_too_many = not self._fleet.may_span(kind.need)
        chosen = [] if spans_too_many else self._board(kind.need).best(self._taken)
        if not chosen:
            return False
        at = max(each.at for each in chosen)
        drain_at = job.queued_at + self._rules.drain_after
        self._keep(
            _Kept(
                job,
                kind.urgency,
                at,
                drain_at if at == math.inf else at,
                now >= drain_at,
                {each.uuid: each.spare for each in chosen},
                {each.uuid: each.slots for each in chosen},
                {each.uuid: each.idle for each in chosen},
            )
        )
        return True

    def promise(self, job: JobView, uuids: Iterable[str]) -> None:
        """Keep cards on which room is being made for the job; nobody else may use them meanwhile."""
        nothing = dict.fromkeys(uuids, -1)
        none = dict.fromkeys(nothing, 0.0)
        self._keep(_Kept(job, math.inf, math.inf, -math.inf, True, nothing, none, none.copy()))

    def drop(self, job_id: str) -> None:
        """The job needs its cards kept no more: what it leaves of them is there for everybody."""
        if self._kept.pop(job_id, None) is not None:
            self._taken = {uuid for kept in self._kept.values() for uuid in kept.spare}
            self._fleet.set_aside_nothing()
            self._fleet.set_aside(self._taken)

    def open_to(self, kind: Kind, project: str, now: float) -> list[str]:
        """Cards that are kept for others and may be used by jobs of this kind and project all the same."""
        found: list[str] = []
        for kept in self._kept.values():
            is_own = kept.job.project == project and self._displaces(kept, kind, now)
            if is_own or kept.lets_all(kind, now):
                found.extend(kept.spare)
            else:
                found.extend(kept.lets(kind))
        return found

    def projects_let_in(self, kind: Kind, now: float) -> set[str]:
        """The projects whose jobs of this kind may use cards that are kept from jobs of this kind of others."""
        return {
            kept.job.project for kept in self._kept.values() if self._displaces(kept, kind, now)
        }

    def _displaces(self, kept: _Kept, kind: Kind, now: float) -> bool:
        return self._rules.preemption and kept.displaces(kind, now, self._rules.min_run)

    def use(self, uuid: str, memory: int, busy: float) -> None:
        """A job has been let in on a card, which may be one that is kept."""
        if uuid in self._taken:
            for kept in self._kept.values():
                if uuid in kept.spare:
                    kept.spare[uuid] -= memory
                    kept.slots[uuid] -= 1
                    kept.idle[uuid] -= busy

    def holder_of(self, uuids: Iterable[str]) -> tuple[str, float]:
        """The first job for which one of these cards is kept, and until when; empty where none is."""
        wanted = set(uuids)
        kept = next((each for each in self._kept.values() if wanted & set(each.spare)), None)
        return (kept.job.id, kept.at) if kept else ("", math.inf)

    def listed(self) -> tuple[Reservation, ...]:
        """All reservations, in the order in which they were made."""
        return tuple(
            Reservation(
                job=kept.job.id,
                uuids=tuple(kept.spare),
                at=None if math.isinf(kept.at) else kept.at,
                draining=kept.draining,
            )
            for kept in self._kept.values()
        )

    def _keep(self, kept: _Kept) -> None:
        self._kept[kept.job.id] = kept
        self._taken.update(kept.spare)
        self._fleet.set_aside(kept.spare)

    def _board(self, need: Need) -> _Board:
        for known in self._boards.values() if self._changed else ():
            known.touch(self._changed)
        self._changed.clear()
        board = self._boards.get(need)
        if board is None:
            board = self._boards[need] = _Board(need, self._fleet, self._runs)
            if len(self._boards) > _MOST_BOARDS:
                self._boards.popitem(last=False)
        self._boards.move_to_end(need)
        board.refresh()
        return board


_Place = tuple[str, str]  # a card (uuid, ""), or the cards of one model in a machine (node, model)


class _Board:
    """For one need: which cards, or machines, will have room soonest. Only what has changed is looked at again."""

    def __init__(self, need: Need, fleet: Fleet, runs: Runs) -> None:
        self._need, self._fleet, self._runs = need, fleet, runs
        self._most = max(_MOST_CARDS, _MOST_GANGS * need.gpus * need.nodes)
        looked_at = islice(fleet.suitable(need), self._most)
        self._watched = {card.uuid for card in looked_at}
        self._stale = set(self._watched)
        self._cards: dict[_Place, dict[str, Outlook]] = defaultdict(dict)
        self._place_of: dict[str, _Place] = {}
        self._ranks: dict[_Place, tuple[object, ...]] = {}
        self._heap: list[tuple[tuple[object, ...], _Place]] = []

    def touch(self, uuids: AbstractSet[str]) -> None:
        """These cards have changed. Where few are watched, each of them may be one that has become suitable."""
        self._stale |= uuids if len(self._watched) < self._most else self._watched & uuids

    def refresh(self) -> None:
        """Look again at the cards that have changed."""
        changed = {place for uuid in sorted(self._stale) if (place := self._look(uuid)) is not None}
        self._stale.clear()
        for place in changed:
            self._rank(place)
        if len(self._heap) > 4 * len(self._ranks) + 64:
            self._heap = [(rank, place) for place, rank in self._ranks.items()]
            heapify(self._heap)

    def best(self, taken: set[str]) -> list[Outlook]:
        """The cards that will do soonest and are not taken; empty where none ever will."""
        wanted, found, popped = self._need.nodes, defaultdict[str, list[_Place]](list), []
        while self._heap:
            rank, place = heappop(self._heap)
            if self._ranks.get(place) != rank:
                continue
            popped.append((rank, place))
            cards = self._cards[place]
            if taken.intersection(cards):
                continue
            model = next(iter(cards.values())).name
            found[model].append(place)
            if len(found[model]) == wanted:
                break
        for entry in popped:
            heappush(self._heap, entry)
        places = next((each for each in found.values() if len(each) == wanted), [])
        return [each for place in places for each in self._soonest(place)]

    def _look(self, uuid: str) -> _Place | None:
        old = self._place_of.pop(uuid, None)
        if old is not None:
            del self._cards[old][uuid]
        card = self._fleet.get(uuid)
        if card is None or not self._fleet.is_suitable(self._need, card):
            self._watched.discard(uuid)
            return old
        if len(self._watched) == self._most and uuid not in self._watched:
            return old
        self._watched.add(uuid)
        seen = outlook(self._need, card, self._runs.on_card(uuid))
        if seen is None:
            return old
        place = (uuid, "") if self._need.gpus == 1 else (card.node, card.name)
        self._cards[place][uuid] = seen
        self._place_of[uuid] = place
        return place

    def _rank(self, place: _Place) -> None:
        soonest = self._soonest(place)
        if len(soonest) < self._need.gpus:
            self._ranks.pop(place, None)
            return
        last = soonest[-1].rank
        rank = (last[0], sum(each.rank[1] for each in soonest), *last[2:])
        if self._ranks.get(place) != rank:
            self._ranks[place] = rank
            heappush(self._heap, (rank, place))

    def _soonest(self, place: _Place) -> list[Outlook]:
        return sorted(self._cards[place].values(), key=lambda each: each.rank)[: self._need.gpus]
