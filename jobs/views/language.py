"""Pages are in the reader's language: that of their profile, else of the browser's cookie, else of Accept-Language."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation

from jobs.models import User


class ReadersLanguage:
    """Middleware after Django's own, which sees cookie and Accept-Language: here a signed-in reader's choice wins."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        chosen = request.user.language if isinstance(request.user, User) else ""
        if chosen not in dict(settings.LANGUAGES):
            return self._get_response(request)
        with translation.override(chosen):
            request.LANGUAGE_CODE = chosen
            response = self._get_response(request)
            response.headers.setdefault("Content-Language", chosen)
            return response
