"""What the API says and takes about the site: queue, cards, datasets, settings, accounts, health."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from ninja import Field, Schema

from jobs.api.schemas import JobOut, Role

Scope = Literal["read", "submit", "control", "admin"]


class QueueRowOut(Schema):
    """One waiting job. What the caller may not know is null."""

    position: int | None
    min_memory_bytes: int
    gpus: int
    name: str | None
    owner: str | None
    eta: datetime | None = Field(description="expected start")
    eta_range: list[datetime] | None = Field(description="between which two times")
    job: JobOut | None


class QueueOut(Schema):
    """The waiting jobs: the queued ones in their order, then the held ones."""

    items: list[QueueRowOut]
    more: int = Field(description="jobs that wait behind these")


class HolderJobOut(Schema):
    """A job that holds memory, as far as the caller may know it."""

    id: str | None
    name: str
    owner: str


class HolderOut(Schema):
    """One booking on a card; `job` is null where it belongs to another project."""

    key: str
    booked_bytes: int
    used_bytes: int | None
    job: HolderJobOut | None


class GpuOut(Schema):
    """One card with its latest reading. Null: the card cannot tell."""

    uuid: str
    node: str
    index: int
    name: str
    state: Literal["ok", "stale", "lost", "drained"]
    memory_total_bytes: int
    used_bytes: int | None
    booked_bytes: int
    foreign_bytes: int = Field(description="measured memory that no job here holds")
    free_bytes: int = Field(description="what may still be placed")
    busy: float | None = Field(description="0 to 1")
    temperature_celsius: float | None
    power_watts: float | None
    power_limit_watts: float | None
    read_at: datetime | None
    mode: str | None = Field(description="null: the site's mode")
    drained: bool
    drain_reason: str | None
    fault: str | None
    holders: list[HolderOut]


class GpusOut(Schema):
    """All cards."""

    items: list[GpuOut]


class DrainIn(Schema):
    """Why a card takes no new jobs."""

    reason: str = Field("", max_length=200)


class DatasetOut(Schema):
    """One version of a dataset."""

    id: str
    name: str
    version: int
    project: str
    owner: str
    sha256: str
    format: str
    extension: str
    columns: list[str]
    rows: int
    size_bytes: int
    created_at: datetime


class DatasetsOut(Schema):
    """Datasets, by name."""

    items: list[DatasetOut]
    next_cursor: str | None


class UploadIn(Schema):
    """An upload to begin."""

    name: str = Field(description="what the dataset will be called")
    filename: str = Field(max_length=255)
    size: int = Field(ge=1, description="bytes")
    project: str | None = None


class UploadOut(Schema):
    """An upload under way: send the next part at offset `received`."""

    id: str
    name: str
    project: str
    size: int
    received: int
    part_bytes: int = Field(description="the largest part that is taken")


class SettingsOut(Schema):
    """The site's settings in force. Null: no limit, or the mode's default."""

    max_workers: int | None
    memory_threshold: float | None
    max_jobs_per_card: int | None
    mode: str
    policy: str
    log_dir: str | None = Field(description="where links to job logs are made")
    open_queue: bool | None
    preemption: bool = Field(description="jobs may be suspended so that others start")
    min_run_minutes: float = Field(description="before which no job is suspended for another")
    half_life_hours: float = Field(description="after which past usage counts half")
    placement: str = Field(description="best-fit or fragmentation")
    sharding_margin: float = Field(
        description="times the measured peak: what a booking shrinks to under dynamic sharding"
    )
    sharding_stable_minutes: float = Field(description="in which the peak must have hardly grown")
    sharding_stable_steps: int = Field(
        description="the same in steps, for trainings that tell them; others: three times as long"
    )
    save_grace_seconds: float = Field(
        description="for a training to save when it gives its cards back; then it is ended"
    )
    idle_minutes: float | None = Field(
        description="of doing nothing before a running job is warned; null: nobody looks"
    )
    idle_grace_minutes: float = Field(description="between the warning and the suspension")
    idle_action: Literal["warn", "suspend"]
    cap: str = Field(description="what keeps a job within the memory that it booked")
    swap_out: bool = Field(description="suspended jobs may keep their GPU memory in main memory")
    over_memory: str = Field(description="warn, suspend or stop who is measured above it")
    private_webhooks: bool = Field(description="webhooks may reach private addresses, and by http")
    signup: Literal["nobody", "domains", "everybody"] = Field(
        description="who gets an account by signing in elsewhere"
    )
    signup_domains: list[str] = Field(description="of e-mail addresses, for `domains`")
    signup_project: str | None = Field(description="the project that newcomers join")


class TokenOut(Schema):
    """A token, without its text."""

    id: int
    name: str
    prefix: str
    scopes: list[Scope]
    project: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class TokensOut(Schema):
    """The caller's tokens, newest first."""

    items: list[TokenOut]


class TokenIn(Schema):
    """A token to make."""

    name: str = Field(min_length=1, max_length=80)
    scopes: list[Scope] = Field(min_length=1)
    project: str | None = Field(None, description="bind it to this project")
    days: float = Field(90, gt=0, le=90, description="until it expires")


class NewTokenOut(TokenOut):
    """A token just made; its text is shown this once."""

    token: str


class MembershipOut(Schema):
    """A project of the caller's."""

    slug: str
    role: Role
    can_submit: bool


class WhoamiOut(Schema):
    """The account behind the request."""

    username: str
    is_admin: bool
    is_service: bool
    scopes: list[Scope]
    project: str | None = Field(description="the only project that the token opens")
    projects: list[MembershipOut]
    token: TokenOut | None


class CheckOut(Schema):
    """One part of the service."""

    check: str
    status: Literal["ok", "warning", "error"]
    detail: str
    hint: str


class HealthOut(Schema):
    """Each part of the service and whether it is well."""

    version: str
    items: list[CheckOut]
