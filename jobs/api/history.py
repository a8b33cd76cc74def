"""`/jobs/<id>/...`: its log, what happened to it, what it used."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema

from gpus.models import HolderReading
from jobs import preemptions, rundir, tokens
from jobs.api.answers import LARGEST_PAGE, answer
from jobs.api.auth import Allowed, grant
from jobs.api.finding import find_job
from jobs.api.problems import Invalid, NotFound
from jobs.api.schemas import EventsOut, ReadingsOut
from jobs.models import Job
from jobs.serialize import event_json, instant

router = Router()

LARGEST_PART = 1024 * 1024  # bytes of log in one answer
MOST_READINGS = 2000
RESOLUTIONS = (10, 60, 3600)


class LogQuery(Schema):
    """Which part of a log."""

    offset: Annotated[int | None, Query(ge=0, description="bytes from the beginning")] = None
    tail: Annotated[int | None, Query(ge=0, le=100_000, description="the last so many lines")] = (
        None
    )
    attempt: Annotated[int | None, Query(ge=1, description="default: the latest")] = None


@router.get("/jobs/{job_id}/log", auth=Allowed(tokens.READ))
def job_log(request: HttpRequest, job_id: str, wanted: Query[LogQuery]) -> HttpResponse:
    """A part of a job's log, as the bytes that it wrote (text/plain).

    `X-Next-Offset` says where to go on; `X-Log-Complete: true` that nothing will follow in this attempt. At most
    1 MiB comes at once.
    """
    job = find_job(request, job_id)
    number = wanted.attempt or job.epoch
    attempt = job.attempts.filter(number=number).first()
    if wanted.attempt is not None and attempt is None:
        raise NotFound(_("%(job)s has no attempt %(number)s.") % {"job": job, "number": number})
    ended = (
        attempt is not None and attempt.ended_at is not None
    )  # looked at before the file is read
    path = rundir.attempt_directory(settings.COOP_HOME, job.pk, number) / rundir.LOG
    begin, content = _read(path, wanted)
    response = HttpResponse(content, content_type="text/plain; charset=utf-8")
    size = _size(path)
    follows = begin + len(content)
    for name, value in _log_headers(job, number, follows, ended and follows >= size).items():
        response[name] = value
    return response


@router.get("/jobs/{job_id}/events", response=EventsOut, auth=Allowed(tokens.READ))
def job_events(
    request: HttpRequest,
    job_id: str,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = LARGEST_PAGE,
    cursor: int | None = None,
) -> HttpResponse:
    """What happened to a job, oldest first: who, when, from where, to where, and why."""
    events = find_job(request, job_id).events.select_related("attempt", "actor").order_by("id")
    found = list(events.filter(pk__gt=cursor or 0)[: limit + 1])
    rows = found[:limit]
    more = str(rows[-1].pk) if len(found) > limit else None
    known = preemptions.told(rows, grant(request).jobs())
    items = [event_json(event, known.get(event.pk)) for event in rows]
    return answer(request, {"items": items, "next_cursor": more})


@router.get("/jobs/{job_id}/readings", response=ReadingsOut, auth=Allowed(tokens.READ))
def job_readings(
    request: HttpRequest, job_id: str, seconds: int = 60, since: datetime | None = None
) -> HttpResponse:
    """What a job used on its cards, in periods of 10, 60 or 3600 seconds; at most the latest 2,000."""
    job = find_job(request, job_id)
    if seconds not in RESOLUTIONS:
        raise Invalid(
            _("There are no periods of %(seconds)s seconds.") % {"seconds": seconds},
            _("Allowed: %(allowed)s.") % {"allowed": ", ".join(map(str, RESOLUTIONS))},
        )
    return answer(request, {"items": _readings(job, seconds, since)})


def _read(path: Path, wanted: LogQuery) -> tuple[int, bytes]:
    """The offset at which the part begins, and the part; nothing where there is no log yet."""
    try:
        with path.open("rb") as file:
            begin = wanted.offset or 0
            if wanted.offset is None and wanted.tail is not None:
                begin = _begin_of_tail(path, wanted.tail)
            file.seek(begin)
            return begin, file.read(LARGEST_PART)
    except FileNotFoundError:
        return 0, b""


def _begin_of_tail(path: Path, lines: int) -> int:
    """Where the last `lines` lines begin, looking back 1 MiB at most."""
    with path.open("rb") as file:
        size = path.stat().st_size
        start = max(0, size - LARGEST_PART)
        file.seek(start)
        block = file.read(size - start)
    end = len(block) - block.endswith(b"\n")
    for _line in range(lines):
        end = block.rfind(b"\n", 0, end)
        if end < 0:
            return start
    return start + end + 1 if lines else size


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _log_headers(job: Job, number: int, follows: int, complete: bool) -> dict[str, str]:
    return {
        "X-Next-Offset": str(follows),
        "X-Attempt": str(number),
        "X-Latest-Attempt": str(job.epoch),
        "X-Log-Complete": str(complete or (number == 0 and not job.is_active)).lower(),
        "X-Job-State": job.state,
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": "inline",
        "Cache-Control": "no-store",
    }


def _readings(job: Job, seconds: int, since: datetime | None) -> list[dict[str, Any]]:
    numbers = {attempt.token: attempt.number for attempt in job.attempts.all()}
    rows = HolderReading.objects.filter(holder__in=numbers, seconds=seconds)
    if since is not None:
        rows = rows.filter(start__gte=int(since.timestamp()))
    latest = rows.select_related("device").order_by("-start", "device__index")[:MOST_READINGS]
    return [_reading(row, numbers[row.holder]) for row in reversed(latest)]


def _reading(row: HolderReading, attempt: int) -> dict[str, Any]:
    return {
        "uuid": row.device.uuid,
        "attempt": attempt,
        "start": instant(datetime.fromtimestamp(row.start, UTC)),
        "seconds": row.seconds,
        "used_mean_bytes": row.used_mean,
        "used_max_bytes": row.used_max,
        "busy_mean": row.busy_mean,
    }
