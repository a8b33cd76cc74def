"""`/reports/usage`: what cards were used for, for those who lead a project and for admins."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Field, Query, Router, Schema

from jobs import csvtext, permissions, reportquery, reportsheets, tokens
from jobs.api.answers import answer
from jobs.api.auth import Allowed, grant
from jobs.reports import report

router = Router()


class ReportQuery(Schema):
    """Which part of what happened."""

    since: Annotated[str, Query(alias="from", description="first day; default: 29 before")] = ""
    to: Annotated[str, Query(description="last day; default: today")] = ""
    project: str = ""
    user: str = ""
    card: Annotated[str, Query(description="a card's model name, as by_card has it")] = ""
    format: Literal["json", "csv", "xlsx"] = "json"


class SumOut(Schema):
    """What was held."""

    name: str
    gpu_hours: float = Field(description="hours that cards were held, paused ones left out")
    paused_gpu_hours: float = Field(description="hours that cards were held by jobs frozen there")
    memory_gib_hours: float = Field(description="booked GiB times hours")
    jobs: int


class WasteBehindOut(Schema):
    """A job, or of ghost a card, behind a figure of the waste ledger."""

    name: str
    id: str = Field(description="the job's; empty for a card")
    gpu_hours: float
    memory_gib_hours: float


class WasteOut(Schema):
    """One kind of waste, and at most 20 behind it, the largest first."""

    name: str = Field(
        description="unused, idle, preempted, paused, failed, oom, lost, ghost or waited"
    )
    gpu_hours: float
    memory_gib_hours: float
    behind: int
    largest: list[WasteBehindOut]


class WaitOut(Schema):
    """From being handed in to the first start."""

    priority: str
    jobs: int
    median_s: float | None
    p90_s: float | None


class ShareOut(Schema):
    """A project's part by weight, and of what was charged."""

    project: str
    entitled: float
    received: float


class CardsOut(Schema):
    """Shares of the time in service, 0 to 1; null: no readings."""

    occupied: float | None = Field(description="with at least one booking")
    busy: float | None = Field(description="mean share of time in which a kernel ran")
    memory_used: float | None = Field(description="mean share of memory, by whomever")


class ReportOut(Schema):
    """All figures of one period; docs/reports.md says how each is counted."""

    since: date = Field(alias="from")
    to: date
    projects: list[str]
    total: SumOut
    by_user: list[SumOut]
    by_project: list[SumOut]
    by_card: list[SumOut]
    by_day: list[SumOut]
    waits: list[WaitOut]
    outcomes: dict[str, int] = Field(description="attempts that ended in the period")
    waste: list[WasteOut]
    unmeasured_jobs: int
    fairness: list[ShareOut] | None = Field(description="null: not for you, or filtered")
    cards: CardsOut | None = Field(description="null: not for you, or of one person")


@router.get("/reports/usage", response=ReportOut, auth=Allowed(tokens.READ))
def usage_report(request: HttpRequest, wanted: Query[ReportQuery]) -> HttpResponse:
    """GPU-hours, waits, outcomes and waste of the projects that you lead; of all for an admin."""
    asks = grant(request)
    allowed = permissions.projects_reported_to(asks.user)
    if asks.project is not None:
        allowed = [each for each in allowed if each == asks.project]
    given = {**wanted.dict(by_alias=True)}
    now = timezone.now()
    whole = asks.is_admin and asks.project is None
    found = report(reportquery.wanted_from(given, allowed, is_admin=whole, now=now), now)
    if wanted.format == "csv":
        return HttpResponse(reportsheets.as_csv(found), content_type=csvtext.KIND)
    if wanted.format == "xlsx":
        return HttpResponse(reportsheets.as_xlsx(found), content_type=reportsheets.XLSX_KIND)
    return answer(request, reportsheets.as_json(found))
