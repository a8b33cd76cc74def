"""The API object: its documentation, its way of saying no, and the list of its routers."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI

from jobs import tokens
from jobs.api import (
    account,
    datasets,
    estimating,
    fleet,
    history,
    jobs,
    projects,
    replays,
    reports,
    settings,
    tokenroutes,
    why,
)
from jobs.api.auth import Allowed
from jobs.api.problems import problem_response, refusal_of
from jobs.core.version import __version__

DESCRIPTION = """\
Jobs, cards, projects and datasets of one llama-coop service.

Sign in with `Authorization: Bearer TOKEN`. Times are RFC 3339 in UTC, sizes bytes. Every error is an
`application/problem+json` with a stable `code`, a `detail` and a `hint`. What you may not see is not found.
"""


class CoopAPI(NinjaAPI):
    """Answers everything that a route raises with a problem, in production and in development alike."""

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        return problem_response(refusal_of(request, exc))


def _documented(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The documentation is for those who are signed in."""
    allowed = Allowed(tokens.READ)

    def checked(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        try:
            allowed(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, it becomes an answer
            refused = refusal_of(request, error)
            if refused.status == HTTPStatus.UNAUTHORIZED and _is_browser(request):
                return redirect_to_login(request.get_full_path())
            return problem_response(refused)
        return view(request, **kwargs)

    return checked


def _is_browser(request: HttpRequest) -> bool:
    """Whether a page is asked for by name: scripts accept anything, and get a problem."""
    return "text/html" in request.headers.get("Accept", "")


api = CoopAPI(
    title="llama-coop",
    version=__version__,
    description=DESCRIPTION,
    urls_namespace="api",
    docs_decorator=_documented,
)
api.add_router("", jobs.router, tags=["jobs"])
api.add_router("", estimating.router, tags=["jobs"])
api.add_router("", history.router, tags=["jobs"])
api.add_router("", why.router, tags=["jobs"])
api.add_router("", fleet.router, tags=["cards"])
api.add_router("", projects.router, tags=["projects"])
api.add_router("", reports.router, tags=["reports"])
api.add_router("", replays.router, tags=["reports"])
api.add_router("", datasets.router, tags=["datasets"])
api.add_router("", settings.router, tags=["site"])
api.add_router("", tokenroutes.router, tags=["account"])
api.add_router("", account.router, tags=["account"])
