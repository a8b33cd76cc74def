"""A site's past as rows: jobs that came and ran at given minutes of an hour that has gone."""

from __future__ import annotations

from datetime import datetime, timedelta

from gpus.models import Device
from jobs.core.states import JobState, Outcome
from jobs.models import Allocation, Attempt, Job, JobEvent, Project, User
from jobs.projects import default_project
from tests.rows import GIB, a_user


class Past:
    """Makes rows whose times are minutes after `zero`."""

    def __init__(self, zero: datetime) -> None:
        self.zero = zero

    def at(self, minutes: float) -> datetime:
        return self.zero + timedelta(minutes=minutes)

    def job(
        self,
        name: str,
        came: float,
        *ran: tuple[float, float | None],
        on: Device | None = None,
        owner: User | None = None,
        project: Project | None = None,
        state: JobState = JobState.SUCCEEDED,
        memory: int = 60 * GIB,
        share: float = 0.0,
        ended: float | None = None,
        **fields: object,
    ) -> Job:
        """A job with an attempt for each time that it ran; one that is open has no end."""
        last = ran[-1][1] if ran else ended
        over = None if last is None or state not in TERMINAL else self.at(last)
        job = Job.objects.create(
            owner=owner or a_user(),
            project=project or default_project(),
            task_id=name,
            spec={},
            content_hash="0" * 64,
            min_memory=memory,
            epoch=len(ran),
            state=state,
            state_since=over or self.at(came),
            submitted_at=self.at(came),
            finished_at=over,
            **fields,
        )
        for number, (began, until) in enumerate(ran, 1):
            self._attempt(job, number, began, until, on, share)
        return job

    def _attempt(self, job, number, began, until, device, share) -> Attempt:
        attempt = Attempt.objects.create(
            job=job,
            number=number,
            node=device.node,
            created_at=self.at(began),
            started_at=self.at(began),
            ended_at=None if until is None else self.at(until),
            outcome="" if until is None else Outcome.SUCCEEDED,
        )
        Allocation.objects.create(
            attempt=attempt,
            device=device,
            booked=job.min_memory,
            sm_share=share,
            created_at=self.at(began),
            released_at=attempt.ended_at,
        )
        return attempt

    def event(self, job: Job, kind: str, minutes: float, new: JobState = JobState.QUEUED) -> None:
        JobEvent.objects.create(job=job, kind=kind, at=self.at(minutes), new_state=new)


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


def three_on_one_card(past: Past, device: Device, **fields: object) -> list[Job]:
    """They really waited 0, 9 and 13 minutes; with a second card they would have waited 0, 0 and 4."""
    return [
        past.job("a", 0, (0, 10), on=device, **fields),
        past.job("b", 1, (10, 15), on=device, **fields),
        past.job("c", 2, (15, 16), on=device, **fields),
    ]
