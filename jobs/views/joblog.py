"""The log of an attempt: lines for the page, and the raw bytes for the download."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from jobs import rundir
from jobs.models import Job
from jobs.views import logtext
from jobs.views.signedin import job_for

LAST_LINES = 20  # of a failed attempt, in the box above the page


@require_safe
@never_cache
def log_lines(request: HttpRequest, job_id: str) -> JsonResponse:
    """Lines by `after`, `before` (byte offsets) or `line` (a number); without these, the last ones."""
    job = job_for(request, job_id)
    attempt = _attempt(request, job)
    path = log_path(job, attempt)
    if not path.exists():
        return JsonResponse(
            {"attempt": attempt, "start": 0, "end": 0, "first": 1, "lines": [], "partial": ""}
        )
    block = _block(request, path)
    return JsonResponse(
        {
            "attempt": attempt,
            "start": block.start,
            "end": block.end,
            "first": block.first,
            "lines": block.lines,
            "partial": block.partial,
        }
    )


@require_safe
@never_cache
def log_download(request: HttpRequest, job_id: str) -> FileResponse:
    """The raw log, as it was written."""
    job = job_for(request, job_id)
    attempt = _attempt(request, job)
    path = log_path(job, attempt)
    if not path.exists():
        raise Http404(
            _("Attempt %(number)s of “%(job)s” has no log.") % {"number": attempt, "job": job}
        )
    name = f"{job.task_id}-{job.run}-{attempt}.log"
    return FileResponse(
        path.open("rb"), as_attachment=True, filename=name, content_type="text/plain; charset=utf-8"
    )


def last_lines(job: Job, attempt: int) -> list[str]:
    """The last lines of an attempt without their colours; empty where it has no log."""
    with suppress(FileNotFoundError), log_path(job, attempt).open("rb") as file:
        block = logtext.tail(file)
        lines = [*block.lines, block.partial]
        plain = (logtext.without_colours(line) for line in lines[-LAST_LINES:])
        return [line for line in plain if line.strip()]
    return []


def log_path(job: Job, attempt: int) -> Path:
    """Where an attempt's output is kept."""
    return rundir.attempt_directory(settings.COOP_HOME, job.pk, attempt) / rundir.LOG


def _attempt(request: HttpRequest, job: Job) -> int:
    return _number(request, "attempt") or job.epoch


def _block(request: HttpRequest, path: Path) -> logtext.Block:
    after, before, line = (_number(request, name) for name in ("after", "before", "line"))
    with path.open("rb") as file:
        if after is not None:
            return logtext.after(file, after)
        if before is not None:
            return logtext.before(file, before)
        if line is not None:
            return logtext.around(file, line)
        return logtext.tail(file)


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
