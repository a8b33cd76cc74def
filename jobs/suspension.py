"""What it means to pause a job, said before it is done: what that frees, how long it takes, what is done again.

One answer for the page, the command line, Python and the API.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from jobs import attained, checkpoints, rundir, sitesettings, suspendtimes, swapability
from jobs.core.llamafactory import can_resume, trains
from jobs.core.states import JobState
from jobs.core.units import format_duration, format_size
from jobs.engines.base import DEFAULT_GRACE_S
from jobs.models import Attempt, Job


class Way(StrEnum):
    """How a job gives its cards back."""

    HOLD = "hold"  # it has none: it only waits
    FREEZE = "freeze"  # it keeps them, and stands still
    SWAP = "swap"  # its memory moves to main memory, and its processes live on
    SAVES = "saves"  # it writes a checkpoint when it is told to end
    CHECKPOINT = "checkpoint"  # it goes on from the last checkpoint that it wrote by itself
    RESTART = "restart"  # its command starts again from its beginning
    NONE = "none"  # it does not


@dataclass(frozen=True, kw_only=True)
class PauseCost:
    """What a pause without `keep_memory` would mean now. None: not known, or it does not apply."""

    way: Way
    frees_bytes: int = 0  # on all its cards together
    cards: int = 0
    typical_seconds: float | None = (
        None  # as measured on jobs of its kind, else of this site; None: never seen
    )
    at_most_seconds: float | None = None  # after which its processes are killed
    from_step: int | None = None  # of the checkpoint that it goes on from
    repeated_steps: int | None = None
    repeated_seconds: float | None = None

    @property
    def is_possible(self) -> bool:
        """Whether it can be paused so."""
        return self.way is not Way.NONE

    @property
    def loses_all(self) -> bool:
        """Whether it begins anew; people are asked before that."""
        return self.way is Way.RESTART

    @property
    def sentence(self) -> str:
        """The whole of it in words."""
        if self.way is Way.HOLD:
            return _("It only waits: nothing is lost, and its place in the queue is kept.")
        if self.way is Way.FREEZE:
            return _("It stands still and keeps its memory: nothing is freed, and nothing is lost.")
        if self.way is Way.NONE:
            return _("It cannot give its card back now.")
        return f"{self._frees()} {self._takes()} {self._repeats()}"

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        values = asdict(self) | {"way": str(self.way)}
        return values | {"possible": self.is_possible, "sentence": self.sentence}

    def _frees(self) -> str:
        words = {"size": format_size(self.frees_bytes), "n": self.cards}
        return (
            ngettext("Frees %(size)s on %(n)s card.", "Frees %(size)s on %(n)s cards.", self.cards)
            % words
        )

    def _takes(self) -> str:
        if self.way is Way.SWAP and self.typical_seconds is None:
            return _("How long that takes has not been measured here yet.")
        most = format_duration(self.at_most_seconds or 0)
        if self.typical_seconds is None:
            return _("That takes at most %(most)s.") % {"most": most}
        usual = format_duration(max(1, round(self.typical_seconds)))
        if self.way is Way.SWAP:
            return _("That usually takes %(usual)s.") % {"usual": usual}
        return _("That usually takes %(usual)s, at most %(most)s.") % {"usual": usual, "most": most}

    def _repeats(self) -> str:
        work = format_duration(round(self.repeated_seconds or 0))
        if self.way is Way.SWAP:
            return _("It goes on where it stopped, on the same card; nothing is repeated.")
        if self.way is Way.SAVES:
            return _("It saves first and goes on where it stopped; at most one step is repeated.")
        if self.way is Way.RESTART:
            return _(
                "Its command starts again from its beginning: %(work)s of work will be repeated."
            ) % {"work": work}
        if self.repeated_steps is None:
            return _("About %(work)s of work will be repeated.") % {"work": work}
        words = {"steps": self.repeated_steps, "from": self.from_step or 0, "work": work}
        return (
            _("It goes on from step %(from)s: about %(steps)s steps (%(work)s) will be repeated.")
            % words
        )


def frozen(job: Job) -> PauseCost:
    """What a pause that keeps the memory means."""
    return PauseCost(way=Way.HOLD if job.state == JobState.QUEUED else Way.FREEZE)


def cost_of_pause(job: Job) -> PauseCost:
    """What a pause of the job, as it is now, would mean."""
    if job.state == JobState.QUEUED:
        return PauseCost(way=Way.HOLD)
    attempt = job.open_attempt
    if attempt is None or job.state not in {JobState.STARTING, JobState.RUNNING}:
        return PauseCost(way=Way.NONE)
    way = way_of(job, attempt)
    return PauseCost(way=way) if way is Way.NONE else _cost(job, attempt, way)


def goes_on(job: Job) -> bool:
    """Whether its next attempt goes on from a checkpoint of an earlier one."""
    config = job.spec.get("llamafactory")
    return isinstance(config, dict) and trains(config) and can_resume(config)


def way_of(job: Job, attempt: Attempt) -> Way:
    """How the job would give its cards back."""
    if not swapability.refusal(job, attempt):
        return Way.SWAP
    return next_rung(job, attempt)


def next_rung(job: Job, attempt: Attempt) -> Way:
    """How it would do so if it could not be swapped out."""
    if attempt.saves_itself:
        return Way.SAVES
    if goes_on(job):
        return Way.CHECKPOINT
    return Way.RESTART if job.preemptible else Way.NONE


def _cost(job: Job, attempt: Attempt, way: Way) -> PauseCost:
    booked = list(attempt.allocations.open().values_list("booked", flat=True))
    saves = way is Way.SAVES
    saved, step = _saved_step(job), job.progress.get("step")
    again = max(0, step - saved) if isinstance(step, int) else None
    return PauseCost(
        way=way,
        frees_bytes=sum(booked),
        cards=len(booked),
        typical_seconds=suspendtimes.usual_seconds(job, saves=saves, swaps=way is Way.SWAP),
        at_most_seconds=_at_most_seconds(way),
        from_step=saved if way is Way.CHECKPOINT else None,
        repeated_steps={Way.SWAP: 0, Way.SAVES: 1, Way.CHECKPOINT: again}.get(way),
        repeated_seconds=0.0 if way in {Way.SWAP, Way.SAVES} else _repeated_seconds(attempt, way),
    )


def _at_most_seconds(way: Way) -> float | None:
    """After which its processes are killed; a swap kills none."""
    if way is Way.SWAP:
        return None
    return sitesettings.current().save_grace_seconds if way is Way.SAVES else DEFAULT_GRACE_S


def _saved_step(job: Job) -> int:
    """The step of the newest complete checkpoint, 0 without one."""
    output: Path = rundir.job_directory(settings.COOP_HOME, job.pk) / "output"
    newest = checkpoints.newest_checkpoint(output)
    return int(newest.name.rpartition("-")[2]) if newest is not None else 0


def _repeated_seconds(attempt: Attempt, way: Way) -> float:
    now = timezone.now()
    if attempt.started_at is None:
        return 0.0
    if way is Way.RESTART:
        return attained.worked(attempt, attempt.started_at, now)
    return attained.lost(attempt, 1, now)
