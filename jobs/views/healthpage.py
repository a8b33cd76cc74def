"""How the service and its cards are, and what to do about it: what `llama-coop doctor` says, as a page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from jobs import health, thresholds

WORDS = {health.OK: _("well"), health.WARNING: _("look at it"), health.ERROR: _("error")}
ICONS = {health.OK: "tick", health.WARNING: "warning", health.ERROR: "cross"}
_WORST_FIRST = (health.ERROR, health.WARNING, health.OK)


@require_safe
@never_cache
def health_page(request: HttpRequest) -> HttpResponse:
    """Every check, the worst first, and what other thresholds would do."""
    checks = sorted(health.checks(), key=lambda check: _WORST_FIRST.index(check.status))
    rows = [(check, WORDS[check.status], ICONS[check.status]) for check in checks]
    context = {"rows": rows, "effects": thresholds.effects()}
    return render(request, "health/health.html", context)
