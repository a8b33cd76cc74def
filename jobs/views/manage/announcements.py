"""Announcements: what stands now, what stood lately, and a new one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from jobs import announcements
from jobs.models import Announcement
from jobs.refusals import Refused
from jobs.views.manage.access import for_admins
from jobs.views.signedin import viewer_of

EARLIER_SHOWN = 10
_ENDS = [
    (1, gettext_lazy("in an hour")),
    (8, gettext_lazy("in 8 hours")),
    (24, gettext_lazy("in a day")),
    (72, gettext_lazy("in 3 days")),
    (168, gettext_lazy("in a week")),
    (0, gettext_lazy("when it is taken down")),
]


class AnnouncementForm(forms.Form):
    """A new announcement."""

    text = forms.CharField(
        label=gettext_lazy("What everybody should know"),
        max_length=announcements.LONGEST,
        help_text=gettext_lazy(
            "One plain sentence, such as “On Friday at 18:00 all cards go down for an hour.”"
        ),
    )
    level = forms.ChoiceField(label=gettext_lazy("Looks like"), choices=Announcement.Level.choices)
    hours = forms.TypedChoiceField(
        label=gettext_lazy("Ends"), choices=_ENDS, coerce=int, initial=24
    )

    def ends_at(self) -> datetime | None:
        """When it ends; None: when it is taken down."""
        hours: int = self.cleaned_data["hours"]
        return timezone.now() + timedelta(hours=hours) if hours else None


@for_admins
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def announcement_list(request: HttpRequest) -> HttpResponse:
    """Show them; or show a new one to everybody."""
    form = AnnouncementForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            announcements.announce(
                form.cleaned_data["text"],
                viewer_of(request),
                level=form.cleaned_data["level"],
                ends_at=form.ends_at(),
            )
        except Refused as refused:
            form.add_error("text", f"{refused.detail} {refused.hint}")
        else:
            messages.success(request, _("Everybody sees it now, on every page."))
            return redirect("manage-announcements")
    status = 422 if request.method == "POST" else 200
    return render(request, "manage/announcements.html", _context(form), status=status)


@for_admins
@require_POST
def take_down(request: HttpRequest, announcement_id: int) -> HttpResponse:
    """Show one no more."""
    found = get_object_or_404(announcements.standing(), pk=announcement_id)
    announcements.take_down(found, viewer_of(request))
    messages.success(request, _("Nobody sees it any more."))
    return redirect("manage-announcements")


def _context(form: AnnouncementForm) -> dict[str, Any]:
    ended = Announcement.objects.filter(ends_at__lte=timezone.now()).select_related("made_by")
    return {
        "form": form,
        "standing": announcements.standing().select_related("made_by"),
        "earlier": ended[:EARLIER_SHOWN],
    }
