"""Rival schedulers that preempt.

    las      least attained service first, in levels, first come first served within a level: the discretised
             two-dimensional LAS of Tiresias (Gu et al., NSDI 2019); knows no durations
    srtf     shortest remaining time first; an oracle, as it must know how long each job still runs
    srsf     shortest remaining service (time x cards) first; an oracle as well

A job gives way only to one that ranks before it, only if it can be preempted, and not before it has run for
`Rules.min_run` seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import count, takewhile
from typing import Any, NamedTuple

from jobs.core.constraints import Need
from jobs.core.plan import PreemptionRule
from jobs.core.simulation.rivals import Placements, Rival
from jobs.core.simulation.waiting import Key, Step
from jobs.core.snapshot import JobView, RunView

_MOMENT = 1e-6  # seconds; after the crossing of a level, so that the comparison there has flipped for certain


class Preemptive(Rival):
    """Waiting and running jobs are ranked together; who ranks first runs."""

    def __init__(self, *given: Any, moves: bool = False, **options: Any) -> None:
        """With `moves`, each cycle places everybody anew, as if moving were free, as in some published studies."""
        super().__init__(*given, **options)
        self._moves = moves

    def rank(self, run: RunView) -> Key:
        """Where a running job ranks now, among the keys of those that wait."""
        raise NotImplementedError

    def cycle(self) -> None:
        """Let waiting jobs take free cards, or those of jobs that rank behind them."""
        if self._moves:
            self._place_anew()
            return
        ranked = [(self.rank(run), run) for run in self.runs.values() if self._may_go(run)]
        ranked.sort(key=lambda pair: pair[0], reverse=True)
        self._victims = ranked
        self._leaving = [run for run in self.runs.values() if run.leaving]
        self._claimed: set[str] = set()
        self.lines.walk(self._try)

    def next_change(self) -> float:
        """When a job may be preempted that could not before."""
        if not self.lines.jobs:
            return math.inf
        ends = (
            run.started_at + self.rules.min_run for run in self.runs.values() if not run.leaving
        )
        return min((at for at in ends if at > self.now), default=math.inf)

    def _may_go(self, run: RunView) -> bool:
        if run.leaving or not run.job.preemptible:
            return False
        return self.now >= run.started_at + self.rules.min_run

    def _try(self, job: JobView, need: Need, key: Key) -> Step:
        placements = self.fleet.find(need)
        if placements is not None:
            return self.start(job, need, placements)
        behind = self._behind(job, key)
        found = self.fewest_gone(need, behind) if behind else None
        if found is None:
            return Step.NO_ROOM
        _gone, placements = found
        self._claim(job, placements)
        return Step.LATER

    def _behind(self, job: JobView, key: Key) -> list[RunView]:
        """Whom the job need not respect: those that leave for it, those that leave anyhow, then the last in rank."""
        leaving = sorted(self._leaving, key=lambda run: run.leaving_for != job.id)
        victims = [run for _rank, run in takewhile(lambda pair: pair[0] > key, self._victims)]
        return [run for run in [*leaving, *victims] if not self._is_claimed(run)]

    def _is_claimed(self, run: RunView) -> bool:
        return any(each.uuid in self._claimed for each in run.placements)

    def _claim(self, job: JobView, placements: Placements) -> None:
        """Keep these cards for the job, and have those that are on them leave."""
        cards = {each.uuid for each in placements}
        self._claimed |= cards
        self.fleet.set_aside(cards)
        for _rank, run in self._victims:
            if not cards.isdisjoint(each.uuid for each in run.placements):
                self.tell_to_leave(run, job.id)
        self._victims = [pair for pair in self._victims if not self._is_claimed(pair[1])]

    # --- moving for free -------------------------------------------------------------------------------

    def _place_anew(self) -> None:
        """Place everybody in order on empty machines; who must stop or move stops, the others start at once."""
        movable = {run.job.id: run for run in self.runs.values() if self._may_go(run)}
        for run in movable.values():
            self.fleet.give_back(Need.of(run.job), run.placements)
        wanted = self._wanted(movable)
        stays = {job.id for job, where in wanted if _is_there(movable.get(job.id), where)}
        moved = [(job, where) for job, where in wanted if job.id not in stays]
        for job, placements in moved:
            self.fleet.give_back(Need.of(job), placements)
        for run in movable.values():
            if run.job.id not in stays:
                self.fleet.take(Need.of(run.job), run.placements)
                self.tell_to_leave(run, "")
        if any(run.leaving for run in self.runs.values()):
            return  # the others start when these have gone, which may be at this very instant
        for job, placements in moved:
            self.lines.drop(job.id)
            self.start(job, Need.of(job), placements)

    def _wanted(self, movable: dict[str, RunView]) -> list[tuple[JobView, Placements]]:
        """Who should run, and where, if everybody could move. They are counted in the fleet."""
        wanted: list[tuple[JobView, Placements]] = []
        full: set[Need] = set()

        def attempt(job: JobView, need: Need, _key: Key) -> Step:
            placements = None if need in full else self.fleet.find(need)
            if placements is None:
                full.add(need)
                return Step.NO_ROOM
            self.fleet.take(need, placements)
            wanted.append((job, placements))
            return Step.LATER

        self.lines.walk(attempt, [(self.rank(run), run.job) for run in movable.values()])
        return wanted


def _is_there(run: RunView | None, placements: Placements) -> bool:
    return run is not None and {each.uuid for each in run.placements} == {
        each.uuid for each in placements
    }


class Las(Preemptive):
    """Least attained service first: levels by GPU-seconds had, `Rules.service_levels` apart.

    Within a level running jobs keep their cards, then come those that had to stop, then the others in the order in
    which they entered the level. A job that enters a level while it runs ranks last there until it has been let run on.
    """

    rule = PreemptionRule.SERVICE

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._places: dict[str, _Place] = {}
        self._had: dict[str, float] = {}  # GPU-seconds of what has ended
        self._steps = count()

    def key(self, job: JobView) -> Key:
        """By level; those that had to stop before those that have not run in it."""
        place = self._places.get(job.id)
        if place is None:
            place = self._places[job.id] = self._enter(0)
        return place.level, (_STOPPED if place.settled else _NEW), place.step

    def rank(self, run: RunView) -> Key:
        """By level; those that have settled in it before all others."""
        place = self._places[run.job.id]
        return place.level, (_SETTLED if place.settled else _NEW), place.step

    def end(self, job_id: str, at: float) -> RunView:
        """The job has gone; what it has had is remembered."""
        run = self.runs[job_id]
        self._see(run, at)
        self._had[job_id] = self._attained(run, at)
        return super().end(job_id, at)

    def start(self, job: JobView, need: Need, placements: Placements) -> Step:
        """A job that starts has settled in its level."""
        self._places[job.id] = self._enter(self._places[job.id].level, settled=True)
        return super().start(job, need, placements)

    def cycle(self) -> None:
        """See who has passed a level, then as ever."""
        for run in self.runs.values():
            if not run.leaving:
                self._see(run, self.now)
        super().cycle()
        for run in self.runs.values():
            place = self._places[run.job.id]
            if not place.settled and self._may_go(run):
                self._places[run.job.id] = self._enter(place.level, settled=True)

    def next_change(self) -> float:
        """When a job passes its next level, or may be preempted."""
        crossings = [self._next_level_at(run) for run in self.runs.values() if not run.leaving]
        return min([super().next_change(), *(at for at in crossings if at > self.now)])

    def _enter(self, level: int, *, settled: bool = False) -> _Place:
        return _Place(level, next(self._steps), settled)

    def _see(self, run: RunView, at: float) -> None:
        level = bisect_right(self.rules.service_levels, self._attained(run, at))
        if level > self._places[run.job.id].level:
            self._places[run.job.id] = self._enter(level)

    def _attained(self, run: RunView, at: float) -> float:
        return self._had.get(run.job.id, 0.0) + (at - run.started_at) * run.job.cards

    def _next_level_at(self, run: RunView) -> float:
        levels = self.rules.service_levels
        level = self._places[run.job.id].level
        if level >= len(levels):
            return math.inf
        had = self._had.get(run.job.id, 0.0)
        return run.started_at + (levels[level] - had) / run.job.cards + _MOMENT


class _Place(NamedTuple):
    """Where a job stands in the levels."""

    level: int
    step: int  # when it entered, in an order of its own
    settled: bool  # whether it has been let run in this level


_SETTLED, _STOPPED, _NEW = range(3)


class ShortestTime(Preemptive):
    """The shortest remaining time first."""

    knows_the_future = True
    rule = PreemptionRule.PRIORITY

    def key(self, job: JobView) -> Key:
        """By what it still runs, then by arrival."""
        return self.size(job, job.run_time), self.number(job.id)

    def rank(self, run: RunView) -> Key:
        """By what it still runs now."""
        return self.size(run.job, run.expected_end - self.now), self.number(run.job.id)

    def size(self, job: JobView, seconds: float) -> float:
        """What is compared."""
        del job
        return seconds


class ShortestService(ShortestTime):
    """The least remaining service, time x cards, first."""

    def size(self, job: JobView, seconds: float) -> float:
        """What is compared."""
        return seconds * job.cards
