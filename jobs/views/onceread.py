"""One request sees one set of site settings, and reads it once."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from jobs import sitesettings


class SettingsReadOnce:
    """Middleware around every page and API call."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with sitesettings.read_once():
            return self._get_response(request)
