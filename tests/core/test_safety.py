"""What must hold in every world: named properties of `decide`, tried on random ones."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.core.constraints import Need
from jobs.core.decide import decide, in_order
from jobs.core.gputypes import matches_gpu_type
from jobs.core.placement import verdicts
from jobs.core.plan import Placement, Plan, PreemptionRule, WaitCode
from jobs.core.scheduling.keys import guard_time, static_key
from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import DeviceView, JobView, Limits, ProjectView, RunView, Snapshot
from jobs.core.states import Priority
from jobs.core.units import GIB
from tests.builders import NOW, evolve

MODELS = [
    ("NVIDIA A100-SXM4-80GB", 80),
    ("NVIDIA A100-PCIE-40GB", 40),
    ("NVIDIA GeForce RTX 4090", 24),
]
PROJECTS = ("vision", "speech")


class Dice:
    """Draws a world from a seed. Hypothesis' own strategies prefer small worlds, in which nothing collides."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.pick = self._random.choice
        self.between = self._random.randint

    def one_in(self, count: int) -> bool:
        return self.between(1, count) == 1

    def up_to_or_none(self, least: int, most: int) -> int | None:
        return self.between(least, most) if self.one_in(2) else None

    def card(self, index: int) -> DeviceView:
        """A card on which nobody is yet."""
        name, total = self.pick(MODELS)
        foreign = self.pick([0, 0, 0, 0, 1, 10, total])
        rest = max(0, total - foreign)
        measured = self.pick([rest, rest, rest, rest // 2, total])
        return DeviceView(
            uuid=f"gpu-{index}",
            node=f"node-{index // 4}",
            index=index % 4,
            name=name,
            total=total * GIB,
            safety=GIB,
            foreign=foreign * GIB,
            measured_free=None if self.one_in(10) else measured * GIB,
            threshold=self.pick([0.3, 0.8, 0.9, 0.95, 1.0]),
            max_holders=self.pick([None, 1, 2, 3, 8]),
            drained=self.one_in(10),
        )

    def run(self, number: int, cards: dict[str, DeviceView]) -> RunView | None:
        """A job on a card that has room for it; the card is filled accordingly."""
        card = self.pick(list(cards.values()))
        free = card.total - card.safety - card.foreign - card.booked
        memory = min(free, self.pick([1, 4, 8, 14, 20]) * GIB)
        if memory <= 0 or card.exclusive:
            return None
        alone = not card.holders and self.one_in(10)
        measured = None if card.measured_free is None else max(0, card.measured_free - memory)
        cards[card.uuid] = evolve(
            card,
            booked=card.booked + memory,
            holders=card.holders + 1,
            exclusive=alone,
            measured_free=measured,
        )
        started = NOW - self.pick([10, 1000, 4000, 90_000])
        job = evolve(
            self.job(number),
            id=f"run-{number}",
            min_memory=memory,
            gpus=1,
            nodes=1,
            exclusive=alone,
            not_before=None,
            preemptions=self.pick([0, 0, 0, 4]),
        )
        return RunView(
            job=job,
            placements=(Placement(uuid=card.uuid, memory=memory),),
            started_at=started,
            expected_end=self.pick([math.inf, math.inf, NOW - 5, NOW + 100, NOW + 9000]),
            saved_at=self.pick([None, started + 5]),
            frozen=self.one_in(10),
        )

    def job(self, number: int) -> JobView:
        return JobView(
            id=f"job-{number}",
            task_id=f"task-{number}",
            project=self.pick(PROJECTS),
            user=self.pick(["ana", "bo"]),
            priority=self.pick(list(Priority)),
            submitted_at=NOW - self.pick([0, 1, 2, 3, 4, 5, 8000, 300_000]),
            min_memory=self.pick([1, 4, 4, 8, 8, 8, 14, 20, 38, 60, 79, 200]) * GIB,
            gpus=self.pick([1, 1, 1, 1, 1, 1, 2, 3]),
            nodes=2 if self.one_in(20) else 1,
            gpu_type=self.pick([None] * 8 + ["A100", "A100-80G", "RTX4090", "H100"]),
            exclusive=self.one_in(6),
            preemptible=self.one_in(2),
            est_time=self.pick([math.inf, math.inf, 60.0, 7200.0]),
            not_before=NOW + 5 if self.one_in(10) else None,
        )

    def project(self, slug: str) -> ProjectView:
        memory = self.up_to_or_none(20, 100)
        limit = Limits(
            cards=self.up_to_or_none(1, 6),
            memory=None if memory is None else memory * GIB,
            running=self.up_to_or_none(1, 6),
        )
        unlimited = self.one_in(2)
        return ProjectView(
            slug=slug,
            limit=Limits() if unlimited else limit,
            guarantee=Limits(cards=self.up_to_or_none(0, 4)),
            weight=self.pick([1.0, 1.0, 3.0]),
            usage=self.pick([0.0, 5000.0]),
        )

    def world(self) -> Snapshot:
        cards = {
            card.uuid: card
            for card in map(self.card, range(self.pick([0, 1, 2, 3, 4, 5, 6, 7, 8, 8])))
        }
        runs = [
            run
            for number in range(self.between(0, 8) if cards else 0)
            if (run := self.run(number, cards))
        ]
        return Snapshot(
            now=NOW,
            devices=tuple(cards.values()),
            queued=tuple(self.job(number) for number in range(self.between(0, 20))),
            running=tuple(runs),
            projects={slug: self.project(slug) for slug in PROJECTS},
            max_workers=self.up_to_or_none(0, 12),
            agents_fresh=not self.one_in(20),
        )


def worlds() -> st.SearchStrategy[Snapshot]:
    return st.integers(0, 2**32).map(lambda seed: Dice(seed).world())


def booked_by(plan: Plan) -> Counter[str]:
    total: Counter[str] = Counter()
    for start in plan.starts:
        for each in start.placements:
            total[each.uuid] += each.memory
    return total


def starts_on(plan: Plan) -> Counter[str]:
    return Counter(each.uuid for start in plan.starts for each in start.placements)


def jobs_of(snapshot: Snapshot) -> dict[str, JobView]:
    return {job.id: job for job in snapshot.queued}


def never_over_capacity(snapshot: Snapshot, plan: Plan) -> None:
    added = booked_by(plan)
    for card in snapshot.devices:
        if added[card.uuid]:
            assert card.foreign + card.safety + card.booked + added[card.uuid] <= card.total
            assert added[card.uuid] <= (card.measured_free or 0)


def never_over_the_threshold_unless_alone(snapshot: Snapshot, plan: Plan) -> None:
    added, count = booked_by(plan), starts_on(plan)
    for card in snapshot.devices:
        is_alone = not card.holders and not card.booked and count[card.uuid] == 1
        if added[card.uuid] and not (is_alone and card.foreign <= card.safety):
            assert card.planned + added[card.uuid] <= card.threshold * card.total


def never_on_a_drained_or_stale_card(snapshot: Snapshot, plan: Plan) -> None:
    for card in snapshot.devices:
        if card.drained or card.measured_free is None:
            assert not starts_on(plan)[card.uuid]


def never_above_the_cap_of_a_card(snapshot: Snapshot, plan: Plan) -> None:
    for card in snapshot.devices:
        if added := starts_on(plan)[card.uuid]:
            assert card.max_holders is None or card.holders + added <= card.max_holders


def nobody_beside_an_exclusive_job(snapshot: Snapshot, plan: Plan) -> None:
    jobs = jobs_of(snapshot)
    wanted = {
        each.uuid for start in plan.starts if jobs[start.job].exclusive for each in start.placements
    }
    for card in snapshot.devices:
        added = starts_on(plan)[card.uuid]
        assert not (card.exclusive and added)
        assert card.uuid not in wanted or (added == 1 and card.holders == 0)


def only_on_the_type_asked_for(snapshot: Snapshot, plan: Plan) -> None:
    jobs, known = jobs_of(snapshot), {card.uuid: card for card in snapshot.devices}
    for start in plan.starts:
        for each in start.placements:
            card = known[each.uuid]
            assert matches_gpu_type(jobs[start.job].gpu_type, card.name, card.total)


def gangs_are_whole(snapshot: Snapshot, plan: Plan) -> None:
    jobs, known = jobs_of(snapshot), {card.uuid: card for card in snapshot.devices}
    for start in plan.starts:
        job = jobs[start.job]
        assert job.nodes == 1
        assert len({each.uuid for each in start.placements}) == len(start.placements) == job.gpus
        assert {each.memory for each in start.placements} == {job.min_memory}
        assert (
            len({(known[each.uuid].node, known[each.uuid].name) for each in start.placements}) == 1
        )


def everybody_starts_or_has_a_reason(snapshot: Snapshot, plan: Plan) -> None:
    told = [start.job for start in plan.starts] + [wait.job for wait in plan.waits]
    assert sorted(told) == sorted(job.id for job in snapshot.queued)


def no_reason_contradicts_itself(_snapshot: Snapshot, plan: Plan) -> None:
    for wait in plan.waits:
        numbers = wait.numbers
        if wait.code in (WaitCode.WAIT_MEMORY, WaitCode.WAIT_GPU_TYPE, WaitCode.NEVER_FITS):
            assert numbers["largest"] < numbers["need"]
        if wait.code is WaitCode.GHOST_MEMORY:
            assert numbers["foreign"] > 0
        if wait.code is WaitCode.WAIT_CARDS:
            assert numbers["ready"] < numbers["gpus"]
        if wait.code is WaitCode.TOO_FEW_CARDS:
            assert numbers["most"] < numbers["gpus"] or numbers["nodes"] > 1


def quotas_hold(snapshot: Snapshot, plan: Plan) -> None:
    jobs = jobs_of(snapshot)
    for slug, project in snapshot.projects.items():
        new = [jobs[start.job] for start in plan.starts if jobs[start.job].project == slug]
        old = [run for run in snapshot.running if run.job.project == slug]
        amounts = {
            "cards": len(old) + sum(job.gpus for job in new),
            "memory": sum(run.job.min_memory for run in old)
            + sum(job.gpus * job.min_memory for job in new),
            "running": len(old) + len(new),
        }
        for what, amount in amounts.items():
            limit = getattr(project.limit, what)
            assert not new or limit is None or amount <= limit


def the_site_limit_holds(snapshot: Snapshot, plan: Plan) -> None:
    if snapshot.max_workers is not None and plan.starts:
        assert len(snapshot.running) + len(plan.starts) <= snapshot.max_workers


def nobody_starts_before_his_time(snapshot: Snapshot, plan: Plan) -> None:
    jobs = jobs_of(snapshot)
    assert all((jobs[start.job].not_before or 0) <= snapshot.now for start in plan.starts)


def equal_requests_of_one_person_start_in_the_order_of_their_keys(
    snapshot: Snapshot, plan: Plan
) -> None:
    started = {start.job for start in plan.starts}
    waiting = [job for job in snapshot.queued if job.id not in started and job.not_before is None]
    for later in snapshot.queued:
        for earlier in waiting:
            is_equal = _lane(later) == _lane(earlier) and not _is_overdue(later, snapshot)
            if later.id in started and is_equal:
                assert _key(later) < _key(earlier)


def nobody_gives_way_to_somebody_less_urgent(snapshot: Snapshot, plan: Plan) -> None:
    jobs, runs = jobs_of(snapshot), {run.job.id: run for run in snapshot.running}
    for each in plan.preemptions:
        victim, job = runs[each.job].job, jobs[each.beneficiary]
        if each.rule is PreemptionRule.RECLAIM:
            assert victim.project != job.project
            assert snapshot.projects[job.project].guarantee.cards is not None
        else:
            assert victim.project == job.project
            assert victim.priority <= job.priority


def only_jobs_that_may_be_preempted_are(snapshot: Snapshot, plan: Plan) -> None:
    runs = {run.job.id: run for run in snapshot.running}
    for each in plan.preemptions:
        run = runs[each.job]
        assert run.job.preemptible
        assert not run.frozen
        assert not run.leaving
        assert run.job.preemptions < snapshot.rules.most_preemptions
        assert snapshot.now - run.started_at >= snapshot.rules.min_run
        assert each.lost >= 0


def nobody_gives_way_twice(_snapshot: Snapshot, plan: Plan) -> None:
    told = [each.job for each in plan.preemptions]
    assert len(told) == len(set(told))


def nobody_for_whom_others_give_way_starts_before_they_have_gone(
    _snapshot: Snapshot, plan: Plan
) -> None:
    started = {start.job for start in plan.starts}
    assert not started & {each.beneficiary for each in plan.preemptions}


def a_guarantee_is_never_taken_away(snapshot: Snapshot, plan: Plan) -> None:
    """Reclaim takes what is borrowed: the donor keeps what it is guaranteed."""
    runs = {run.job.id: run for run in snapshot.running}
    for slug, project in snapshot.projects.items():
        gone = [
            each
            for each in plan.preemptions
            if each.rule is PreemptionRule.RECLAIM and runs[each.job].job.project == slug
        ]
        held = sum(len(run.placements) for run in runs.values() if run.job.project == slug)
        if gone and project.guarantee.cards is not None:
            lost = sum(len(runs[each.job].placements) for each in gone)
            assert held - lost >= project.guarantee.cards


def no_card_is_kept_for_two(_snapshot: Snapshot, plan: Plan) -> None:
    kept = [uuid for each in plan.reservations for uuid in each.uuids]
    assert len(kept) == len(set(kept))


def no_card_would_still_take_who_waits_for_room(snapshot: Snapshot, plan: Plan) -> None:
    """Nobody waits for memory beside a card that has it (a start only ever takes from a card)."""
    untouched = {card.uuid for card in snapshot.devices} - set(starts_on(plan))
    jobs = jobs_of(snapshot)
    for wait in plan.waits:
        if wait.code in (WaitCode.WAIT_MEMORY, WaitCode.WAIT_GPU_TYPE, WaitCode.GHOST_MEMORY):
            job = jobs[wait.job]
            fitting = [
                each for each in verdicts(job, snapshot) if each.fits and each.uuid in untouched
            ]
            assert job.gpus > 1 or not fitting


def _key(job: JobView) -> tuple[float, str]:
    return static_key(job, Rules()), job.id


def _lane(job: JobView) -> tuple[object, ...]:
    return Need.of(job), job.project, job.user, job.preemptible, job.est_time


def _is_overdue(job: JobView, snapshot: Snapshot) -> bool:
    return guard_time(job, snapshot.rules) <= snapshot.now


PROPERTIES = [
    never_over_capacity,
    never_over_the_threshold_unless_alone,
    never_on_a_drained_or_stale_card,
    never_above_the_cap_of_a_card,
    nobody_beside_an_exclusive_job,
    only_on_the_type_asked_for,
    gangs_are_whole,
    everybody_starts_or_has_a_reason,
    no_reason_contradicts_itself,
    quotas_hold,
    the_site_limit_holds,
    nobody_starts_before_his_time,
    equal_requests_of_one_person_start_in_the_order_of_their_keys,
    nobody_gives_way_to_somebody_less_urgent,
    only_jobs_that_may_be_preempted_are,
    nobody_gives_way_twice,
    nobody_for_whom_others_give_way_starts_before_they_have_gone,
    a_guarantee_is_never_taken_away,
    no_card_is_kept_for_two,
    no_card_would_still_take_who_waits_for_room,
]


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
@settings(max_examples=300, deadline=None)
@given(snapshot=worlds())
def test_in_every_world(holds, snapshot):
    holds(snapshot, decide(snapshot))


@given(worlds())
def test_the_same_snapshot_gives_the_same_plan(snapshot):
    assert decide(snapshot) == decide(evolve(snapshot))


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_in_which_cards_and_jobs_are_listed_changes_no_start(snapshot, random):
    shuffled = evolve(
        snapshot,
        devices=tuple(random.sample(snapshot.devices, len(snapshot.devices))),
        queued=tuple(random.sample(snapshot.queued, len(snapshot.queued))),
    )
    assert decide(shuffled).starts == decide(snapshot).starts


@given(worlds())
def test_the_order_holds_every_job_once(snapshot):
    order = [job.id for job in in_order(snapshot)]
    assert sorted(order) == sorted(job.id for job in snapshot.queued)


def carried_out(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """The world a moment after the plan: its starts hold their cards, who makes room is on its way out."""
    added, count, jobs = booked_by(plan), starts_on(plan), jobs_of(snapshot)
    exclusive = {
        each.uuid for start in plan.starts if jobs[start.job].exclusive for each in start.placements
    }
    devices = tuple(
        evolve(
            card,
            booked=card.booked + added[card.uuid],
            holders=card.holders + count[card.uuid],
            exclusive=card.exclusive or card.uuid in exclusive,
            measured_free=None
            if card.measured_free is None
            else card.measured_free - added[card.uuid],
        )
        for card in snapshot.devices
    )
    started = {start.job: start for start in plan.starts}
    leaving = {each.job: each.beneficiary for each in plan.preemptions}
    old = tuple(
        evolve(run, leaving=True, leaving_for=leaving[run.job.id]) if run.job.id in leaving else run
        for run in snapshot.running
    )
    new = tuple(
        RunView(
            job=jobs[job_id],
            placements=start.placements,
            started_at=NOW,
            expected_end=NOW + jobs[job_id].run_time,
        )
        for job_id, start in started.items()
    )
    return evolve(
        snapshot,
        devices=devices,
        queued=tuple(job for job in snapshot.queued if job.id not in started),
        running=old + new,
    )


@given(worlds())
def test_carried_out_and_decided_again_at_once_nothing_more_happens(snapshot):
    """One cycle gives away all it can; only cards that are kept may be looked at with other eyes after its starts.

    Without quotas, for what is kept of them follows the cards that are kept.
    """
    free = {slug: evolve(each, limit=Limits()) for slug, each in snapshot.projects.items()}
    snapshot = evolve(snapshot, projects=free)
    plan = decide(snapshot)
    after = carried_out(snapshot, plan)
    again = decide(after)
    kept = {uuid for each in plan.reservations for uuid in each.uuids}
    places = {run.job.id: run.placements for run in after.running}
    touched = [start.placements for start in again.starts]
    touched += [places[each.job] for each in again.preemptions]
    assert all(kept & {each.uuid for each in placements} for placements in touched)
