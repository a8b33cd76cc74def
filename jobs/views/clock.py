"""Times on pages are in the reader's time zone: the one that they chose, else the browser's, else the site's."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from jobs.models import User


class ReadersTimeZone:
    """Middleware: what the server writes is in the zone of the signed-in reader. Scripts read `data-zone`."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        chosen = request.user.timezone if isinstance(request.user, User) else ""
        if not is_known(chosen):
            return self._get_response(request)
        with timezone.override(ZoneInfo(chosen)):
            return self._get_response(request)


def is_known(name: str) -> bool:
    """Whether there is a time zone of this name."""
    return name in zones()


@cache
def zones() -> tuple[str, ...]:
    """All names, in their order; looked up once, because that reads hundreds of files."""
    return tuple(sorted(available_timezones()))
