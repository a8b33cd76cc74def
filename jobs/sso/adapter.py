"""What happens when a service has said who somebody is: sign them in, link the service, or say why not.

Accounts are found by the service's own id of the person and by nothing else. An e-mail address never leads to one: a
service may let people write any address they like. All of it is decided here, none of it by django-allauth's own pages.
"""

from __future__ import annotations

from typing import Any, NoReturn

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.contrib import messages
from django.contrib.auth import login as sign_in
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from jobs.models import User
from jobs.sso.newcomers import Newcomer, NotLetIn, take_in
from jobs.views.signin import BACKEND, signed_in

LINK = "connect"
"""django-allauth's word for a signed-in person who adds a service to their account."""


class Doorkeeper(DefaultSocialAccountAdapter):
    """django-allauth's one hook between "the service says who it is" and its own pages, which are not used."""

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> NoReturn:
        _check_subject(request, sociallogin)
        if sociallogin.state.get("process") == LINK:
            raise ImmediateHttpResponse(_link(request, sociallogin))
        raise ImmediateHttpResponse(_let_in(request, sociallogin))

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,  # noqa: ARG002 - the library's signature
        exception: Any = None,  # noqa: ARG002 - the library's signature
        extra_context: Any = None,  # noqa: ARG002 - the library's signature
    ) -> NoReturn:
        words = _(
            "Signing in with %(service)s did not work. Try again; if it stays so, tell an admin."
        )
        raise refused(request, words % {"service": provider.name}, status=502)


def refused(request: HttpRequest, words: str, status: int = 403) -> ImmediateHttpResponse:
    """A page that says why there is no way in here."""
    page = render(request, "account/not_let_in.html", {"words": words}, status=status)
    return ImmediateHttpResponse(page)


def _check_subject(request: HttpRequest, sociallogin: SocialLogin) -> None:
    """OpenID Connect Core 5.3.2: user info of another subject than the ID token's must not be used."""
    data = sociallogin.account.extra_data
    token, info = data.get("id_token"), data.get("userinfo")
    if token and info and token.get("sub") != info.get("sub"):
        raise refused(
            request, _("The service's answers contradict each other; nobody is signed in.")
        )


def _link(request: HttpRequest, sociallogin: SocialLogin) -> HttpResponse:
    viewer = request.user
    if not isinstance(viewer, User):
        return redirect("signin")
    service = {"service": _service(sociallogin)}
    if sociallogin.is_existing and sociallogin.user != viewer:
        messages.error(
            request, _("This account of %(service)s belongs to somebody else here.") % service
        )
    else:
        if not sociallogin.is_existing:
            sociallogin.connect(request, viewer)
        messages.success(request, _("You can sign in with %(service)s from now on.") % service)
    return redirect("account")


def _let_in(request: HttpRequest, sociallogin: SocialLogin) -> HttpResponse:
    try:
        user = sociallogin.user if sociallogin.is_existing else _new(request, sociallogin)
    except NotLetIn as why:
        raise refused(request, str(why)) from why
    assert isinstance(user, User)  # noqa: S101 - AUTH_USER_MODEL
    if not user.is_active or user.is_service:
        raise refused(request, _("This account is closed. Ask an admin."))
    sign_in(request, user, backend=BACKEND)
    target = sociallogin.state.get("next") or "/"
    if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
        target = "/"
    return signed_in(redirect(target), user)


@transaction.atomic
def _new(request: HttpRequest, sociallogin: SocialLogin) -> User:
    """A new account, linked to the service in the same transaction."""
    suggested = sociallogin.user
    user = take_in(
        Newcomer(
            name=suggested.username or suggested.get_full_name(),
            full_name=suggested.get_full_name(),
            emails=[each.email for each in sociallogin.email_addresses if each.verified is True],
        )
    )
    sociallogin.connect(request, user)
    return user


def _service(sociallogin: SocialLogin) -> str:
    return str(sociallogin.account.get_provider().name)
