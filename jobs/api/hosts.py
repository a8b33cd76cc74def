"""With a shared token, scripts may reach the service by any name of its machine."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.utils.translation import gettext as _

from jobs.api.problems import problem_response
from jobs.core.problems import shortened
from jobs.refusals import Refused


class AnyHostForTokens:
    """Takes any well-formed Host for `/submit` and `/api/` calls that carry a Bearer token.

    Such a call needs no protection against forged hosts: no browser sends the header by itself, and the answer,
    whose addresses name that host, goes to the caller alone. Stands first among the middleware. A host that is
    not taken is answered there as every other refusal is.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not _is_for_scripts(request):
            return self._get_response(request)
        host = request.META.get("HTTP_HOST", "")
        # The name is empty for what is no host at all.
        if settings.COOP_AUTH_TOKEN and _carries_token(request) and split_domain_port(host)[0]:
            request.get_host = lambda: host  # type: ignore[method-assign]
        try:
            request.get_host()
        except DisallowedHost:
            return problem_response(_not_our_name(host))
        return self._get_response(request)


def _is_for_scripts(request: HttpRequest) -> bool:
    return request.path_info == "/submit" or request.path_info.startswith("/api/")


def _carries_token(request: HttpRequest) -> bool:
    return request.headers.get("Authorization", "").lower().startswith("bearer ")


def _not_our_name(host: str) -> Refused:
    return Refused(
        code="host_not_allowed",
        title=_("This is not a name of the service"),
        detail=_("The request names the host %(host)s, under which this service does not answer.")
        % {"host": shortened(host, 100)},
        hint=_("An admin adds it to COOP_ALLOWED_HOSTS or sets COOP_PUBLIC_URL."),
        status=400,
    )
