"""The fair share as a picture, for everybody who waits for a turn."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from jobs.shares import shares_for
from jobs.views.signedin import viewer_of


@require_safe
@never_cache
def shares(request: HttpRequest) -> HttpResponse:
    """Entitled against used, of the projects that the reader knows, and of the people in them."""
    return render(request, "projects/shares.html", {"shares": shares_for(viewer_of(request))})
