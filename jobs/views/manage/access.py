"""Who may open the admins' pages: admins; for everybody else they answer 403."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from jobs.views.signedin import viewer_of

P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)
View = Callable[Concatenate[HttpRequest, P], R]


def for_admins(view: View[P, R]) -> View[P, R]:
    """Let only admins through to the view."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> R:
        if not viewer_of(request).is_superuser:
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return guarded
