"""The addresses of scripts: `/submit`, `/api/v1/`, and those of health checks and metrics.

They answer with problems, never with the sign-in page: each checks by itself who asks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, include, path, re_path
from django.views.decorators.csrf import csrf_exempt

from jobs import health
from jobs.api import article
from jobs.api.problems import from_status, in_our_shape, problem_response
from jobs.api.site import api
from jobs.metrics import metrics


def _unknown(request: HttpRequest, **_kwargs: Any) -> HttpResponse:
    return problem_response(from_status(404, request))


def _speaking_problems(view: Callable[..., Any]) -> Callable[..., Any]:
    """Django's and ninja's own error pages as problems; the caller is checked by the view itself."""
    if iscoroutinefunction(view):

        @wraps(view)
        async def answered_later(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            return in_our_shape(request, await view(request, *args, **kwargs))

        return csrf_exempt(login_not_required(answered_later))

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return in_our_shape(request, view(request, *args, **kwargs))

    return csrf_exempt(login_not_required(answered))


def _api_patterns() -> list[URLPattern]:
    patterns = [each for each in api.urls[0] if isinstance(each, URLPattern)]
    for pattern in patterns:
        pattern.callback = _speaking_problems(pattern.callback)
    return [*patterns, re_path(".*", _speaking_problems(_unknown))]


urlpatterns = [
    path("submit", _speaking_problems(article.submit), name="submit-task"),
    path("api/v1/", include((_api_patterns(), "ninja"), namespace="api")),
    path("healthz", login_not_required(health.healthz), name="healthz"),
    path("readyz", login_not_required(health.readyz), name="readyz"),
    path("metrics", login_not_required(metrics), name="metrics"),
]
