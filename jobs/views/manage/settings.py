"""The site's settings: one row each, with what it does, what it may be, its default, and who changed it last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from jobs import queue, settingfields, sitesettings
from jobs.core.policies import SHIPPED
from jobs.models import SiteSetting
from jobs.policies import alarm
from jobs.settingwords import WORDS
from jobs.sitesettings import SettingRefused
from jobs.views.manage import cells
from jobs.views.manage.access import for_admins
from jobs.views.signedin import viewer_of


@dataclass(frozen=True, kw_only=True)
class Row:
    """One setting on the page."""

    name: str
    text: str  # in the form
    default: str
    error: str
    changed_at: datetime | None
    changed_by: str

    @property
    def label(self) -> object:
        """Its name for people."""
        return WORDS[self.name].label if self.name in WORDS else self.name

    @property
    def effect(self) -> object:
        """What it does."""
        return WORDS[self.name].effect if self.name in WORDS else ""

    @property
    def allowed(self) -> str:
        """What it may be."""
        return sitesettings.allowed(self.name)

    @property
    def kind(self) -> str:
        """How it is asked for."""
        return settingfields.kind_of(self.name)

    @property
    def choices(self) -> list[str]:
        """What can be chosen, with the empty text for null; empty where it is typed."""
        words = (
            ["true", "false"]
            if self.kind == settingfields.Kind.SWITCH
            else settingfields.choices_of(self.name)
        )
        return ["", *words] if words and self.may_be_empty else words

    @property
    def may_be_empty(self) -> bool:
        """Whether nothing can stand there: null in the API."""
        return settingfields.may_be_empty(self.name)

    @property
    def suggestions(self) -> list[str]:
        """What one may want to type."""
        return sorted(SHIPPED) if self.name == "policy" else []

    @property
    def is_changed(self) -> bool:
        """Whether somebody has changed it from its default."""
        return self.changed_at is not None


@for_admins
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def settings(request: HttpRequest) -> HttpResponse:
    """Show them; or change those that are otherwise than they were, all of them or none."""
    if request.method != "POST":
        return render(request, "manage/settings.html", _context({}, {}))
    viewer = viewer_of(request)
    if "reset" in request.POST:
        return _reset(request)
    wanted = _wanted(request.POST)
    errors = _errors(wanted)
    if errors:
        context = _context({name: request.POST[name] for name in wanted}, errors)
        return render(request, "manage/settings.html", context, status=422)
    sitesettings.change(wanted, viewer)
    queue.forget()
    if wanted:
        names = ", ".join(str(WORDS[name].label if name in WORDS else name) for name in wanted)
        messages.success(request, _("Changed: %(names)s.") % {"names": names})
    return redirect("manage-settings")


def _reset(request: HttpRequest) -> HttpResponse:
    name = request.POST["reset"]
    try:
        sitesettings.reset(name, viewer_of(request))
    except SettingRefused as refused:
        messages.error(request, str(refused))
    else:
        queue.forget()
        messages.success(request, _("%(name)s has its default again.") % {"name": name})
    return redirect("manage-settings")


def _wanted(given: Mapping[str, str]) -> dict[str, object]:
    """The settings that this reader has changed, by name."""
    return {
        name: settingfields.value_of(name, text)
        for name, text in cells.changed(given).items()
        if name in sitesettings.NAMES
    }


def _errors(wanted: Mapping[str, object]) -> dict[str, str]:
    errors = {}
    for name, value in wanted.items():
        try:
            sitesettings.checked({name: value})
        except SettingRefused as refused:
            errors[name] = str(refused)
    return errors


def _context(given: Mapping[str, str], errors: Mapping[str, str]) -> dict[str, Any]:
    values = sitesettings.as_dict(sitesettings.current())
    now = {name: settingfields.text_of(values[name]) for name in sitesettings.NAMES}
    return {
        "rows": _rows(now, given, errors),
        "before": cells.before(now),
        "alarm": alarm.standing(),
        "is_refused": bool(errors),
    }


def _rows(now: Mapping[str, str], given: Mapping[str, str], errors: Mapping[str, str]) -> list[Row]:
    stored = {row.name: row for row in SiteSetting.objects.select_related("changed_by")}
    first = [name for name in WORDS if name in now]
    return [
        _row(name, given.get(name, now[name]), stored.get(name), errors.get(name, ""))
        for name in (*first, *(name for name in now if name not in WORDS))
    ]


def _row(name: str, text: str, stored: SiteSetting | None, error: str) -> Row:
    return Row(
        name=name,
        text=text,
        default=settingfields.text_of(sitesettings.default_of(name)),
        error=error,
        changed_at=stored.changed_at if stored else None,
        changed_by=str(stored.changed_by or "") if stored else "",
    )
