"""Every "no" of the API in one shape: `application/problem+json` (RFC 9457) with a stable `code`."""

from __future__ import annotations

import http
import logging
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation, TooManyFilesSent
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.utils.translation import gettext as _
from ninja.errors import AuthenticationError, HttpError, ValidationError

from jobs.core.problems import Problem, shortened
from jobs.refusals import Refused

CONTENT_TYPE = "application/problem+json"

logger = logging.getLogger(__name__)


class NotFound(Refused):
    """There is no such thing, or the caller may not know of it: both look the same."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            code="not_found",
            title=_("Not found"),
            detail=detail,
            hint=_("Check the id; what is not visible to you is not found either."),
            status=404,
        )


class Invalid(Refused):
    """A request whose form is wrong."""

    def __init__(
        self,
        detail: str,
        hint: str,
        *,
        status: int = 422,
        code: str = "request_invalid",
        problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(
            code=code,
            title=_("The request is not valid"),
            detail=detail,
            hint=hint,
            status=status,
            problems=problems,
        )


def problem_response(refused: Refused) -> HttpResponse:
    """A refusal as an answer."""
    response = JsonResponse(refused.as_problem(), status=refused.status, content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    if refused.status == http.HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="llama-coop"'
    if "retry_after" in refused.extra:
        response["Retry-After"] = str(refused.extra["retry_after"])
    return response


def not_signed_in() -> Refused:
    """No token, no session, or one that is not accepted; which of these is not said."""
    return Refused(
        code="not_signed_in",
        title=_("Not signed in"),
        detail=_(
            "This needs a token or a session, and none that is accepted came with the request."
        ),
        hint=_("Send “Authorization: Bearer TOKEN” with a token from your account page."),
        status=401,
    )


def refusal_of(request: HttpRequest, error: BaseException) -> Refused:
    """What a caller is told about an exception; of an unexpected one, the log gets the trace."""
    match error:
        case Refused():
            return error
        case ValidationError():
            return _invalid(error)
        case AuthenticationError():
            return not_signed_in()
        case Http404():
            return from_status(404, request)
        case HttpError():
            return from_status(error.status_code, request)
        case RequestDataTooBig():
            return from_status(413, request)
        case SuspiciousOperation() | UnreadablePostError() | TooManyFilesSent():
            return from_status(400, request)
    logger.error("%s %s failed", request.method, request.path, exc_info=error)
    return from_status(500, request)


def in_our_shape(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """A foreign error answer, such as Django's 405, as a problem; all others as they are."""
    kind = response.headers.get("Content-Type", "")
    if response.status_code < 400 or response.streaming or kind.startswith(CONTENT_TYPE):
        return response
    made = problem_response(from_status(response.status_code, request))
    if "Allow" in response:
        made["Allow"] = ", ".join(sorted(response["Allow"].split(", ")))
    return made


def from_status(status: int, request: HttpRequest) -> Refused:
    """A refusal for a bare HTTP status."""
    code, detail, hint = _words(status, request)
    try:
        title = http.HTTPStatus(status).phrase
    except ValueError:
        title = str(status)
    return Refused(code=code, title=title, detail=detail, hint=hint, status=status)


def _words(status: int, request: HttpRequest) -> tuple[str, str, str]:
    where = shortened(request.path, 120)
    match status:
        case 404:
            return (
                "not_found",
                _("There is nothing at %(path)s.") % {"path": where},
                _("/api/v1/docs lists all addresses."),
            )
        case 405:
            return (
                "method_not_allowed",
                _("%(path)s does not take %(method)s.") % {"path": where, "method": request.method},
                _("The header Allow and /api/v1/docs say what it takes."),
            )
        case 413:
            return (
                "too_large",
                _("The body is larger than this address takes."),
                _("Send datasets in parts: see /api/v1/docs."),
            )
        case 400:
            return ("bad_request", _("The request cannot be read."), _("Check its form."))
    return (
        "failed",
        _("The service failed on this request."),
        _("Try again; if it stays, an admin finds the cause in the log of the web service."),
    )


def _invalid(error: ValidationError) -> Refused:
    problems = [_problem(each) for each in error.errors]
    return Invalid(
        " ".join(str(problem) for problem in problems),
        _("/api/v1/docs says what this address takes."),
        problems=problems,
    )


def _problem(error: dict[str, Any]) -> Problem:
    """One of pydantic's findings in our words: where, what is wrong, what was given."""
    place = [str(part) for part in error.get("loc", ()) if part not in _WRAPPERS]
    given = shortened(error["input"]) if "input" in error else ""
    message = str(error.get("msg", _("not valid")))
    return Problem(
        line=None,
        field=".".join(place),
        message=f"{given} {message}".strip() if given else message,
        hint=_("correct this value"),
    )


_WRAPPERS = frozenset({"query", "body", "path", "form", "file", "header", "data", "wanted"})
