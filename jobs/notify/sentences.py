"""What happened as whole sentences, in the language that is active. The only place with words about notifications."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from jobs import preemptions
from jobs.core.states import JobState
from jobs.core.units import format_duration
from jobs.models import Job, JobEvent
from jobs.notify.kinds import Kind
from jobs.views.words import reason_words


class Row(Protocol):
    """A line of an inbox, or a delivery."""

    kind: str
    data: Mapping[str, Any]
    at: datetime

    @property
    def job(self) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Told:
    """One row in words."""

    row: Any
    sentence: str
    job: Job | None  # None: the reader may not open it


def in_words(rows: Iterable[Row], visible: QuerySet[Job]) -> list[Told]:
    """The rows in words; `visible`: the jobs that the reader may see. Their jobs must have been fetched."""
    listed = list(rows)
    numbers = [int(row.data["event"]) for row in listed if row.kind == Kind.PREEMPTED and row.job]
    events = JobEvent.objects.filter(pk__in=numbers).select_related("job")
    told = preemptions.told(events, visible)
    ids = {row.job.pk for row in listed if row.job}
    seen = set(visible.filter(pk__in=ids).values_list("pk", flat=True))
    return [
        Told(
            row=row,
            sentence=_sentence(row, told),
            job=row.job if row.job and row.job.pk in seen else None,
        )
        for row in listed
    ]


def many(kind: str, count: int, states: Mapping[str, int]) -> str:
    """Many of one kind in one sentence."""
    return str(_MANY[kind](count)) % {"count": f"{count:,}", "parts": _parts(states)}


def _sentence(row: Row, told: Mapping[int, preemptions.Preemption]) -> str:
    if "many" in row.data:
        return many(row.kind, int(row.data["many"]), row.data.get("states", {}))
    if row.kind == Kind.PREEMPTED:
        preemption = told.get(int(row.data.get("event") or 0))
        words = preemption.sentence if preemption else ""
        return _("%(job)s makes room. %(words)s") % {"job": row.job, "words": words}
    return _SENTENCES[row.kind](row)


def _started(row: Row) -> str:
    attempt = int(row.data.get("attempt") or 1)
    if attempt > 1:
        return _("%(job)s runs again, in attempt %(attempt)s.") % {
            "job": row.job,
            "attempt": attempt,
        }
    return _("%(job)s has started.") % {"job": row.job}


def _ended(row: Row) -> str:
    words = {"job": row.job, "time": _time(row), "cause": _cause(row), "by": row.data.get("by")}
    state = row.data.get("state")
    if state == JobState.SUCCEEDED:
        loss = row.data.get("loss")
        if isinstance(loss, int | float):
            words["loss"] = f"{loss:.4g}"
            return _("%(job)s has succeeded after %(time)s; its last loss was %(loss)s.") % words
        return _("%(job)s has succeeded after %(time)s.") % words
    if state == JobState.CANCELLED:
        if words["by"]:
            return _("%(job)s was cancelled by %(by)s.") % words
        return _("%(job)s was cancelled.") % words
    return _("%(job)s has failed after %(time)s: %(cause)s") % words


def _paused(row: Row) -> str:
    return _("%(job)s was paused by %(by)s.") % {"job": row.job, "by": row.data.get("by")}


def _retried(row: Row) -> str:
    words = {"job": row.job, "time": _time(row), "cause": _cause(row)}
    return _("%(job)s ended after %(time)s and is tried again: %(cause)s") % words


def _soon(row: Row) -> str:
    return _("%(job)s is expected to start at about %(time)s.") % {
        "job": row.job,
        "time": _clock(row.data.get("expected")),
    }


def _idle(row: Row) -> str:
    words = {
        "job": row.job,
        "time": format_duration(round(float(row.data.get("seconds") or 0))),
        "until": _clock(row.data.get("until")),
    }
    if words["until"]:
        return (
            _("%(job)s has kept its cards idle for %(time)s. It may keep them until %(until)s.")
            % words
        )
    return _("%(job)s has kept its cards idle for %(time)s.") % words


def _quota(row: Row) -> str:
    words = {
        "project": row.data.get("project"),
        "user": row.data.get("user"),
        "used": f"{float(row.data.get('used') or 0):,.1f}",
        "limit": f"{float(row.data.get('limit') or 0):,g}",
    }
    if words["user"]:
        return (
            _(
                "%(user)s has used %(used)s of the %(limit)s GPU-hours that they may use"
                " in %(project)s this month."
            )
            % words
        )
    return (
        _("The project %(project)s has used %(used)s of its %(limit)s GPU-hours of this month.")
        % words
    )


def _cause(row: Row) -> str:
    detail, reason = str(row.data.get("detail") or ""), str(row.data.get("reason") or "")
    return detail or (f"{reason_words(reason)}." if reason else _("no cause is known."))


def _time(row: Row) -> str:
    return format_duration(round(float(row.data.get("seconds") or 0)))


def _clock(text: object) -> str:
    at = parse_datetime(str(text)) if text else None
    return f"{timezone.localtime(at):%H:%M}" if at else ""


def _parts(states: Mapping[str, int]) -> str:
    """How many jobs ended in which state: 990 succeeded, 10 failed."""
    words: dict[str, Callable[[int], str]] = {
        JobState.SUCCEEDED: lambda n: ngettext("%(n)s succeeded", "%(n)s succeeded", n),
        JobState.FAILED: lambda n: ngettext("%(n)s failed", "%(n)s failed", n),
        JobState.CANCELLED: lambda n: ngettext("%(n)s cancelled", "%(n)s cancelled", n),
        JobState.QUEUED: lambda n: ngettext("%(n)s queued again", "%(n)s queued again", n),
    }
    known = [(state, states[state]) for state in words if states.get(state)]
    return ", ".join(words[state](n) % {"n": f"{n:,}"} for state, n in known)


_SENTENCES: dict[str, Callable[[Row], str]] = {
    Kind.STARTED: _started,
    Kind.ENDED: _ended,
    Kind.PAUSED: _paused,
    Kind.RETRIED: _retried,
    Kind.SOON: _soon,
    Kind.IDLE: _idle,
    Kind.QUOTA: _quota,
}
_MANY: dict[str, Callable[[int], str]] = {
    Kind.STARTED: lambda n: ngettext(
        "%(count)s job has started.", "%(count)s jobs have started.", n
    ),
    Kind.ENDED: lambda n: ngettext(
        "%(count)s job ended: %(parts)s.", "%(count)s jobs ended: %(parts)s.", n
    ),
    Kind.PAUSED: lambda n: ngettext("%(count)s job was paused.", "%(count)s jobs were paused.", n),
    Kind.PREEMPTED: lambda n: ngettext(
        "%(count)s job makes room for others.", "%(count)s jobs make room for others.", n
    ),
    Kind.RETRIED: lambda n: ngettext(
        "%(count)s job ended and is tried again.", "%(count)s jobs ended and are tried again.", n
    ),
    Kind.SOON: lambda n: ngettext(
        "%(count)s job is expected to start soon.", "%(count)s jobs are expected to start soon.", n
    ),
    Kind.IDLE: lambda n: ngettext(
        "%(count)s job keeps its cards idle.", "%(count)s jobs keep their cards idle.", n
    ),
    Kind.QUOTA: lambda n: ngettext(
        "%(count)s quota is nearly used up.", "%(count)s quotas are nearly used up.", n
    ),
}
