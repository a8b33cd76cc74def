"""Who did what: one place that notes changes of the site and tells them, with what people did to jobs.

Changes of the site are rows of Django's own log, so that what is done in the Django admin is among them. What was
done to a job is its event; events of the scheduler itself have no person and are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from jobs.models import JobEvent, User

JOBS = "jobs"
KINDS: dict[str, str | Promise] = {
    "settings": _("settings"),
    "cards": _("cards"),
    "projects": _("projects and members"),
    "people": _("people"),
    "tokens": _("tokens"),
    "announcements": _("announcements"),
    JOBS: _("jobs"),
}
_MODELS = {
    "sitesetting": "settings",
    "device": "cards",
    "node": "cards",
    "project": "projects",
    "quota": "projects",
    "membership": "projects",
    "invitation": "projects",
    "priorityrequest": "projects",
    "user": "people",
    "apitoken": "tokens",
    "announcement": "announcements",
}
_FLAGS = {ADDITION: "added", DELETION: "deleted", CHANGE: "changed"}
_READ_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which entries: empty and None mean all."""

    person: str = ""  # part of a user name
    kind: str = ""  # one of KINDS
    since: datetime | None = None
    until: datetime | None = None  # entries before it


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Somebody did something."""

    at: datetime
    person: str
    kind: str
    what: str  # what it was done to
    verb: str
    values: Mapping[
        str, object
    ]  # those that hold from then on; `before` those that held until then
    detail: str = ""
    job: str = ""  # the public id, where it was done to a job

    @property
    def told(self) -> str:
        """The values in one line."""
        parts = [f"{name}: {_plain(value)}" for name, value in self.values.items()]
        return "; ".join([self.detail, *parts] if self.detail else parts)


def record(user: User, what: Model, verb: str, **values: Any) -> None:
    """Note that `user` did `verb` to `what`; `values` are those that hold from now on."""
    LogEntry.objects.create(
        user_id=user.pk,
        content_type_id=ContentType.objects.get_for_model(what).pk,
        object_id=str(what.pk),
        object_repr=str(what)[:200],
        action_flag=CHANGE,
        change_message=f"{verb} {json.dumps(values, default=str)}" if values else verb,
    )


def entries(wanted: Wanted) -> Iterator[Entry]:
    """All that was done, the newest first."""
    found = [] if wanted.kind == JOBS else [map(_of_log, _rows(_log(wanted)))]
    if wanted.kind in ("", JOBS):
        found.append(map(_of_job, _rows(_events(wanted))))
    return merge(*found, key=lambda entry: entry.at, reverse=True)


def page(wanted: Wanted, most: int) -> tuple[list[Entry], bool]:
    """The newest entries, at most so many, and whether there are more."""
    found = list(islice(entries(wanted), most + 1))
    return found[:most], len(found) > most


def _rows(found: QuerySet[Any]) -> Iterator[Any]:
    return found.iterator(chunk_size=_READ_AT_ONCE)


def _log(wanted: Wanted) -> QuerySet[LogEntry]:
    found = LogEntry.objects.select_related("user", "content_type").order_by("-action_time", "-pk")
    if wanted.person:
        found = found.filter(user__username__icontains=wanted.person)
    if wanted.kind:
        models = [model for model, kind in _MODELS.items() if kind == wanted.kind]
        found = found.filter(content_type__model__in=models)
    if wanted.since:
        found = found.filter(action_time__gte=wanted.since)
    return found.filter(action_time__lt=wanted.until) if wanted.until else found


def _events(wanted: Wanted) -> QuerySet[JobEvent]:
    found = (
        JobEvent.objects.exclude(actor=None).select_related("job", "actor").order_by("-at", "-pk")
    )
    if wanted.person:
        found = found.filter(actor__username__icontains=wanted.person)
    if wanted.since:
        found = found.filter(at__gte=wanted.since)
    return found.filter(at__lt=wanted.until) if wanted.until else found


def _of_log(row: LogEntry) -> Entry:
    model = row.content_type.model if row.content_type else ""
    verb, values = _split(row)
    return Entry(
        at=row.action_time,
        person=row.user.get_username(),
        kind=_MODELS.get(model, model),
        what=row.object_repr,
        verb=verb,
        values=values,
    )


def _split(row: LogEntry) -> tuple[str, Mapping[str, object]]:
    """Verb and values of a row of ours; of one that the Django admin wrote, its own sentence."""
    message = row.change_message
    if message.startswith("["):
        return _FLAGS[row.action_flag], {"fields": row.get_change_message()}
    verb, brace, text = message.partition(" {")
    if not brace:
        return message or _FLAGS[row.action_flag], {}
    return verb, json.loads("{" + text)


def _of_job(event: JobEvent) -> Entry:
    return Entry(
        at=event.at,
        person=event.actor.username if event.actor else "",
        kind=JOBS,
        what=f"{event.job}",
        verb=event.kind,
        values=event.data,
        detail=event.detail,
        job=event.job_id,
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
