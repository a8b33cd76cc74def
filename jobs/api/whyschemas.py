"""The form of the answer to "why does it wait, and until when"."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ninja import Field, Schema

from jobs.api.schemas import VerdictOut, WhyOut
from jobs.core.states import JobState


class StepOut(Schema):
    """One step of a job's order; earlier ones decide first."""

    step: str = Field(
        description="guarantee, long_wait, project, person, priority, service, age or policy"
    )
    sentence: str
    numbers: dict[str, Any]


class AheadOut(Schema):
    """One job that is ahead. What the caller may not know is null."""

    position: int | None
    min_memory_bytes: int
    gpus: int
    name: str | None
    owner: str | None
    job: str | None = Field(description="its id")


class WhatIfOut(Schema):
    """A change that would help, found by the scheduler's own decision."""

    field: str = Field(description="dotted, as `clone` takes it")
    value: str | None = Field(description="null: without this field")
    starts_now: bool
    position: int | None = Field(description="its place in the queue then")
    suspended: int = Field(description="running jobs that would make room for it")
    needs_lead: bool = Field(description="only a lead of the project or an admin may do this")
    allowed: bool = Field(description="whether you may do this")
    sentence: str


class WhyDetailOut(WhyOut):
    """Why a job does not run, when it is expected to, and what is ahead of it."""

    job: str
    state: JobState
    position: int | None
    eta: datetime | None = Field(description="its expected start; null: not known")
    eta_range: list[datetime] | None = Field(description="between which two times")
    eta_unknown: str | None = Field(description="why there is no eta")
    cards: list[VerdictOut]
    cards_more: int = Field(description="cards of a large fleet that are left out")
    order: list[StepOut] = Field(description="why it stands where it stands, as steps")
    ahead: list[AheadOut] = Field(description="the first jobs that are ahead of it")
    ahead_more: int | None = Field(description="jobs ahead beside these; null: too many to count")
    what_ifs: list[WhatIfOut]
