"""One pass over the queue: what starts, who gives way, which cards are kept, in the order that fairness gives."""

from __future__ import annotations

from collections.abc import Collection
from heapq import heapify, heappop, heappush

from jobs.core.constraints import Need
from jobs.core.plan import Placement, Plan, Preempt, Start
from jobs.core.scheduling.keys import Kind
from jobs.core.scheduling.line import Lane, ProjectLine
from jobs.core.scheduling.preemption import cards_without
from jobs.core.scheduling.promises import PATIENCE, Promise
from jobs.core.scheduling.state import State
from jobs.core.snapshot import JobView

Rank = tuple[int, float, float, str]  # band, usage by share, key of the next job, project


class Walk:
    """Carries out one cycle on the scheduler's state, and collects the plan."""

    def __init__(self, state: State, now: float) -> None:
        self._state = state
        self._now = now
        self._starts: list[Start] = []
        self._preemptions: list[Preempt] = []
        self._overdue: dict[str, list[JobView]] = {}
        self._overdue_ids: set[str] = set()
        self._open: set[Kind] = set()
        self._kept: set[Need] = set()

    def run(self) -> Plan:
        """Decide everything that can be decided now."""
        state = self._state
        state.reservations.clear()
        if state.is_reachable:
            # 1. Those for whom room has been made come first: they were ahead when it was decided.
            self._keep_promises()
            # 2. What did not fit before is tried again where there is room now.
            self._open = self._reopen()
            # 3. Then everybody, project by project, until nothing more can start or be kept.
            self._begin()
            self._go_through()
        return Plan(
            starts=tuple(self._starts),
            preemptions=tuple(self._preemptions),
            reservations=state.reservations.listed(),
        )

    # --- promises ------------------------------------------------------------------------------------

    def _keep_promises(self) -> None:
        reservations = self._state.reservations
        for promise in self._state.promises:
            reservations.promise(promise.job, promise.uuids, self._now)
        for promise in self._state.promises:
            self._keep_promise(promise)

    def _keep_promise(self, promise: Promise) -> None:
        state, job = self._state, promise.job
        kind = Kind.of(job, state.rules)
        placements = None
        if not state.is_full:
            placements = state.fleet.find(kind.need, also=promise.uuids)
        if placements:
            state.promises.drop(job.id)
            self._start(job, kind, placements)
            return
        leaving = state.runs.leaving_for(job.id)
        if leaving and state.fleet.find_if(kind.need, cards_without(state.fleet, leaving)):
            return
        promise.lapses_at = min(promise.lapses_at, self._now + PATIENCE)
        if promise.lapses_at <= self._now or (leaving and not state.is_full):
            state.back_in_line(job.id)

    # --- the order -----------------------------------------------------------------------------------

    def _reopen(self) -> set[Kind]:
        """Kinds of which somebody waits and for which there may be room."""
        fleet, seen = self._state.fleet, dict[object, bool]()
        for kind in self._state.line.kinds:
            if kind.need not in seen:
                taken = self._state.reservations.taken
                seen[kind.need] = fleet.find(kind.need, also=taken) is not None
        return {kind for kind in self._state.line.kinds if seen[kind.need]}

    def _begin(self) -> None:
        state = self._state
        for job in state.line.overdue(self._now, state.rules.reservations, self._is_of_use):
            self._overdue.setdefault(job.project, []).append(job)
            self._overdue_ids.add(job.id)
        for project in state.line.projects.values():
            project.begin()
            project.set_steps(state.steps(project, self._now))

    def _is_of_use(self, job: JobView) -> bool:
        return self._state.quota.obstacle(job, self._now) is None

    def _go_through(self) -> None:
        ranked = [(self._rank(each), each.slug) for each in self._state.line.projects.values()]
        heap = [(rank, slug) for rank, slug in ranked if rank is not None]
        heapify(heap)
        while heap and not self._is_over():
            _rank, slug = heappop(heap)
            project = self._state.line.projects[slug]
            self._serve(project)
            rank = self._rank(project)
            if rank is not None:
                heappush(heap, (rank, slug))

    def _is_over(self) -> bool:
        state = self._state
        if state.is_full:
            return True
        return not (self._open or self._may_keep or state.runs.projects_with_victims)

    @property
    def _may_keep(self) -> bool:
        state = self._state
        return len(state.reservations) < state.rules.reservations + len(state.promises)

    def _rank(self, project: ProjectLine) -> Rank | None:
        """Where the project stands now; None where everything of it has been tried."""
        upcoming = self._next(project)
        if upcoming is None:
            return None
        lane, key, job = upcoming
        state = self._state
        is_first = job.id in self._overdue_ids or state.quota.is_within_guarantee(job, self._now)
        usage = 0.0 if state.line.has_policy else state.usage_by_share(project.slug, self._now)
        return (0 if is_first else 1, usage, key, lane.project)

    def _next(self, project: ProjectLine) -> tuple[Lane, float, JobView] | None:
        for job in self._overdue.get(project.slug, ())[:1]:
            return self._state.line.lane_of(job.id), self._state.line.key(job), job
        while (upcoming := project.peek()) is not None:
            if not self._is_hopeless(upcoming[0], upcoming[2]):
                return upcoming
            project.pass_over(upcoming[0])
        return None

    def _is_hopeless(self, lane: Lane, job: JobView) -> bool:
        """Whether trying would change nothing: no room for its kind, nothing to keep, nobody to displace."""
        state = self._state
        if lane.kind in self._open:
            return False
        if self._may_keep and lane.kind.need not in self._kept:
            return False
        return not state.preemption.may_help(job, lane.kind, self._now)

    # --- one job -------------------------------------------------------------------------------------

    def _serve(self, project: ProjectLine) -> None:
        upcoming = self._next(project)
        if upcoming is None:
            return
        lane, _key, job = upcoming
        if self._overdue.get(project.slug):
            self._overdue[project.slug].pop(0)
        blocked = self._state.quota.obstacle(job, self._now) is not None
        if blocked or not self._try(lane, job):
            project.pass_over(lane)

    def _try(self, lane: Lane, job: JobView) -> bool:
        """Start the job, or make room for it; False where its lane has to wait."""
        kind = lane.kind
        if kind in self._open:
            placements = self._find(kind)
            if placements is not None:
                self._state.line.remove(job.id)
                self._start(job, kind, placements)
                return True
            self._open.discard(kind)
        return self._make_room(job, kind) or self._keep(job, kind)

    def _find(self, kind: Kind) -> tuple[Placement, ...] | None:
        state = self._state
        found = state.fleet.find(kind.need)
        if found is None and len(state.reservations):
            also = state.reservations.open_to(kind, self._now)
            found = state.fleet.find(kind.need, also=also) if also else None
        return found

    def _start(self, job: JobView, kind: Kind, placements: tuple[Placement, ...]) -> None:
        self._state.start(job, kind, placements, self._now)
        self._starts.append(Start(job=job.id, placements=placements))
        if not self._state.line.kinds.get(kind):
            self._open.discard(kind)

    def _make_room(self, job: JobView, kind: Kind) -> bool:
        state = self._state
        if not state.preemption.may_help(job, kind, self._now):
            return False
        found = state.preemption.victims(job, kind, self._now, state.reservations.taken)
        if found is None:
            return False
        for run in found.runs:
            lost = state.preemption.cost(run, self._now)
            self._preemptions.append(
                Preempt(job=run.job.id, beneficiary=job.id, rule=found.rule, lost=lost)
            )
            state.runs.tell_to_leave(run.job.id, job.id)
        self._promise(job, [each.uuid for each in found.placements])
        return True

    def _promise(self, job: JobView, uuids: Collection[str]) -> None:
        self._state.promise(job, uuids, self._now)
        self._state.reservations.promise(job, uuids, self._now)

    def _keep(self, job: JobView, kind: Kind) -> bool:
        """Have cards kept for the job; its lane waits all the same."""
        if self._may_keep and kind.need not in self._kept:
            self._kept.add(kind.need)
            self._state.reservations.keep_for(job, kind, self._now)
        return False
