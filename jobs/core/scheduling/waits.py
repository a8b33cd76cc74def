"""Why a queued job does not start: the reason that lasts longest, with the numbers of now."""

from __future__ import annotations

import math

from jobs.core.constraints import Need, Obstacle
from jobs.core.placement import lasting_obstacle, passing_obstacle
from jobs.core.plan import Wait, WaitCode
from jobs.core.scheduling.state import State
from jobs.core.snapshot import JobView

_BACKOFF_STEP = 10  # seconds; the number shown changes this often, and so is stored this often


class Waits:
    """Answers for the state after a decision; reasons that jobs have in common are found once."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._passing: dict[Need, Obstacle | None] = {}
        self._lasting: dict[Need, Obstacle | None] = {}
        self._shape = -1

    def forget(self) -> None:
        """A new decision: what stood in the way may have passed."""
        self._passing.clear()

    def of(self, job_id: str, now: float) -> Wait | None:
        """The reason of one queued job; None where it does not queue, or starts with the next decision."""
        state = self._state
        job = state.waiting(job_id)
        if job is None:
            return None
        obstacle = (
            self.standing(job, now)
            or self._promised(job)
            or self._site()
            or self._kept_quota(job)
            or self._room(Need.of(job))
        )
        return Wait(job=job_id, code=obstacle.code, numbers=obstacle.numbers) if obstacle else None

    def standing(self, job: JobView, now: float) -> Obstacle | None:
        """What keeps the job from starting even with nobody ahead of it: its size, a quota, a back-off."""
        if job.id in self._state.promises:
            return None
        return (
            self._ever(Need.of(job)) or self._state.quota.obstacle(job, now) or _backoff(job, now)
        )

    def _ever(self, need: Need) -> Obstacle | None:
        fleet = self._state.fleet
        if self._shape != fleet.shape:
            self._shape = fleet.shape
            self._lasting.clear()
        if need not in self._lasting:
            self._lasting[need] = lasting_obstacle(
                need, fleet.kinds(need), most_nodes=fleet.most_nodes
            )
        return self._lasting[need]

    def _promised(self, job: JobView) -> Obstacle | None:
        if job.id not in self._state.promises:
            return None
        leaving = len(self._state.runs.leaving_for(job.id))
        return Obstacle(code=WaitCode.WAIT_PREEMPTION, numbers={"jobs": leaving})

    def _site(self) -> Obstacle | None:
        state = self._state
        if not state.is_reachable:
            return Obstacle(code=WaitCode.AGENT_OFFLINE, numbers={})
        if not state.is_full:
            return None
        numbers = {"holding": len(state.runs), "max_workers": state.max_workers}
        return Obstacle(code=WaitCode.WAIT_MAX_WORKERS, numbers=numbers)

    def _kept_quota(self, job: JobView) -> Obstacle | None:
        holder = self._state.kept_quota(job)
        if holder is None:
            return None
        numbers = {"kept_for": holder, "until": None, "what": "quota"}
        return Obstacle(code=WaitCode.WAIT_RESERVED, numbers=numbers)

    def _room(self, need: Need) -> Obstacle | None:
        if need not in self._passing:
            self._passing[need] = self._find(need)
        return self._passing[need]

    def _find(self, need: Need) -> Obstacle | None:
        state = self._state
        if state.fleet.find(need) is not None:
            return None
        kept = state.fleet.find(need, also=state.reservations.taken)
        if kept is None:
            return passing_obstacle(need, state.fleet.cards)
        holder, at = state.reservations.holder_of(each.uuid for each in kept)
        until = None if math.isinf(at) else at
        return Obstacle(code=WaitCode.WAIT_RESERVED, numbers={"kept_for": holder, "until": until})


def _backoff(job: JobView, now: float) -> Obstacle | None:
    if job.not_before is None or job.not_before <= now:
        return None
    steps = math.ceil((job.not_before - now) / _BACKOFF_STEP)
    numbers = {"until": job.not_before, "wait": steps * _BACKOFF_STEP}
    return Obstacle(code=WaitCode.WAIT_BACKOFF, numbers=numbers)
