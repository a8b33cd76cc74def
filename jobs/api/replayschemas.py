"""What the API takes and says about what-ifs. Times are seconds, `null` is what cannot be measured."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Field, Schema
from pydantic import ConfigDict

from jobs.core.replay.playing import SUSPEND_SECONDS
from jobs.replay.question import LONGEST_DAYS

Amount = Annotated[int, Field(ge=0)]


class _Exact(Schema):
    """Refuses names that it does not know: a misspelt change would silently be none."""

    model_config = ConfigDict(extra="forbid")


class AmountsIn(_Exact):
    """A guarantee or a limit to try; what is left out stays, null takes it away."""

    cards: Amount | None = None
    memory_bytes: Amount | None = None
    running: Amount | None = None


class ProjectWishIn(_Exact):
    """What to try for one project; what is left out stays."""

    weight: float | None = Field(None, ge=0.01, le=1000)
    guarantee: AmountsIn | None = None
    limit: AmountsIn | None = None


class ReplayIn(_Exact):
    """A question: which days, and what is to be otherwise. Without any change, how well the model does."""

    days: float = Field(30, gt=0, le=LONGEST_DAYS, description="up to now")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="site settings by name, such as policy, mode, preemption"
    )
    projects: dict[str, ProjectWishIn] = Field(default_factory=dict, description="by slug")
    add: list[Annotated[str, Field(max_length=120)]] = Field(
        default_factory=list, max_length=20, description='more cards: ["1xA100-80G"]'
    )
    fleet: str = Field("", max_length=1000, description="instead of today's: 13x8xV100-32G")
    suspend_seconds: float = Field(
        SUSPEND_SECONDS, ge=0, le=86_400, description="what a preemption costs"
    )


class FiguresOut(Schema):
    """Of the whole site, or of one project."""

    jobs: int
    started: int
    finished: int
    mean_wait_s: float | None
    p90_wait_s: float | None
    max_wait_s: float | None
    mean_jct_s: float | None = Field(description="from when it could start to its end")
    preemptions: int
    share: float | None = Field(description="what the project got while several had jobs waiting")
    due: float | None = Field(description="what it was due by its weight")


class SideOut(Schema):
    """What really happened, or what one way makes of it."""

    whole: FiguresOut
    projects: dict[str, FiguresOut] = Field(description="those that you lead; all for an admin")
    makespan_s: float | None = Field(description="until all had ended, from `since` on")
    lost_gpu_s: float = Field(description="GPU-seconds that preemptions cost")
    share_error: float | None = Field(description="largest relative error of a project's share")
    policy_problem: str = Field(description="why a policy's order was not used")


class CountsOut(Schema):
    """Jobs, and what became of them in the replay."""

    counted: int = Field(description="came in the time that was replayed: the figures are theirs")
    before: int = Field(description="ran or waited when it began; replayed, not counted")
    never_ran: int = Field(description="left out: ended before they had a card")
    held: int = Field(description="left out: somebody kept them from starting")
    unknown: int = Field(description="left out: wait, and nobody can tell how long they will run")
    too_many: int = Field(description="left out: more than can be replayed")
    unfinished: int = Field(description="taken for done as of now: nobody can tell their end")
    unmeasured: int = Field(description="whose load on a card was never measured")


class AnswerOut(Schema):
    """Side by side."""

    asked_since: datetime
    since: datetime
    until: datetime
    shortened: Literal["", "jobs", "time"] = Field(description="why `since` is later than asked")
    jobs: CountsOut
    cards: dict[str, int] = Field(description="how many, by side")
    cards_out_of_service: int
    really: SideOut
    today: SideOut
    changed: SideOut | None = Field(description="null: nothing was to be otherwise")
    seconds: float


class ReplayProblemOut(Schema):
    """Why there is no answer."""

    code: str
    detail: str
    hint: str


class ReplayOut(Schema):
    """A question and, once its state is done, its answer."""

    id: str
    state: Literal["waiting", "running", "done", "failed"]
    made_by: str
    asked_at: datetime
    ended_at: datetime | None
    question: dict[str, Any]
    answer: AnswerOut | None
    problem: ReplayProblemOut | None
    url: str
