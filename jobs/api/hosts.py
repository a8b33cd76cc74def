"""With a shared token, scripts may reach the service by any name of its machine."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port

PATHS = ("/submit", "/api/")


class AnyHostForTokens:
    """Takes any well-formed Host for `/submit` and `/api/` calls that carry a Bearer token.

    Such a call needs no protection against forged hosts: no browser sends the header by itself, and the answer,
    whose addresses name that host, goes to the caller alone. Stands first among the middleware.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.COOP_AUTH_TOKEN and _carries_token(request):
            host = request.META.get("HTTP_HOST", "")
            if split_domain_port(host)[0]:  # empty for what is no host name
                request.get_host = lambda: host  # type: ignore[method-assign]
        return self._get_response(request)


def _carries_token(request: HttpRequest) -> bool:
    named = request.path_info.startswith(PATHS[1]) or request.path_info == PATHS[0]
    return named and request.headers.get("Authorization", "").lower().startswith("bearer ")
