"""Everybody's API tokens, for admins: which there are, what they open, when they were used, and an end to one."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from jobs import tokens
from jobs.models import ApiToken
from jobs.views.manage.access import for_admins
from jobs.views.signedin import viewer_of

TOKENS_A_PAGE = 100


@for_admins
@require_safe
@never_cache
def token_list(request: HttpRequest) -> HttpResponse:
    """The tokens that still open something; with `show=all` the ended ones too."""
    shown = request.GET.get("show", "")
    found = ApiToken.objects.select_related("user", "project") if shown else tokens.usable()
    person = request.GET.get("person", "").replace("\0", "").strip()
    if person:
        found = found.filter(user__username__icontains=person)
    page = Paginator(found.order_by("-created_at"), TOKENS_A_PAGE).get_page(request.GET.get("page"))
    context = {"page": page, "person": person, "shown": shown, "now": timezone.now()}
    return render(request, "manage/tokens.html", context)


@for_admins
@require_POST
def revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    """Make somebody's token useless."""
    token = get_object_or_404(ApiToken.objects.select_related("user"), pk=token_id)
    tokens.revoke(token, viewer_of(request))
    words = _("The token “%(name)s” of %(person)s is revoked.")
    messages.success(request, words % {"name": token.name, "person": token.user})
    return redirect("manage-tokens")
