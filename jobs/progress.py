"""How far the running jobs are: their trainer logs are followed by offset, and `Job.progress` says what was seen.
When they last saved is noted beside it (`jobs/saves.py`).

The agent calls `Following.follow` once a second. Reading and the rate live in memory; after a restart the logs are
read again from their beginning, which costs little and changes nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from jobs import rundir, saves
from jobs.core import progress as core
from jobs.core.progress import TRAINER_LOG, LossPoint, ProgressFollower
from jobs.core.states import JobState
from jobs.jobfolder import JobFolder, read_small, reading
from jobs.models import Attempt, Job
from jobs.saves import SaveWatch

MOST_BYTES_AT_ONCE = 4 * 2**20
"""Read from one log in one round; a longer one is caught up with in the next rounds."""

LONGEST_LOG = 256 * 2**20
"""Of a trainer log that a loss curve is drawn from."""

LOOK_AGAIN_S = 5.0
"""Between two searches for the log of a job that has none yet."""

_FOLDERS_SEARCHED = 200
_DEEPEST = 3


class Following:
    """The trainer logs of all open attempts, and how far each was read."""

    def __init__(self) -> None:
        self._followed: dict[str, _Followed] = {}

    def follow(self, attempts: Iterable[Attempt], now: float) -> list[str]:
        """Read what the logs have grown by; the ids of the jobs whose progress changed, which is stored.

        An attempt that is not among `attempts` any more is read a last time.

        Args:
            attempts: all open attempts of this node; their jobs' states must be loaded.
            now: a monotonic clock in seconds.
        """
        before, self._followed = self._followed, {}
        changed, saved = [], []
        for attempt in attempts:
            followed = before.pop(attempt.token, None) or _Followed(
                job_id=attempt.job_id, number=attempt.number, last_round=now
            )
            self._followed[attempt.token] = followed
            if followed.read(now, frozen=attempt.job.state == JobState.SUSPENDED):
                changed.append(followed)
            if (at := followed.saves.look(attempt.job_id, now)) is not None:
                saved.append((followed, at))
        changed += [followed for followed in before.values() if followed.read_last(now)]
        if not (changed or saved):
            return []
        with transaction.atomic():  # one commit for all of them: each is a write to the disk
            for followed, at in saved:
                saves.store(followed.job_id, followed.number, at)
            return [followed.job_id for followed in changed if _stored(followed)]


def loss_points(job: Job, after: int | None = None, limit: int = 1000) -> list[LossPoint]:
    """The job's loss curve over all its runs; with `after` only later steps. Empty without a trainer log."""
    folder = _folder(job.pk)
    name = trainer_log_of(folder)
    raw = read_small(folder, name, LONGEST_LOG) if name is not None else None
    return core.loss_points((raw or b"").splitlines(), after=after, limit=limit)


def trainer_log_of(folder: Path) -> PurePath | None:
    """The trainer log below a job's folder: the one in output/, else the one last written to, in output/ or work/.

    A command may write it where it likes there; it is looked for three folders deep.
    """
    usual = PurePath("output", TRAINER_LOG)
    with reading(folder, usual) as descriptor:
        if descriptor is not None:
            return usual
    found: list[tuple[float, PurePath]] = []
    budget = _FOLDERS_SEARCHED
    for top in ("output", "work"):
        for place in _folders_below(folder, PurePath(top), budget):
            budget -= 1
            with reading(folder, place / TRAINER_LOG) as descriptor:
                if descriptor is not None:
                    found.append((os.fstat(descriptor).st_mtime, place / TRAINER_LOG))
    return max(found)[1] if found else None


@dataclass
class _Followed:
    """One attempt's trainer log."""

    job_id: str
    number: int
    last_round: float
    running_s: float = 0.0  # a clock that stands still while the job is frozen
    name: PurePath | None = None
    looked_at: float | None = None
    identity: tuple[int, int] | None = (
        None  # device and inode: another file under the same name is read anew
    )
    follower: ProgressFollower = field(default_factory=ProgressFollower)
    saves: SaveWatch = field(default_factory=SaveWatch)

    def read_last(self, now: float) -> bool:
        """The same once more after the end: a short run may have made its log since the last search for it."""
        self.looked_at = None
        return self.read(now, frozen=False)

    def read(self, now: float, *, frozen: bool) -> bool:
        """Whether there is progress that was not known."""
        folder = _folder(self.job_id)
        if not frozen:
            self.running_s += max(0.0, now - self.last_round)
        self.last_round = now
        if not self._has_log(folder, now):
            return False
        with reading(folder, self.name or "") as descriptor:
            if descriptor is None:  # deleted: a run that begins anew does that
                self.name = None
                return False
            return self.follower.feed(self._growth(descriptor), self.running_s)

    def _has_log(self, folder: Path, now: float) -> bool:
        if self.name is None and (self.looked_at is None or now - self.looked_at >= LOOK_AGAIN_S):
            self.looked_at = now
            self.name = trainer_log_of(folder)
        return self.name is not None

    def _growth(self, descriptor: int) -> bytes:
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino)
        if identity != self.identity or status.st_size < self.follower.offset:
            self.identity = identity
            self.follower.start_over()
        grown = min(status.st_size - self.follower.offset, MOST_BYTES_AT_ONCE)
        return os.pread(descriptor, grown, self.follower.offset)


def _stored(followed: _Followed) -> bool:
    """Write the progress, unless a later attempt of the job has begun meanwhile."""
    progress = followed.follower.progress
    job = Job.objects.filter(pk=followed.job_id, epoch=followed.number)
    return progress is not None and bool(
        job.update(progress=progress.as_dict() | {"at": timezone.now().timestamp()})
    )


def _folder(job_id: str) -> Path:
    return rundir.job_directory(settings.COOP_HOME, job_id)


def _folders_below(root: Path, top: PurePath, budget: int) -> list[PurePath]:
    """`top` and the folders below it, breadth first, at most `budget` of them; links are not followed."""
    found, level = [top], [top]
    for _ in range(_DEEPEST):
        level = [
            place / name
            for place in level
            for name in _names_in(root, place)[: budget - len(found)]
        ]
        found += level
        if len(found) >= budget:
            break
    return found[:budget]


def _names_in(root: Path, place: PurePath) -> list[str]:
    with contextlib.ExitStack() as opened:
        try:
            folder = opened.enter_context(JobFolder.open(root))
            for part in place.parts:
                folder = opened.enter_context(folder.existing(part))
        except OSError:
            return []
        return folder.folder_names()
