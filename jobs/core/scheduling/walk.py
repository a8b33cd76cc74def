"""One pass over the queue: what starts, who gives way, which cards are kept, in the order that fairness gives."""

from __future__ import annotations

import math
from collections.abc import Collection
from heapq import heapify, heappop, heappush
from operator import itemgetter

from jobs.core.constraints import Need
from jobs.core.plan import Placement, Plan, Preempt, Start, WaitCode
from jobs.core.scheduling.keys import Kind, guard_time, impatient_urgency
from jobs.core.scheduling.lane import Heads, Lane
from jobs.core.scheduling.promises import PATIENCE, Promise
from jobs.core.scheduling.state import State
from jobs.core.snapshot import JobView

_MOST_SEARCHES = 64  # searches for victims in one cycle that may be in vain
Rank = tuple[int, float, float, str]  # band, usage by share, key of the next job, project


class Walk:
    """Carries out one cycle on the scheduler's state, and collects the plan."""

    def __init__(self, state: State, now: float) -> None:
        self._state = state
        self._now = now
        self._starts: list[Start] = []
        self._preemptions: list[Preempt] = []
        self._overdue: dict[str, list[JobView]] = {}
        self._hopeful: dict[str, Heads] = {}
        self._upcoming: dict[str, tuple[Lane, JobView]] = {}
        self._tried: dict[Lane, None] = {}  # lanes whose head has been tried in vain
        self._searches = 0
        self._may_push = bool(state.runs.projects_with_victims)
        self._kept: set[Need] = set()

    def run(self) -> Plan:
        """Decide everything that can be decided now."""
        state = self._state
        state.keep_nothing()
        if state.is_reachable:
            state.expect_more_of_the_same()
            # 1. Those for whom room has been made come first: they were ahead when it was decided.
            self._keep_promises()
            # 2. People who have used more than their share step back.
            state.step_back(self._now)
            # 3. What did not fit before is tried again where there is room now.
            self._reopen()
            # 4. Then everybody, project by project, until nothing more can start or be kept.
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
        self._state.renew_promises(self._now)
        hopeful: set[str] = set()
        for promise in self._state.promises:
            job = promise.job
            placements = self._state.room_made_for(job, promise.uuids)
            if placements:
                hopeful.add(job.id)
                promise.uuids = dict.fromkeys(each.uuid for each in placements)
            reservations.promise(job, promise.uuids)
        for promise in self._state.promises:
            self._keep_promise(promise, is_hopeful=promise.job.id in hopeful)

    def _keep_promise(self, promise: Promise, *, is_hopeful: bool) -> None:
        state, job = self._state, promise.job
        if not state.quota.still_allows(job, self._now):
            self._break_promise(job)
            return
        kind = Kind.of(job, state.rules)
        placements = None
        if not state.is_full:
            placements = state.fleet.find(kind.need, also=promise.uuids)
        if placements:
            state.promises.drop(job.id)
            state.reservations.drop(job.id)
            self._start(job, kind, placements)
            return
        if is_hopeful:
            return
        promise.lapses_at = min(promise.lapses_at, self._now + PATIENCE)
        is_in_vain = bool(state.runs.leaving_for(job.id)) and not state.is_full
        if promise.lapses_at <= self._now or is_in_vain:
            self._break_promise(job)

    def _break_promise(self, job: JobView) -> None:
        self._state.reservations.drop(job.id)
        self._state.back_in_line(job.id)

    # --- the order -----------------------------------------------------------------------------------

    def _reopen(self) -> None:
        """Open the kinds of which somebody waits and for which there may be room."""
        fleet, taken = self._state.fleet, self._state.reservations.taken
        room: dict[Need, bool] = {}
        for kind, group in self._state.line.groups.items():
            if kind.need not in room:
                room[kind.need] = fleet.find(kind.need, also=taken) is not None
            group.is_open, group.admits = room[kind.need], ()

    def _begin(self) -> None:
        self._overdue = self._state.overdue(self._now)
        self._hopeful = {slug: Heads(lanes) for slug, lanes in self._hopes().items()}

    def _hopes(self) -> dict[str, list[Lane]]:
        """By project, the lanes for which there may be room, or may be made."""
        found: dict[str, list[Lane]] = {slug: [] for slug in self._state.line.projects}
        pushed = self._pushed()
        for kind, group in self._state.line.groups.items():
            for lane in group.lanes:
                if group.is_open or kind.urgency > pushed[lane.project]:
                    found[lane.project].append(lane)
        return found

    def _pushed(self) -> dict[str, float]:
        """By project: for jobs more urgent than this somebody might have to give way."""
        reclaiming = self._state.guaranteed_projects
        return {
            slug: -math.inf if slug in reclaiming else self._state.runs.lowest_urgency(slug)
            for slug in self._state.line.projects
        }

    def _go_through(self) -> None:
        ranked = [(self._rank(slug), slug) for slug in self._state.line.projects]
        heap = [(rank, slug) for rank, slug in ranked if rank is not None]
        heapify(heap)
        while heap and not self._is_over:
            _rank, slug = heappop(heap)
            self._serve(slug)
            rank = self._rank(slug)
            if rank is not None:
                heappush(heap, (rank, slug))
        for lane in self._tried:
            self._state.line.projects[lane.project].heads.offer(lane)
        for project in self._state.line.projects.values():
            project.tidy()

    @property
    def _is_over(self) -> bool:
        """Whether nothing more can start, be kept or be made to give way."""
        if self._state.is_full:
            return True
        if self._may_keep or self._may_push:
            return False
        groups = self._state.line.groups.values()
        return not any(group.is_open or group.admits for group in groups)

    @property
    def _may_keep(self) -> bool:
        state = self._state
        return len(state.reservations) < state.rules.reservations + len(state.promises)

    def _rank(self, slug: str) -> Rank | None:
        """Where the project stands now; None where everything of it has been tried."""
        upcoming = self._next(slug)
        if upcoming is None:
            return None
        self._upcoming[slug] = upcoming
        state, job = self._state, upcoming[1]
        is_first = state.goes_before_borrowers(
            job, self._now, is_late=bool(self._overdue.get(slug))
        )
        usage = 0.0 if state.line.has_policy else state.usage_by_share(slug, self._now)
        return (0 if is_first else 1, usage, state.line.key(job), slug)

    def _next(self, slug: str) -> tuple[Lane, JobView] | None:
        """The lane of the project that comes next, and the job in it."""
        for job in self._overdue.get(slug, ())[:1]:
            return self._state.line.lane_of(job.id), job
        heads = [self._hopeful[slug].peek(self._is_out)]
        if self._may_keep:
            heads.append(self._state.line.projects[slug].heads.peek(self._tried.__contains__))
        there = [each for each in heads if each is not None]
        first = min(there, key=itemgetter(0), default=None)
        return (first[1], first[1].jobs[first[0][2]]) if first else None

    def _is_out(self, lane: Lane) -> bool:
        """Whether a lane that gave hope has been tried in vain, or has lost its hope since."""
        return lane in self._tried or not (lane.is_open or self._may_push)

    # --- one job -------------------------------------------------------------------------------------

    def _serve(self, slug: str) -> None:
        lane, job = self._upcoming[slug]
        if self._overdue.get(slug):
            self._overdue[slug].pop(0)
        if self._may_start(job) and self._try(lane, job):
            self._hopeful[slug].offer(lane)
        else:
            self._tried[lane] = None

    def _may_start(self, job: JobView) -> bool:
        """Whether quotas allow it. One that has waited long enough for quota keeps those behind it from taking it."""
        state = self._state
        if state.kept_quota(job) is not None:
            return False
        obstacle = state.quota.obstacle(job, self._now)
        if obstacle is None:
            return True
        if obstacle.code is WaitCode.WAIT_QUOTA and self._has_waited(job):
            state.keep_quota(job, self._now, whole_project="user" not in obstacle.numbers)
        return False

    def _try(self, lane: Lane, job: JobView) -> bool:
        """Start the job, or make room for it; False where its lane has to wait."""
        kind = lane.kind
        if lane.is_open:
            placements = self._find(kind, lane.project)
            if placements is not None:
                self._start(job, kind, placements)
                return True
            # then none of its kind will, except where kept cards may be open to another project
            lane.group.is_open = False
            let_in = self._state.reservations.projects_let_in(kind, self._now)
            lane.group.admits = let_in - {lane.project}
        return self._make_room(job, kind) or self._keep(job, kind)

    def _find(self, kind: Kind, project: str) -> tuple[Placement, ...] | None:
        state = self._state
        found = state.fleet.find(kind.need)
        if found is None and len(state.reservations):
            also = state.reservations.open_to(kind, project, self._now)
            found = state.fleet.find(kind.need, also=also) if also else None
        return found

    def _start(self, job: JobView, kind: Kind, placements: tuple[Placement, ...]) -> None:
        self._state.start(job, kind, placements, self._now)
        self._starts.append(Start(job=job.id, placements=placements))

    def _make_room(self, job: JobView, kind: Kind) -> bool:
        state = self._state
        if job.service and guard_time(job, state.rules) <= self._now:
            kind = kind._replace(urgency=impatient_urgency(job, state.rules))
        if not self._may_push or not state.preemption.may_help(job, kind, self._now):
            return False
        found = state.preemption.victims(job, kind, self._now, state.reservations.taken)
        if found is None:
            self._searches += 1
            self._may_push = self._searches < _MOST_SEARCHES
            return False
        for run in found.runs:
            lost = state.preemption.cost(run, self._now)
            self._preemptions.append(
                Preempt(job=run.job.id, beneficiary=job.id, rule=found.rule, lost=lost)
            )
            state.tell_to_leave(run, job)
        self._promise(job, [each.uuid for each in found.placements])
        return True

    def _promise(self, job: JobView, uuids: Collection[str]) -> None:
        self._state.promise(job, uuids, self._now)
        self._state.reservations.promise(job, uuids)

    def _deserves(self, job: JobView) -> bool:
        """Whether cards are kept for the job: late where it may displace others, and where it has run before."""
        rules = self._state.rules
        if not (job.preemptible and rules.preemption) or guard_time(job, rules) <= self._now:
            return True
        return not job.service and self._has_waited(job)

    def _has_waited(self, job: JobView) -> bool:
        """Whether a job has waited so long that others must not use what it waits for."""
        at = job.queued_at + self._state.rules.drain_after
        if at > self._now:
            self._state.look_again_at(at)
        return at <= self._now

    def _keep(self, job: JobView, kind: Kind) -> bool:
        """Have cards kept for the job; its lane waits all the same."""
        if self._may_keep and kind.need not in self._kept and self._deserves(job):
            self._kept.add(kind.need)
            self._has_waited(job)  # from then on the cards are drained
            self._state.keep(job, kind, self._now)
        return False
