"""What the API says about projects, their members and quotas; sizes are bytes."""

from __future__ import annotations

from datetime import datetime

from ninja import Field, Schema

from jobs.api.schemas import Role


class ProjectOut(Schema):
    """A project and the caller's role in it."""

    slug: str
    name: str
    description: str
    weight: float = Field(description="its share of what is contested, relative to the others")
    role: Role | None
    created_at: datetime


class ProjectsOut(Schema):
    """The projects that the caller belongs to; all of them for an admin."""

    items: list[ProjectOut]


class ProjectIn(Schema):
    """A new project."""

    slug: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,49}$")
    name: str = Field(min_length=1, max_length=100)
    description: str = Field("", max_length=2000)
    weight: float = Field(1.0, ge=0.01, le=1000)


class ProjectChangeIn(Schema):
    """What to change in a project; what is left out stays."""

    name: str | None = Field(None, min_length=1, max_length=100)
    description: str | None = Field(None, max_length=2000)
    weight: float | None = Field(None, ge=0.01, le=1000, description="admins only")


class MemberOut(Schema):
    """One person in a project."""

    username: str
    role: Role


class MembersOut(Schema):
    """The people in a project."""

    items: list[MemberOut]


class MembersIn(Schema):
    """Who gets which role; null takes somebody out."""

    members: dict[str, Role | None] = Field(
        description='user name to role: {"ana": "member", "wang": null}'
    )


class QuotaSideOut(Schema):
    """One side of a quota; null: none."""

    cards: int | None = Field(None, ge=0)
    memory_bytes: int | None = Field(None, ge=0)
    running: int | None = Field(None, ge=0)
    gpu_hours_month: float | None = Field(None, ge=0)


class QuotaOut(Schema):
    """What a project is guaranteed and may at most hold, and what it holds now."""

    guarantee: QuotaSideOut
    limit: QuotaSideOut
    used: QuotaSideOut


class QuotaIn(Schema):
    """What to change in a quota; what is left out stays, null takes it away."""

    guarantee: QuotaSideOut | None = None
    limit: QuotaSideOut | None = None
