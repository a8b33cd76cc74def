"""`/tokens`: the caller's own API tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Router

from jobs import tokens
from jobs.api.answers import answer
from jobs.api.auth import Allowed, grant
from jobs.api.finding import find_project
from jobs.api.problems import NotFound
from jobs.api.schemas import ProblemOut
from jobs.api.siteschemas import NewTokenOut, TokenIn, TokenOut, TokensOut
from jobs.audit import record
from jobs.models import ApiToken, Project
from jobs.refusals import Refused
from jobs.serialize import instant
from jobs.tokens import Grant

router = Router()


@router.get("/tokens", response=TokensOut, auth=Allowed(tokens.READ))
def list_tokens(request: HttpRequest) -> HttpResponse:
    """Your tokens, newest first, ended ones included; never their texts."""
    rows = tokens.tokens_of(grant(request).user)
    return answer(request, {"items": [token_json(row) for row in rows]})


@router.post("/tokens", response={201: NewTokenOut, 422: ProblemOut}, auth=Allowed(tokens.CONTROL))
def create_token(request: HttpRequest, wanted: TokenIn) -> HttpResponse:
    """Make a token. Its text is in this answer and nowhere else.

    A token made with a token has at most that one's scopes, project and life.
    """
    caller = grant(request)
    _check_no_more_than(caller, wanted)
    row, text = tokens.issue(
        caller.user,
        name=wanted.name,
        scopes=wanted.scopes,
        project=_project(request, wanted),
        lifetime=_lifetime(caller, wanted),
    )
    record(caller.user, row, "created", scopes=row.scopes, project=wanted.project)
    return answer(request, {**token_json(row), "token": text}, status=201)


@router.delete("/tokens/{token_id}", response=TokenOut, auth=Allowed(tokens.CONTROL))
def revoke_token(request: HttpRequest, token_id: int) -> HttpResponse:
    """Make one of your tokens useless at once."""
    user = grant(request).user
    row = tokens.tokens_of(user).filter(pk=token_id).first()
    if row is None:
        raise NotFound(_("You have no token %(id)s.") % {"id": token_id})
    tokens.revoke(row, user)
    row.refresh_from_db()
    return answer(request, token_json(row))


def token_json(row: ApiToken) -> dict[str, Any]:
    """A token without its text; its project must have been fetched."""
    return {
        "id": row.pk,
        "name": row.name,
        "prefix": row.prefix,
        "scopes": row.scopes,
        "project": row.project.slug if row.project else None,
        "created_at": instant(row.created_at),
        "expires_at": instant(row.expires_at),
        "last_used_at": instant(row.last_used_at),
        "revoked_at": instant(row.revoked_at),
    }


def _check_no_more_than(caller: Grant, wanted: TokenIn) -> None:
    more = sorted(set(wanted.scopes) - caller.scopes)
    if caller.user.is_service:
        raise _refused(
            _("The shared token makes no other tokens."),
            _("Sign in as a person and make one on your account page."),
        )
    if more:
        raise _refused(
            _("This token has not itself the scope %(more)s.") % {"more": ", ".join(more)},
            _("Sign in on the pages to make such a token."),
        )


def _lifetime(caller: Grant, wanted: TokenIn) -> timedelta:
    asked = timedelta(days=wanted.days)
    end = caller.token.expires_at if caller.token else None
    return asked if end is None else min(asked, end - timezone.now())


def _project(request: HttpRequest, wanted: TokenIn) -> Project | None:
    bound = grant(request).project
    if wanted.project is None:
        return bound
    return find_project(request, wanted.project)


def _refused(detail: str, hint: str) -> Refused:
    return Refused(
        code="forbidden", title=_("You may not do this"), detail=detail, hint=hint, status=403
    )
