"""`/settings`: what an admin sets for the whole site while it runs."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Router

from jobs import queue, sitesettings, tokens
from jobs.api.answers import answer
from jobs.api.auth import Allowed, grant
from jobs.api.problems import Invalid
from jobs.api.schemas import ProblemOut
from jobs.api.siteschemas import SettingsOut

router = Router()

CHANGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


@router.get("/settings", response=SettingsOut, auth=Allowed(tokens.READ))
def show_settings(request: HttpRequest) -> HttpResponse:
    """The settings in force."""
    return answer(request, sitesettings.as_dict(sitesettings.current()))


@router.patch(
    "/settings",
    response={200: SettingsOut, 422: ProblemOut},
    auth=Allowed(tokens.ADMIN),
    openapi_extra=CHANGE_BODY,
)
def change_settings(request: HttpRequest) -> HttpResponse:
    """Change some settings, all or none of those given; what is left out stays."""
    user = grant(request).user
    wanted = _wanted(request)
    try:
        values = sitesettings.change(wanted, user)
    except sitesettings.SettingRefused as error:
        raise Invalid(
            str(error),
            _("Nothing was changed. Correct it and send all of it again."),
            code="setting_refused",
        ) from error
    queue.forget()
    return answer(request, sitesettings.as_dict(values))


def _wanted(request: HttpRequest) -> dict[str, object]:
    try:
        wanted = json.loads(request.body or b"{}")
    except ValueError:
        wanted = None
    if isinstance(wanted, dict):
        return wanted
    raise Invalid(
        _("The body is not a JSON object."),
        _('Send the settings by name, such as {"max_workers": 5}.'),
    )
