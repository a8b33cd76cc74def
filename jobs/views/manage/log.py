"""The log of changes: who did what, when, to what; filters in the address, CSV at the same address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from jobs import audit, csvtext
from jobs.audit import Entry, Wanted
from jobs.views.manage.access import for_admins
from jobs.views.story import kind_words

ENTRIES_A_PAGE = 100
_COLUMNS = ("time (UTC)", "person", "kind", "what", "did", "details")


@for_admins
@require_safe
@never_cache
def log(request: HttpRequest) -> HttpResponse:
    """The newest entries that the filters leave; the next ones are before the oldest of these."""
    given = {name: str(value) for name, value in request.GET.items()}
    wanted, problem = _wanted(given)
    if given.get("format") == "csv" and not problem:
        return _csv(wanted)
    found, has_more = audit.page(wanted, ENTRIES_A_PAGE) if not problem else ([], False)
    context: dict[str, Any] = {
        "given": given,
        "kinds": audit.KINDS.items(),
        "lines": [(each, audit.KINDS.get(each.kind, each.kind), _verb(each)) for each in found],
        "older": found[-1].at.isoformat() if has_more else "",
        "problem": problem,
    }
    return render(request, "manage/log.html", context, status=422 if problem else 200)


def _wanted(given: dict[str, str]) -> tuple[Wanted, str]:
    """What the address asks for; and what is wrong with it."""
    try:
        since, until = _day(given.get("from", "")), _day(given.get("to", ""))
        before = _moment(given.get("before", ""))
    except ValueError:
        return Wanted(), _("Write a day as 2026-02-03.")
    end = until + timedelta(days=1) if until else None
    kind = given.get("kind", "")
    return Wanted(
        person=given.get("person", "").replace("\0", "").strip(),
        kind=kind if kind in audit.KINDS else "",
        since=since,
        until=min((each for each in (end, before) if each), default=None),
    ), ""


def _day(text: str) -> datetime | None:
    if not text:
        return None
    found = parse_date(text)
    if found is None:
        raise ValueError(text)
    return timezone.make_aware(datetime.combine(found, time()))


def _moment(text: str) -> datetime | None:
    found = parse_datetime(text)
    return timezone.make_aware(found) if found and timezone.is_naive(found) else found


def _verb(entry: Entry) -> str:
    return kind_words(entry.verb) if entry.kind == audit.JOBS else entry.verb


def _csv(wanted: Wanted) -> HttpResponse:
    answer = HttpResponse(csvtext.file_of(_rows(wanted)), content_type=csvtext.KIND)
    answer["Content-Disposition"] = 'attachment; filename="log.csv"'
    return answer


def _rows(wanted: Wanted) -> Iterator[Sequence[str]]:
    yield _COLUMNS
    for each in audit.entries(wanted):
        at = each.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        yield at, each.person, each.kind, each.what, each.verb, each.told
