"""The three addresses of signing in elsewhere: begin, come back, and take a link away."""

from __future__ import annotations

from typing import Any

from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from requests import RequestException

from jobs.sso.adapter import LINK, refused
from jobs.views.signedin import viewer_of


class CheckedOpenID(OpenIDConnectOAuth2Adapter):
    """OpenID Connect with the signature of every ID token checked, however it came."""

    def _decode_id_token(self, app: Any, id_token: str) -> dict[str, Any]:
        self.did_fetch_access_token = False  # else django-allauth trusts the connection alone
        data: dict[str, Any] = super()._decode_id_token(app, id_token)
        return data


@login_not_required
@require_safe
@never_cache
def begin(request: HttpRequest, service: str) -> HttpResponse:
    """Send the browser to the service. A link, not a form: the content security policy keeps forms at home.

    Pages of other sites may not begin it: they could sign a visitor in as somebody else.
    """
    if service not in settings.COOP_SSO:
        raise Http404(_("This site has no such way to sign in."))
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return redirect("signin")
    process = LINK if request.user.is_authenticated else "login"
    provider = get_adapter().get_provider(request, service)
    try:
        answer = provider.redirect(request, process, next_url=request.GET.get("next") or None)
    except (RequestException, OAuth2Error, KeyError, ValueError):
        words = _(
            "%(service)s does not answer as it should. Try again in a while, or tell an admin."
        )
        return refused(request, words % {"service": provider.name}, status=502).response
    assert isinstance(answer, HttpResponse)  # noqa: S101 - the library has no types
    return answer


@login_not_required
@never_cache
def openid_callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Where OpenID Connect sends people back to."""
    if provider_id not in settings.COOP_SSO:
        raise Http404(_("This site has no such way to sign in."))
    view = OAuth2CallbackView.adapter_view(CheckedOpenID(request, provider_id))
    try:
        answer = view(request)
    except (KeyError, ValueError) as error:  # what it answered lacks something
        words = _(
            "%(service)s does not answer as it should. Try again in a while, or tell an admin."
        )
        name = settings.COOP_SSO[provider_id]
        raise refused(request, words % {"service": name}, status=502) from error
    assert isinstance(answer, HttpResponse)  # noqa: S101 - the library has no types
    return answer


@require_POST
def unlink(request: HttpRequest, account_id: int) -> HttpResponse:
    """Take a service away from the reader's account, unless it is the last way in."""
    viewer = viewer_of(request)
    linked = SocialAccount.objects.filter(user=viewer)
    account = get_object_or_404(linked, pk=account_id)
    has_password = bool(viewer.password) and viewer.has_usable_password()
    if not has_password and linked.count() == 1:
        messages.error(request, _("This is your only way to sign in. Set a password first."))
        return redirect("account")
    name = settings.COOP_SSO.get(account.provider, account.provider)
    account.delete()
    messages.success(request, _("%(service)s does not sign you in any more.") % {"service": name})
    return redirect("account")
