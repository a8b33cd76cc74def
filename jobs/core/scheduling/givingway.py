"""Who gives way on a card where jobs run already: for memory that one of them needs, or because packing does not pay.

As everywhere, nobody is displaced by what comes after it in the order, and no project loses what it is guaranteed. What
is different from making room for a waiting job: a minimum run protects nobody, because a card that is full ends
somebody's run anyway, and at no better moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobs.core.plan import Preempt, PreemptionRule
from jobs.core.scheduling.state import State
from jobs.core.snapshot import RunView

_PEAK_SLACK = (
    1.05  # a job that has regrown to what it asked for may be charged a little more than that
)


class GivingWay:
    """Decides on the scheduler's state, and counts there who has been told to go."""

    def __init__(self, state: State) -> None:
        self._state = state

    def for_memory(self, uuid: str, job_id: str, short: int, now: float) -> tuple[Preempt, ...]:
        """Who goes so that a growing job has `short` bytes more on this card.

        The least valuable first, the growing job itself among them; nobody where it would not be enough, or where
        enough are on their way out already.
        """
        state = self._state
        grower = state.runs.get(job_id)
        if grower is None or grower.leaving or not state.rules.preemption:
            return ()
        there = state.runs.on_card(uuid)
        coming = sum(memory for run, memory in there if run.leaving)
        if coming >= short:
            return ()
        memory = {run.job.id: amount for run, amount in there}
        runs = [run for run, _amount in there]
        yielding = [run for run in runs if self._yields(run, grower, memory[job_id], now)]
        chosen = self._enough(self._worst_first(yielding, now), grower, memory, short - coming, now)
        if grower in chosen:
            return self._itself(grower, runs, now)
        needed = _spared(chosen, memory, short - coming)
        return self._tell(needed, grower, PreemptionRule.PRESSURE, now)

    def for_pace(self, uuid: str, now: float) -> tuple[Preempt, ...]:
        """Who goes from a card whose jobs get less done together than one alone; nobody while one is leaving."""
        state = self._state
        there = [run for run, _memory in state.runs.on_card(uuid)]
        if not state.rules.preemption or any(run.leaving for run in there):
            return ()
        ranked = self._worst_first([run for run in there if not run.frozen], now)
        for run in ranked if len(ranked) > 1 else ():
            best = ranked[-1] if run is not ranked[-1] else ranked[-2]
            is_same = run.job.project == best.job.project
            if state.runs.urgency(run, now) > state.runs.urgency(best, now):
                return ()
            if self._may_go(run) and (is_same or state.quota.stays_guaranteed_without(run, now)):
                return self._tell([run], best, PreemptionRule.PACKING, now)
        return ()

    # --- who may be asked ----------------------------------------------------------------------------

    def _may_go(self, run: RunView) -> bool:
        held = run.frozen or run.leaving
        few = run.job.preemptions < self._state.rules.most_preemptions
        return run.job.preemptible and not held and few

    def _enough(
        self,
        ranked: Sequence[RunView],
        grower: RunView,
        memory: Mapping[str, int],
        short: int,
        now: float,
    ) -> list[RunView]:
        """The first who hold so much together, or the growing job if it comes first; nobody if all is too little."""
        quota, chosen = self._state.quota, list[RunView]()
        try:
            for run in ranked:
                if run is grower:
                    return [run]  # before it got enough: it is less valuable than the rest
                is_other = run.job.project != grower.job.project
                if is_other and not quota.stays_guaranteed_without(run, now):
                    continue
                chosen.append(run)
                quota.release(run.job.id)
                if sum(memory[each.job.id] for each in chosen) >= short:
                    return chosen
            return []
        finally:
            for run in chosen:
                quota.hold(run)

    def _yields(self, run: RunView, grower: RunView, memory: int, now: float) -> bool:
        if not self._may_go(run):
            return False
        if run is grower:
            return True
        if run.job.project == grower.job.project:
            return self._place(run, now) < self._place(grower, now)
        if not self._state.quota.stays_guaranteed_without(run, now):
            return False
        entitled = not self._state.quota.stays_guaranteed_without(grower, now)
        return entitled or _took_what_was_lent(run, grower, memory)

    def _place(self, run: RunView, now: float) -> tuple[float, float, str]:
        """The least urgent is the smallest, then who was handed in last: an order without ties."""
        return self._state.runs.urgency(run, now), -run.job.submitted_at, run.job.id

    def _worst_first(self, runs: Sequence[RunView], now: float) -> list[RunView]:
        """The least urgent first, then the cheapest, then the youngest."""
        state = self._state
        return sorted(
            runs,
            key=lambda run: (
                state.runs.urgency(run, now),
                state.preemption.cost(run, now),
                -run.started_at,
                run.job.id,
            ),
        )

    # --- the decision --------------------------------------------------------------------------------

    def _itself(self, grower: RunView, there: Sequence[RunView], now: float) -> tuple[Preempt, ...]:
        """The growing job is the least valuable one: it goes, for the sake of the others."""
        others = [run for run in there if run is not grower and not run.leaving]
        if not others:
            return ()
        best = self._worst_first(others, now)[-1]
        return self._tell([grower], best, PreemptionRule.PRESSURE, now)

    def _tell(
        self, gone: Sequence[RunView], stays: RunView, rule: PreemptionRule, now: float
    ) -> tuple[Preempt, ...]:
        told = []
        for run in gone:
            lost = self._state.preemption.cost(run, now)
            self._state.tell_to_leave(run, stays.job)
            told.append(Preempt(job=run.job.id, beneficiary=stays.job.id, rule=rule, lost=lost))
        return tuple(told)


def _took_what_was_lent(run: RunView, grower: RunView, memory: int) -> bool:
    """Whether the growing job takes back no more than it had asked for, from one that came later."""
    return memory <= grower.job.min_memory * _PEAK_SLACK and run.started_at > grower.started_at


def _spared(chosen: Sequence[RunView], memory: Mapping[str, int], short: int) -> list[RunView]:
    """Without those, from the last but one to the first, who need not go after all."""
    needed = list(chosen)
    for run in reversed(chosen[:-1]):
        fewer = [each for each in needed if each is not run]
        if sum(memory[each.job.id] for each in fewer) >= short:
            needed = fewer
    return needed
