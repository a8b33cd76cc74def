"""`/whoami` and `/health`: the account behind the request, and how the service is."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Router

from jobs import health, permissions, tokens
from jobs.api.answers import answer
from jobs.api.auth import Allowed, grant
from jobs.api.siteschemas import HealthOut, WhoamiOut
from jobs.api.tokenroutes import token_json
from jobs.core.version import __version__

router = Router()


@router.get("/whoami", response=WhoamiOut, auth=Allowed(tokens.READ))
def whoami(request: HttpRequest) -> HttpResponse:
    """Your account, your projects with your role in each, and what this token may do."""
    caller = grant(request)
    open_to_submit = {each.pk for each in caller.projects_to_submit_to()}
    projects = [
        {
            "slug": each.slug,
            "role": permissions.role_in(caller.user, each),
            "can_submit": each.pk in open_to_submit,
        }
        for each in caller.projects()
    ]
    return answer(
        request,
        {
            "username": caller.user.username,
            "is_admin": caller.is_admin,
            "is_service": caller.user.is_service,
            "scopes": [scope for scope in tokens.SCOPES if scope in _effective(caller)],
            "project": caller.project.slug if caller.project else None,
            "projects": projects,
            "token": token_json(caller.token) if caller.token else None,
        },
    )


@router.get("/health", response=HealthOut, auth=Allowed(tokens.READ))
def show_health(request: HttpRequest) -> HttpResponse:
    """Each part of the service, whether it is well, and what to do if it is not."""
    items = [
        {"check": each.name, "status": each.status, "detail": each.detail, "hint": each.hint}
        for each in health.checks()
    ]
    return answer(request, {"version": __version__, "items": items})


def _effective(caller: tokens.Grant) -> frozenset[str]:
    """The scopes that really open something: `admin` is one only for an admin."""
    return caller.scopes if caller.is_admin else caller.scopes - {tokens.ADMIN}
