"""Who must give way so that a blocked job can start: the least urgent jobs, at the least loss of work.

Order preserving: a job only ever displaces what comes after it in the order, so that the displaced one can never
displace it in turn. As in KAI and Kueue, victims are taken greedily and then spared again, in reverse, while the job
still fits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from jobs.core.constraints import Need, is_large_enough, is_of_type, room
from jobs.core.plan import Placement, PreemptionRule
from jobs.core.scheduling.fleet import Fleet
from jobs.core.scheduling.keys import Kind, level
from jobs.core.scheduling.quota import QuotaBooks
from jobs.core.scheduling.rules import Rules
from jobs.core.scheduling.runs import Runs
from jobs.core.snapshot import DeviceView, JobView, RunView

_MOST_PLACES = 64  # machines or cards that are tried for one job
_MOST_CANDIDATES = 512


@dataclass(frozen=True, slots=True)
class Victims:
    """Jobs that give way, what that costs (weighted GPU-seconds each), and where the other one goes then."""

    runs: tuple[RunView, ...]
    placements: tuple[Placement, ...]
    rule: PreemptionRule


class Preemption:
    """Finds victims; changes nothing."""

    def __init__(self, fleet: Fleet, runs: Runs, quota: QuotaBooks, rules: Rules) -> None:
        self._fleet, self._runs, self._quota, self._rules = fleet, runs, quota, rules

    def may_help(self, job: JobView, kind: Kind, now: float) -> bool:
        """Whether anybody at all could have to give way for this job; cheap."""
        if not self._rules.preemption or kind.need.gpus == 0:
            return False
        if self._runs.lowest_urgency(job.project) < kind.urgency:
            return True
        others = any(slug != job.project for slug in self._runs.projects_with_victims)
        return others and self._quota.is_within_guarantee(job, now)

    def victims(
        self, job: JobView, kind: Kind, now: float, kept: Collection[str]
    ) -> Victims | None:
        """The jobs that must give way for this one; None where that would not help. `kept` are cards of others."""
        if self._quota.is_within_guarantee(job, now):
            found = self._choose(kind, self._borrowers(job, now, kept), now, reclaim=True)
            if found:
                return Victims(*found, rule=PreemptionRule.RECLAIM)
        own = [
            run
            for run in self._runs.victims(job.project, kind.urgency)
            if self._may_go(run, now, kept)
        ]
        found = self._choose(kind, self._sorted(own, now), now, reclaim=False)
        if not found:
            return None
        return Victims(*found, rule=self._rule(job, found[0], now))

    def _rule(self, job: JobView, gone: Sequence[RunView], now: float) -> PreemptionRule:
        if any(run.job.priority < job.priority for run in gone):
            return PreemptionRule.PRIORITY
        passed = level(job, job.service, self._rules)
        if all(level(run.job, self._runs.service(run, now), self._rules) > passed for run in gone):
            return PreemptionRule.SERVICE
        return PreemptionRule.PATIENCE

    def cost(self, run: RunView, now: float) -> float:
        """GPU-seconds that are done again or spent on suspending and resuming if the job has to go now."""
        saved = run.started_at if run.saved_at is None else run.saved_at
        again = 0.0 if run.job.saves_itself else max(0.0, now - saved)
        return (again + run.job.suspend_seconds) * len(run.placements)

    # --- who may be asked ----------------------------------------------------------------------------

    def _may_go(self, run: RunView, now: float, kept: Collection[str]) -> bool:
        ends_soon = run.expected_end - now < run.job.suspend_seconds
        return not ends_soon and not any(each.uuid in kept for each in run.placements)

    def _borrowers(self, job: JobView, now: float, kept: Collection[str]) -> list[RunView]:
        donors = [slug for slug in self._runs.projects_with_victims if slug != job.project]
        donors.sort(key=lambda slug: (-self._quota.over_share(slug), slug))
        return [
            run
            for slug in donors
            for run in self._sorted(self._runs.victims(slug), now)
            if self._may_go(run, now, kept) and self._quota.stays_guaranteed_without(run, now)
        ]

    def _sorted(self, runs: Sequence[RunView], now: float) -> list[RunView]:
        """The least urgent first, then the cheapest, then the youngest."""
        return sorted(
            runs,
            key=lambda run: (
                self._runs.urgency(run, now),
                self.cost(run, now),
                -run.started_at,
                run.job.id,
            ),
        )

    # --- how many of them ----------------------------------------------------------------------------

    def _choose(
        self, kind: Kind, candidates: Sequence[RunView], now: float, *, reclaim: bool
    ) -> tuple[tuple[RunView, ...], tuple[Placement, ...]] | None:
        best: tuple[tuple[float, float], list[RunView], tuple[Placement, ...]] | None = None
        for group in self._places(kind, candidates[:_MOST_CANDIDATES]):
            found = self._greedy(kind, group, now, reclaim=reclaim)
            if found is None:
                continue
            price = self._price(found[0], now)
            if best is None or price < best[0]:
                best = price, *found
        return (tuple(best[1]), best[2]) if best else None

    def _places(self, kind: Kind, candidates: Sequence[RunView]) -> list[list[RunView]]:
        """The candidates by where the job could go: by card, by machine, or all for several machines."""
        if kind.need.nodes > 1:
            return [list(candidates)]
        freed: dict[str, int] = defaultdict(int)
        for run in candidates:
            for each in run.placements:
                freed[each.uuid] += each.memory
        useful = {
            uuid: card.uuid if kind.need.gpus == 1 else card.node
            for uuid, memory in freed.items()
            if (card := self._fleet.get(uuid)) and _may_fit(kind.need, card, memory)
        }
        groups: dict[str, dict[str, RunView]] = defaultdict(dict)
        for run in candidates:
            for each in run.placements:
                if each.uuid in useful:
                    groups[useful[each.uuid]][run.job.id] = run
        return [list(group.values()) for group in groups.values()][:_MOST_PLACES]

    def _price(self, runs: Sequence[RunView], now: float) -> tuple[float, float]:
        urgent = max(self._runs.urgency(run, now) for run in runs)
        return urgent, sum(self.cost(run, now) for run in runs)

    def _greedy(
        self, kind: Kind, candidates: Sequence[RunView], now: float, *, reclaim: bool
    ) -> tuple[list[RunView], tuple[Placement, ...]] | None:
        chosen: list[RunView] = []
        try:
            for run in candidates:
                if reclaim:
                    if not self._quota.stays_guaranteed_without(run, now):
                        continue
                    self._quota.release(run.job.id)
                chosen.append(run)
                placements = self._fleet.find_if(kind.need, self._without(chosen))
                if placements:
                    return self._spare(kind, chosen, placements)
            return None
        finally:
            for run in chosen if reclaim else ():
                self._quota.hold(run)

    def _spare(
        self, kind: Kind, chosen: Sequence[RunView], placements: tuple[Placement, ...]
    ) -> tuple[list[RunView], tuple[Placement, ...]]:
        """Leave out, from the last to the first, whoever need not go after all."""
        needed = list(chosen)
        for run in reversed(chosen[:-1]):
            fewer = [each for each in needed if each is not run]
            enough = self._fleet.find_if(kind.need, self._without(fewer))
            if enough:
                needed, placements = fewer, enough
        return needed, placements

    def _without(self, gone: Sequence[RunView]) -> dict[str, DeviceView]:
        return cards_without(self._fleet, gone)


def _may_fit(need: Need, card: DeviceView, freed: int) -> bool:
    """Whether the card could take the job if these bytes more were free; cheap, and never a no where it fits."""
    if not is_of_type(need, card) or not is_large_enough(need, card):
        return False
    # the threshold does not bind the only job on a card
    return need.memory <= room(card) + freed + card.total - int(card.threshold * card.total)


def cards_without(fleet: Fleet, gone: Sequence[RunView]) -> dict[str, DeviceView]:
    """The cards of these jobs as they will be when the jobs have gone."""
    changed: dict[str, DeviceView] = {}
    for run in gone:
        for each in run.placements:
            card = changed.get(each.uuid) or fleet.get(each.uuid)
            if card is not None:
                changed[each.uuid] = _with_one_less(card, run.job, each.memory)
    return changed


def _with_one_less(card: DeviceView, job: JobView, memory: int) -> DeviceView:
    measured = card.measured_free
    return replace(
        card,
        booked=max(0, card.booked - memory),
        holders=max(0, card.holders - 1),
        exclusive=card.exclusive and not job.exclusive,
        busy=max(0.0, card.busy - job.sm_share),
        measured_free=None if measured is None else min(card.total, measured + memory),
    )
