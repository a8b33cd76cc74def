"""The form of what the API says and takes about jobs, for openapi.json; the tests hold every answer against it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Field, Schema

from jobs.api.estimateschemas import EstimateOut
from jobs.core.states import JobState

PriorityName = Literal["low", "medium", "high"]
Role = Literal["viewer", "member", "lead"]


class ProblemItem(Schema):
    """One fault of what was sent."""

    line: int | None = Field(None, description="line of the task file, from 1")
    field: str = Field(description="dotted, such as resources.min_memory; empty for the whole")
    message: str = Field(description="what is wrong and what was given")
    hint: str = Field(description="what is allowed and what to do")


class ProblemOut(Schema):
    """A refusal (RFC 9457, application/problem+json). `code` is stable; the texts are for people."""

    type: str
    code: str
    title: str
    detail: str
    hint: str
    status: int
    errors: list[ProblemItem]


class WhyOut(Schema):
    """Why a job does not run."""

    code: str = Field(description="stable, such as WAIT_MEMORY; docs/reasons.md lists them")
    who: str = Field(
        alias="class", description="who must do something: wait (nobody), act (you), admin"
    )
    sentence: str
    remedy: str
    numbers: dict[str, Any]


class VerdictOut(Schema):
    """What one card says to a job."""

    gpu: str
    uuid: str
    node: str
    index: int
    name: str
    free_bytes: int
    fits_now: bool
    code: str | None
    verdict: str


class ResourcesOut(Schema):
    """What a job asked for."""

    min_memory_bytes: int = Field(description="on each card")
    gpus: int = Field(description="cards, over all nodes")
    gpu_type: str | None
    exclusive: bool


class AllocationOut(Schema):
    """Memory of one card that the latest attempt holds, or held until `released_at`."""

    key: str = Field(description="names the booking in live readings")
    uuid: str
    node: str
    index: int
    name: str
    booked_bytes: int
    asked_bytes: int = Field(description="what was booked when it started")
    booked_source: Literal["asked", "measured"] = Field(
        description="measured: dynamic sharding has made it follow the peak"
    )
    peak_bytes: int | None = Field(description="most ever measured")
    released_at: datetime | None


class RemedyOut(Schema):
    """One change of a job that ran out of memory. Null: it cannot be told."""

    code: str = Field(description="stable, such as batch or more_memory; docs/out-of-memory.md")
    changes: dict[str, str] = Field(description="dotted field to new text, as a clone takes it")
    before_bytes: int | None = Field(description="needed on each card as the job is, likely")
    after_bytes: int | None = Field(description="the same with the change")
    enough: bool | None = Field(description="whether it is likely enough by itself")
    sentence: str
    url: str = Field(description="the form, filled in with the job and the change")


class FailureOut(Schema):
    """How the last attempt that ended went wrong. Null: not known, or it does not apply."""

    attempt: int
    outcome: str
    reason: str
    detail: str | None
    exit_code: int | None
    exit_signal: int | None
    diagnosis: str | None = Field(description="whose memory it was, with numbers")
    advice: str | None
    booked_bytes: int | None = Field(description="on each card")
    peak_bytes: int | None = Field(description="the most that was measured on one card")
    wanted_bytes: int | None = Field(description="by PyTorch's message, at least needed")
    remedies: list[RemedyOut] = Field(description="the least intrusive first")


class IdleOut(Schema):
    """A warning that stands against a running job."""

    kind: Literal["idle", "hangs"]
    since: datetime = Field(description="since when it has done nothing, at least")
    warned_at: datetime
    suspends_at: datetime | None = Field(description="null: it is only warned of")
    sentence: str


class JobOut(Schema):
    """One job."""

    id: str
    task_id: str
    run: int
    project: str
    owner: str
    priority: PriorityName
    state: JobState
    state_since: datetime
    outcome: str | None = Field(description="of the last attempt that ended")
    reason: str | None = Field(description="why it ended so, a stable code")
    detail: str | None = Field(description="the same as one sentence")
    why: WhyOut | None = Field(description="why it does not run now; null where it does or ended")
    position: int | None = Field(
        description="place in the queue, from 1; null where there is none, none yet, or too far back"
    )
    eta: datetime | None = Field(
        description="expected end of a running job, or start of a queued one; null: not known"
    )
    eta_range: list[datetime] | None = Field(
        description="between which two times a queued job is expected to start"
    )
    resources: ResourcesOut
    allocations: list[AllocationOut]
    progress: dict[str, Any] | None = Field(description="step, total, loss, rate, eta_s ...")
    idle: IdleOut | None = Field(description="where it runs and does nothing, or hangs; else null")
    preemptible: bool
    attempts: int = Field(description="attempts begun")
    submitted_at: datetime
    started_at: datetime | None = Field(description="start of the first attempt")
    finished_at: datetime | None
    exit_code: int | None
    failure: FailureOut | None = Field(
        description="how its last attempt went wrong; null where none did, and in lists"
    )
    url: str = Field(description="its page")


class WarningOut(Schema):
    """Something accepted that its sender should know about."""

    code: str
    detail: str


class SubmittedOut(JobOut):
    """A job just handed in, or the equal one that was active already (then the status is 200)."""

    warnings: list[WarningOut]
    estimate: EstimateOut | None = Field(description="null: nothing can be told of its memory")


class ActiveOut(Schema):
    """The job that has the task_id now."""

    id: str
    run: int
    state: JobState


class PlanOut(Schema):
    """What a submit would do: the answer to `?dry_run=true`."""

    task_id: str
    project: str
    priority: PriorityName
    resources: ResourcesOut
    starts_now: bool
    position: int | None = Field(description="its place in the queue, from 1; null: far back")
    why: WhyOut | None
    eta: datetime | None = Field(description="its expected start; null: not known")
    eta_range: list[datetime] | None = Field(description="between which two times")
    eta_unknown: str | None = Field(description="why there is no eta")
    cards: list[VerdictOut]
    cards_more: int = Field(description="cards of a large fleet that are left out")
    warnings: list[WarningOut]
    estimate: EstimateOut | None = Field(description="null: nothing can be told of its memory")
    active: ActiveOut | None = Field(description="the equal job that is active already")


class JobsOut(Schema):
    """A page of jobs."""

    items: list[JobOut]
    next_cursor: str | None


class PreemptionOut(Schema):
    """For which job another one gave its cards back."""

    beneficiary: str | None = Field(description="the other job; null: not yours to see, or removed")
    rule: str = Field(
        description="why it may take the place: reclaim, priority, service, patience, pressure or packing"
    )
    lost_gpu_seconds: float = Field(description="work that is done again, over all cards together")
    expected: bool = Field(description="true while the job's processes still live")


class EventOut(Schema):
    """One thing that happened to a job."""

    id: int
    at: datetime
    kind: str
    old_state: str | None
    new_state: str
    attempt: int | None
    actor: str | None = Field(description="null: the scheduler itself")
    reason: str | None
    detail: str | None
    preemption: PreemptionOut | None


class EventsOut(Schema):
    """A page of a job's history, oldest first."""

    items: list[EventOut]
    next_cursor: str | None


class ReadingOut(Schema):
    """What a job did on one card in one period."""

    uuid: str
    attempt: int
    start: datetime
    seconds: int
    used_mean_bytes: int | None
    used_max_bytes: int | None
    busy_mean: float | None = Field(description="0 to 1")


class ReadingsOut(Schema):
    """A job's readings, oldest first."""

    items: list[ReadingOut]


class PauseIn(Schema):
    """How to pause."""

    keep_memory: bool = Field(
        False,
        description="freeze a running job where it stands, instead of having it give its cards back",
    )


class PauseCostOut(Schema):
    """What a pause without `keep_memory` means."""

    possible: bool
    way: Literal["hold", "freeze", "swap", "saves", "checkpoint", "restart", "none"] = Field(
        description="it only waits; stays in memory; moves to main memory; saves first;"
        " goes on from its last checkpoint; begins anew; cannot"
    )
    frees_bytes: int = Field(description="on all its cards together")
    cards: int
    typical_seconds: float | None = Field(
        description="as measured on jobs of its kind, else of this site; null: never seen"
    )
    at_most_seconds: float | None = Field(
        description="after which its processes are killed; null: they are not"
    )
    from_step: int | None = Field(description="of the checkpoint that it goes on from; 0: none yet")
    repeated_steps: int | None = Field(description="about as many are done again; null: not known")
    repeated_seconds: float | None = Field(description="of running that are done again")
    sentence: str = Field(description="all of this in words")


class PausedOut(JobOut):
    """The job after a pause, and what the pause means for it."""

    pause: PauseCostOut


class KeepIn(Schema):
    """For how long a job may do nothing."""

    duration: str = Field("2h", alias="for", description="such as 30m, 2h, 1d; 10m to 7d")


class CloneIn(Schema):
    """What is different in the copy."""

    changes: dict[str, str] = Field(
        default_factory=dict, description='dotted field to new text: {"resources.gpus": "2"}'
    )


class JobChangeIn(Schema):
    """What to change in a job."""

    priority: PriorityName
    reason: str = Field("", max_length=300, description="why; its owner reads it")
