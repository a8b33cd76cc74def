"""What a report's address asks for, the same on the page, in the API and in CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _

from jobs.core.problems import shortened
from jobs.models import Project
from jobs.refusals import Refused
from jobs.reports import LONGEST, Wanted

USUAL_DAYS = 30


def wanted_from(
    given: Mapping[str, str], allowed: Sequence[Project], *, is_admin: bool, now: datetime
) -> Wanted:
    """Read `from` and `to` (days, both included), `project`, `user` and `card`.

    Raises:
        Refused: nothing is open to the reader, or a value is wrong.
    """
    if not allowed:
        raise Refused(
            code="forbidden",
            title=_("You may not do this"),
            detail=_("Reports are for those who lead a project, and for admins."),
            hint=_("Ask a lead of your project for the figures."),
            status=403,
        )
    today = timezone.localdate(now, timezone.get_default_timezone())
    last = _day(given, "to", today)
    first = _day(given, "from", last - timedelta(days=USUAL_DAYS - 1))
    if not timedelta(0) <= last - first < LONGEST:
        raise _wrong(
            _("The period from %(first)s to %(last)s cannot be reported.")
            % {"first": first, "last": last},
            _("Give a day `from` that is not after `to`, and at most %(days)s days.")
            % {"days": LONGEST.days},
        )
    slug = given.get("project", "")
    chosen = tuple(each for each in allowed if slug in {"", each.slug})
    if not chosen:
        raise _wrong(
            _("There is no project %(slug)s that you lead.") % {"slug": shortened(slug)},
            _("Allowed: %(allowed)s.") % {"allowed": ", ".join(each.slug for each in allowed)},
        )
    return Wanted(
        first=first,
        last=last,
        projects=chosen,
        whole_site=is_admin and not slug,
        user=given.get("user", "").strip()[:150],
        card=given.get("card", "").strip()[:96],
    )


def _day(given: Mapping[str, str], name: str, usual: Any) -> Any:
    text = given.get(name, "")
    if not text:
        return usual
    try:
        found = parse_date(text)
    except ValueError:
        found = None
    if found is None or not 2000 <= found.year < 9000:
        raise _wrong(
            _("`%(name)s` is %(given)s, which is no day.")
            % {"name": name, "given": shortened(text)},
            _("Write a day as 2026-02-03, of the year 2000 or later."),
        )
    return found


def _wrong(detail: str, hint: str) -> Refused:
    return Refused(
        code="request_invalid",
        title=_("This report cannot be made"),
        detail=detail,
        hint=hint,
        status=422,
    )
