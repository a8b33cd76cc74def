"""The queue as one viewer may see it: position, reason, needs and expected start of the jobs that wait.

Computed when read, from what this process knows of the queue (`jobs/queuestate.py`), so that the numbers are those of
now. What a viewer may not see stays anonymous: "another project, 23 GiB".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from jobs import queuestate, sitesettings, snapshots, why
from jobs.core.placement import Verdict, verdicts
from jobs.core.plan import WaitCode
from jobs.core.snapshot import JobView, Snapshot
from jobs.core.states import JobState
from jobs.models import Job
from jobs.queuestate import POSITIONS, QueueState
from jobs.sight import Sight
from jobs.starts import Start, start_of

MOST_CARDS = 200
"""Cards whose verdicts are told; of more, those that come nearest to taking the job."""


@dataclass(frozen=True, kw_only=True)
class Why:
    """Why a job does not run: the code and its numbers; the words in the language of whoever reads them."""

    code: str
    numbers: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    verdicts: tuple[Verdict, ...] = ()
    more_cards: int = 0  # that were left out of `verdicts`

    @property
    def sentence(self) -> str:
        """The reason in one sentence."""
        return why.sentence(self.code, self.numbers)

    @property
    def remedy(self) -> str:
        """What would make it start."""
        return why.remedy(self.code, self.numbers)

    @property
    def who_acts(self) -> str:
        """Whether to wait, to change the task, or to call an admin."""
        return why.who_acts(self.code)


@dataclass(frozen=True, kw_only=True)
class QueueRow:
    """One waiting job. `job` is None where the viewer may not know it; `named` where only its name is shown."""

    position: int | None  # from 1; None for a held job
    needs: int  # bytes a card
    gpus: int
    job: Job | None
    named: str = ""
    owner: str = ""
    why: Why | None = None
    start: Start | None = None


@dataclass(frozen=True, kw_only=True)
class QueueRows:
    """The head of the queue, and how many wait behind it."""

    rows: list[QueueRow]
    more: int


def rows(sight: Sight, limit: int = POSITIONS) -> QueueRows:
    """The first waiting jobs: the queued ones in their order, then the held ones."""
    limit = min(limit, POSITIONS)
    state = queuestate.current()
    ids = state.look().order[:limit]
    held = Job.objects.filter(state=JobState.HELD)
    found = _queued(ids)
    shown = [*found, *_with_people(held.in_queue_order())[: limit - len(found)]]
    waiting = Job.objects.waiting().count()
    return QueueRows(
        rows=[_row(job, state, sight) for job in shown], more=max(0, waiting - len(shown))
    )


def rows_of(ids: Sequence[str], sight: Sight) -> list[QueueRow]:
    """The rows of these queued jobs, in this order and without reasons; those that have left meanwhile are missing."""
    state = queuestate.current()
    return [plain_row(job, _place(job, state), sight) for job in _queued(ids)]


def position(job: Job, *, exact: bool = False) -> int | None:
    """The job's place in the queue, from 1; None where it does not queue, or stands far back.

    `exact` looks further back than the first `POSITIONS`; for one job, not for a list of them.
    """
    state = queuestate.current()
    return state.place(job.pk) if exact else state.look().positions.get(job.pk)


def start(job: Job, reason: Why | None) -> Start | None:
    """When a job that waits for this reason is expected to start; None where it does not queue."""
    if reason is None or job.state != JobState.QUEUED:
        return None
    state = queuestate.current()
    return start_of(job.pk, (reason.code, reason.numbers), state.look(), state.forecast())


def why_waiting(job: Job, *, with_verdicts: bool = False, sight: Sight | None = None) -> Why | None:
    """Why the job does not run; None where it runs or has ended.

    `sight` is what the reader may know of other jobs; without it, what everybody may know who sees this one.
    """
    if job.state == JobState.HELD:
        return Why(code=job.wait_code or WaitCode.HELD_BY_YOU, numbers=job.wait_numbers)
    if job.state != JobState.QUEUED:
        return None
    state = queuestate.current()
    reason = _reason(job, state, sight)
    return _with_verdicts(reason, job, state) if with_verdicts else reason


def forget() -> None:
    """Compute afresh at the next reading: something changed."""
    queuestate.current().forget()


def _reason(job: Job, state: QueueState, sight: Sight | None) -> Why:
    look = state.look()
    if look.is_stalled:
        return Why(code=WaitCode.SCHEDULER_STALLED)
    wait = state.wait(job.pk)
    if wait is not None:
        sight = sight or sight_of_all_who_see(job.project.slug)
        return Why(code=wait.code, numbers=told(wait.numbers, sight, state.job, look.at))
    place = look.positions.get(job.pk)
    if job.pk in look.starting or place is None or place == 1:
        return Why(code=why.STARTS_NOW)
    return Why(code=WaitCode.WAIT_TURN, numbers={"ahead": place - 1})


def told(
    numbers: Mapping[str, Any], sight: Sight, job_of: Callable[[str], JobView | None], now: float
) -> Mapping[str, Any]:
    """The numbers as they may be told: another job by its name, or not at all; a time as what is left until then."""
    if "kept_for" not in numbers:
        return numbers
    holder = job_of(str(numbers["kept_for"]))
    names = holder is not None and sight.names(holder.project)
    sees = holder is not None and sight.sees(holder.project)
    left = (numbers["until"] or 0.0) - now
    return {
        "what": numbers.get("what", "cards"),
        "kept_for": holder.task_id if holder and names else None,
        "kept_for_id": holder.id if holder and sees else None,
        "until": numbers["until"],
        "wait": round(left) if left > 0 else None,
    }


def sight_of_all_who_see(slug: str) -> Sight:
    """What everybody may know who sees the jobs of this project."""
    return Sight(projects=frozenset({slug}), is_open=sitesettings.current().queue_is_open)


def _with_verdicts(reason: Why, job: Job, state: QueueState) -> Why:
    view = state.job(job.pk) or snapshots.job_view(job)
    found = verdicts(view, Snapshot(now=state.look().at, devices=state.cards(job.pk)))
    shown = nearest(found)
    return replace(reason, verdicts=shown, more_cards=len(found) - len(shown))


def nearest(found: Collection[Verdict]) -> tuple[Verdict, ...]:
    """In a large fleet, the cards that fit and those with the most room; in the order of the fleet."""
    if len(found) <= MOST_CARDS:
        return tuple(found)
    best = sorted(found, key=lambda each: (not each.fits, -each.free))[:MOST_CARDS]
    chosen = {each.uuid for each in best}
    return tuple(each for each in found if each.uuid in chosen)


def _row(job: Job, state: QueueState, sight: Sight) -> QueueRow:
    row = plain_row(job, _place(job, state), sight)
    if row.job is None:
        return row
    reason = why_waiting(job, sight=sight)
    return replace(row, why=reason, start=start(job, reason))


def plain_row(job: Job, position: int | None, sight: Sight) -> QueueRow:
    """A job as the viewer may know it, without its reason."""
    named = sight.names(job.project.slug)
    return QueueRow(
        position=position,
        needs=job.min_memory,
        gpus=job.gpus,
        job=job if sight.sees(job.project.slug) else None,
        named=str(job) if named else "",
        owner=job.owner.username if named else "",
    )


def _place(job: Job, state: QueueState) -> int | None:
    return state.look().positions.get(job.pk)


def _queued(ids: Sequence[str]) -> list[Job]:
    found = _with_people(Job.objects).in_bulk(list(ids))  # by keys alone: the quickest way to them
    there = [found[job_id] for job_id in ids if job_id in found]
    return [job for job in there if job.state == JobState.QUEUED]


def _with_people(jobs: Any) -> Any:
    return jobs.select_related("project", "owner")
