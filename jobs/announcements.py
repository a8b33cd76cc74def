"""A sentence of the admins to everybody: made, shown until it ends, taken down. Each change is noted."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from jobs.audit import record
from jobs.models import Announcement, User
from jobs.refusals import Refused

LONGEST = 300
MOST_STANDING = 5
"""At once: more push the page down, and nobody reads them."""


def standing() -> QuerySet[Announcement]:
    """Those that are shown now, the newest first."""
    return Announcement.objects.filter(Q(ends_at=None) | Q(ends_at__gt=timezone.now()))


def announce(text: str, user: User, *, level: str, ends_at: datetime | None) -> Announcement:
    """Show a sentence on every page, at once.

    Raises:
        Refused: nothing to say, too much, an end that is over, or too many at once.
    """
    text = " ".join(text.split())
    if not text or len(text) > LONGEST:
        raise _refused(
            _("An announcement of %(n)s characters cannot be shown.") % {"n": len(text)},
            _("Write one sentence of at most %(most)s characters.") % {"most": LONGEST},
        )
    if ends_at is not None and ends_at <= timezone.now():
        raise _refused(_("That end is over."), _("Choose a later one, or none."))
    if standing().count() >= MOST_STANDING:
        raise _refused(
            _("%(n)s announcements stand already.") % {"n": MOST_STANDING},
            _("Take one down first."),
        )
    with transaction.atomic():
        made = Announcement.objects.create(text=text, level=level, made_by=user, ends_at=ends_at)
        record(user, made, "announced", level=level, ends_at=ends_at)
    return made


def take_down(announcement: Announcement, user: User) -> None:
    """Show it no more; its row stays for the log."""
    with transaction.atomic():
        Announcement.objects.filter(pk=announcement.pk).update(ends_at=timezone.now())
        record(user, announcement, "taken down")


def _refused(detail: str, hint: str) -> Refused:
    return Refused(
        code="announcement_refused",
        title=_("This cannot be announced"),
        detail=detail,
        hint=hint,
    )
