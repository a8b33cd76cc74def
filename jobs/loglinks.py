"""Links to job logs in a directory that people chose: `<task_id>-<run>.log`, pointing at the latest attempt's."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings

from jobs import rundir, sitesettings
from jobs.models import Attempt, Job

logger = logging.getLogger(__name__)


def link(attempts: Iterable[Attempt]) -> None:
    """Point the links of these attempts' jobs at them, where the site has a `log_dir`.

    A link that cannot be made is reported and stops nothing: logs are at their own place in any case.
    """
    attempts = list(attempts)
    directory = sitesettings.current().log_dir if attempts else None
    if directory is None:
        return
    for attempt in attempts:
        try:
            _point(Path(directory) / name_of(attempt.job), _log_of(attempt))
        except OSError as error:
            logger.warning("No link to the log of %s in %s: %s", attempt.job, directory, error)


def name_of(job: Job) -> str:
    """The link's name. Jobs of several projects may share one: then it is that of the last one started."""
    return f"{job.task_id}-{job.run}.log"


def _log_of(attempt: Attempt) -> Path:
    folder = rundir.attempt_directory(settings.COOP_HOME, attempt.job_id, attempt.number)
    return folder / rundir.LOG


def _point(link_path: Path, target: Path) -> None:
    """Make or replace a link in one step; what is no link is somebody's file and stays.

    Raises:
        OSError: the directory or the link cannot be made.
    """
    link_path.parent.mkdir(parents=True, exist_ok=True)
    if link_path.exists() and not link_path.is_symlink():
        raise FileExistsError(f"{link_path} is a file, not a link")
    fresh = link_path.with_name(f".{link_path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link_path)
