"""One's own account: API tokens (shown once), password, ways to sign in, theme, language and time zone."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import PasswordChangeForm, SetPasswordForm
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jobs import tokens
from jobs.context_processors import THEME_COOKIE
from jobs.forms import PreferencesForm, TokenForm
from jobs.models import User
from jobs.views.clock import is_known
from jobs.views.signedin import viewer_of

_YEAR_S = 365 * 24 * 3600


@require_safe
@never_cache
def account(request: HttpRequest) -> HttpResponse:
    """Tokens and password of the reader."""
    return render(request, "account/account.html", _context(request))


@require_POST
@never_cache
def create_token(request: HttpRequest) -> HttpResponse:
    """Make a token and show it, this once."""
    viewer = viewer_of(request)
    form = TokenForm(viewer, request.POST)
    if not form.is_valid():
        return render(
            request, "account/account.html", _context(request, token_form=form), status=422
        )
    secret = form.create()
    address = request.build_absolute_uri("/").rstrip("/")
    shown = _context(request) | {"secret": secret, "address": address}
    return render(request, "account/account.html", shown, status=201)


@require_POST
def revoke_token(request: HttpRequest, token_id: int) -> HttpResponse:
    """Make one of the reader's tokens useless."""
    token = get_object_or_404(viewer_of(request).api_tokens, pk=token_id)
    tokens.revoke(token, viewer_of(request))
    messages.success(request, _("The token “%(name)s” is revoked.") % {"name": token.name})
    return redirect("account")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def password(request: HttpRequest) -> HttpResponse:
    """Set or change the password; whoever came by a one-time link may have none yet."""
    viewer = viewer_of(request)
    kind = PasswordChangeForm if viewer.has_usable_password() else SetPasswordForm
    form = kind(viewer, request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        update_session_auth_hash(request, viewer)
        messages.success(request, _("The password is changed. Other browsers are signed out."))
        return redirect("account")
    status = 422 if request.method == "POST" else 200
    return render(request, "account/password.html", {"form": form}, status=status)


@login_not_required
@require_POST
def preferences(request: HttpRequest) -> HttpResponse:
    """Keep a chosen theme, language or time zone: with the account, and the first two in the browser."""
    theme, language = request.POST.get("theme"), request.POST.get("language")
    zone = request.POST.get("timezone")
    if zone and not is_known(zone):
        return HttpResponseBadRequest("timezone: a name such as Asia/Shanghai, or nothing")
    if zone is not None and isinstance(request.user, User):
        User.objects.filter(pk=request.user.pk).update(timezone=zone)
    if theme and theme not in User.Theme.values:
        return HttpResponseBadRequest("theme: auto, light or dark")
    if language and language not in dict(settings.LANGUAGES):
        return HttpResponseBadRequest("language: " + ", ".join(dict(settings.LANGUAGES)))
    response = _back(request)
    for name, cookie, value in (
        ("theme", THEME_COOKIE, theme),
        ("language", settings.LANGUAGE_COOKIE_NAME, language),
    ):
        if value:
            response.set_cookie(cookie, value, max_age=_YEAR_S, samesite="Lax")
            if isinstance(request.user, User):
                User.objects.filter(pk=request.user.pk).update(**{name: value})
    return response


def _context(request: HttpRequest, token_form: TokenForm | None = None) -> dict[str, Any]:
    viewer = viewer_of(request)
    language, zone = get_language(), viewer.timezone
    chosen = {"language": language, "theme": viewer.theme, "timezone": zone}
    return {
        "preferences_form": PreferencesForm(initial=chosen),
        "ways": _ways(viewer),
        "tokens": viewer.api_tokens.filter(revoked_at=None).select_related("project"),
        "token_form": token_form or TokenForm(viewer),
    }


def _ways(viewer: User) -> list[dict[str, Any]]:
    """The services that one may sign in with here, and which of them are linked to this account."""
    if not settings.COOP_SSO:
        return []
    from allauth.socialaccount.models import SocialAccount  # noqa: PLC0415 - installed only then

    linked = {each.provider: each for each in SocialAccount.objects.filter(user=viewer)}
    return [
        {
            "key": key,
            "name": name,
            "account": linked[key].pk if key in linked else None,
            "since": linked[key].date_joined if key in linked else None,
        }
        for key, name in settings.COOP_SSO.items()
    ]


def _back(request: HttpRequest) -> HttpResponse:
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204)
    target = request.POST.get("next") or request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
        target = "/"
    return redirect(target)
