"""Who asks: a Bearer token, or the session of the site's own pages together with its CSRF token."""

from __future__ import annotations

from typing import Any

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.translation import gettext as _
from ninja.security import HttpBearer

from jobs import tokens
from jobs.api.problems import not_signed_in
from jobs.models import User
from jobs.refusals import Refused
from jobs.tokens import Grant

MOST_WRONG = 20
REST_S = 60
"""So many wrong tokens from one address in a minute, and the shared token is not compared for it: a
shared token may be short enough to guess. Personal tokens are not, and stay usable."""


class Allowed(HttpBearer):
    """Lets through what may do `scope`; the route finds the `Grant` as `request.auth`.

    A cookie alone never acts: any unsafe method needs the CSRF token with it. A request that carries an
    Authorization header is judged by that header only.
    """

    def __init__(self, scope: str) -> None:
        super().__init__()
        self._scope = scope

    def __call__(self, request: HttpRequest) -> Grant:
        grant = grant_of(request)
        if self._scope not in grant.scopes or (self._scope == tokens.ADMIN and not grant.is_admin):
            raise _scope_missing(self._scope, grant)
        return grant

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        """Required by the base class, which only describes us in openapi.json."""
        raise NotImplementedError


def grant_of(request: HttpRequest) -> Grant:
    """What the request's token or session opens.

    Raises:
        Refused: neither is there, or it is not accepted.
    """
    header = request.headers.get("Authorization")
    if header is None:
        return _by_session(request)
    kind, _space, text = header.partition(" ")
    grant = _by_token(text.strip(), _address(request)) if kind.lower() == "bearer" else None
    if grant is None:
        raise not_signed_in()
    return grant


def grant(request: HttpRequest) -> Grant:
    """The grant with which a route was let through."""
    found = request.auth  # type: ignore[attr-defined] # set by ninja from what `Allowed` returned
    assert isinstance(found, Grant)  # noqa: S101 - every route has an `Allowed`
    return found


def _by_session(request: HttpRequest) -> Grant:
    user = request.user
    if not isinstance(user, User) or not user.is_active:
        raise not_signed_in()
    if not _has_csrf_token(request):
        raise Refused(
            code="csrf",
            title=_("The CSRF token is missing"),
            detail=_("A session's cookie alone may not change anything."),
            hint=_("Send the header X-CSRFToken, or use a Bearer token instead of the cookie."),
            status=403,
        )
    return tokens.session_grant(user)


class _CsrfCheck(CsrfViewMiddleware):
    """Django's check of the token and of the request's origin, without its error page."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:  # noqa: ARG002 - its signature
        return HttpResponse(status=403)


def _has_csrf_token(request: HttpRequest) -> bool:
    """Whether the request may change something on the strength of its cookie; always so for a safe method."""
    request.csrf_processing_done = False  # type: ignore[attr-defined] # the view itself is exempt
    check = _CsrfCheck(_no_view)
    check.process_request(request)
    return check.process_view(request, _no_view, (), {}) is None


def _no_view(_request: HttpRequest) -> HttpResponse:
    """Stands where the check expects a view; it has no mark that exempts it."""
    return HttpResponse()


def _by_token(text: str, address: str) -> Grant | None:
    found = tokens.recognise(text)
    if found is not None:
        return found
    key = f"wrong-tokens:{address}"
    if int(cache.get(key, 0)) >= MOST_WRONG:
        raise _too_many()
    found = tokens.recognise_shared(text)
    if found is None:
        cache.add(key, 0, REST_S)
        cache.incr(key)
    return found


def _address(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))


def _too_many() -> Refused:
    return Refused(
        code="too_many_wrong_tokens",
        title=_("Too many wrong tokens"),
        detail=_("Too many tokens that are not accepted came from this address."),
        hint=_("Wait a minute, and check the token."),
        status=429,
        extra={"retry_after": REST_S},
    )


def _scope_missing(scope: str, grant: Grant) -> Refused:
    return Refused(
        code="forbidden",
        title=_("You may not do this"),
        detail=_("This needs the right “%(scope)s”; this way of signing in has: %(given)s.")
        % {"scope": scope, "given": ", ".join(sorted(grant.scopes))},
        hint=_("Make a token with that scope, or ask an admin.")
        if scope != tokens.ADMIN
        else _("Only an admin may do this, with a token that has the scope admin."),
        status=403,
    )
