"""Cards for admins: mode and weight of each, in and out of service, a whole machine at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from gpus.models import Device, Node
from jobs import cardsettings, queue, sitesettings
from jobs.models import Allocation
from jobs.refusals import Refused
from jobs.views.manage import cells
from jobs.views.manage.access import for_admins
from jobs.views.signedin import viewer_of

_CELL = re.compile(r"(?:mode|weight):[0-9]{1,18}")
CARDS_A_PAGE = 80  # two fields each; Django takes 200


@dataclass(frozen=True, kw_only=True)
class Row:
    """One card on the page."""

    device: Device
    jobs: int  # that hold it
    mode: str
    weight: str
    error: str


@for_admins
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def cards(request: HttpRequest) -> HttpResponse:
    """Show the cards; or set modes and weights that are otherwise than they were, all of them or none."""
    if request.method != "POST":
        return render(request, "manage/cards.html", _context(request, {}, {}))
    wanted = {
        name: text for name, text in cells.changed(request.POST).items() if _CELL.fullmatch(name)
    }
    changes, errors = _changes(wanted)
    if not errors:
        errors = _change(changes, request)
    if errors:
        return render(request, "manage/cards.html", _context(request, wanted, errors), status=422)
    if changes:
        queue.forget()
        words = ngettext("%(n)s card is changed.", "%(n)s cards are changed.", len(changes))
        messages.success(request, words % {"n": len(changes)})
    return redirect("manage-cards")


@for_admins
@require_POST
def drain_card(request: HttpRequest, device_id: int) -> HttpResponse:
    """Take one card out of service, or put it back."""
    return _drain(request, [get_object_or_404(_devices(), pk=device_id)])


@for_admins
@require_POST
def drain_node(request: HttpRequest, node_id: int) -> HttpResponse:
    """Take all cards of a machine out of service, or put them back."""
    node = get_object_or_404(Node, pk=node_id)
    return _drain(request, list(_devices().filter(node=node)))


def _drain(request: HttpRequest, devices: list[Device]) -> HttpResponse:
    viewer = viewer_of(request)
    names = ", ".join(str(device) for device in devices)
    if request.POST.get("do") == "undrain":
        cardsettings.undrain(devices, viewer)
        messages.success(request, _("In service again: %(cards)s.") % {"cards": names})
    elif not request.POST.get("reason", "").strip():
        messages.error(
            request, _("Say why the cards are taken out of service: people who wait will read it.")
        )
    else:
        cardsettings.drain(devices, request.POST["reason"].strip(), viewer)
        messages.success(request, _("Out of service: %(cards)s.") % {"cards": names})
        if request.POST.get("when") == "now":
            _clear(request, devices)
    queue.forget()
    return redirect("manage-cards")


def _clear(request: HttpRequest, devices: list[Device]) -> None:
    cleared = cardsettings.clear(devices, viewer_of(request))
    if cleared.paused:
        names = ", ".join(str(job) for job in cleared.paused)
        words = _("Paused, to be resumed by an admin: %(jobs)s.")
        messages.success(request, words % {"jobs": names})
    for refusal in cleared.refused:
        messages.warning(request, f"{refusal.detail} {refusal.hint}")


def _changes(wanted: Mapping[str, str]) -> tuple[dict[int, dict[str, object]], dict[int, str]]:
    """What is to be set, by card; and what is wrong with it."""
    changes: dict[int, dict[str, object]] = {}
    errors: dict[int, str] = {}
    for cell, text in wanted.items():
        name, _colon, key = cell.partition(":")
        value: object = text
        if name == "weight":
            try:
                value = float(text)
            except ValueError:
                errors[int(key)] = _("“%(text)s” is no number.") % {"text": text}
        changes.setdefault(int(key), {})[name] = value
    return changes, errors


def _change(changes: Mapping[int, Mapping[str, object]], request: HttpRequest) -> dict[int, str]:
    devices = _devices().in_bulk(list(changes))
    errors: dict[int, str] = {}
    for key, values in changes.items():
        try:
            cardsettings.check(values)
        except Refused as refused:
            errors[key] = f"{refused.detail} {refused.hint}"
    if not errors:
        for key, device in devices.items():
            cardsettings.change(device, changes[key], viewer_of(request))
    return errors


def _context(
    request: HttpRequest, given: Mapping[str, str], errors: Mapping[int, str]
) -> dict[str, Any]:
    page = Paginator(_devices(), CARDS_A_PAGE).get_page(request.GET.get("page"))
    rows = [_row(device, given, errors) for device in _with_jobs(page)]
    stood = {f"mode:{each.device.pk}": each.device.mode for each in rows}
    stood |= {f"weight:{each.device.pk}": f"{each.device.weight:g}" for each in rows}
    return {
        "nodes": [
            (node, list(on_it)) for node, on_it in groupby(rows, key=lambda row: row.device.node)
        ],
        "page": page,
        "before": cells.before(stood),
        "modes": Device.Mode.choices,
        "site_mode": Device.Mode(sitesettings.current().mode).label,
        "longest_reason": cardsettings.LONGEST_REASON,
        "is_refused": bool(errors),
    }


def _devices() -> Any:
    return Device.objects.select_related("node").order_by("node__name", "index")


def _with_jobs(page: Page[Device]) -> Iterable[tuple[Device, int]]:
    held = Allocation.objects.open().filter(device__in=[device.pk for device in page])
    holders = list(held.values_list("device_id", flat=True))
    return [(device, holders.count(device.pk)) for device in page]


def _row(counted: tuple[Device, int], given: Mapping[str, str], errors: Mapping[int, str]) -> Row:
    device, jobs = counted
    return Row(
        device=device,
        jobs=jobs,
        mode=given.get(f"mode:{device.pk}", device.mode),
        weight=given.get(f"weight:{device.pk}", f"{device.weight:g}"),
        error=errors.get(device.pk, ""),
    )
