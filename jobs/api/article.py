"""`POST /submit`: the address that the article's snippet uses."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from jobs import tokens
from jobs.api import submitting
from jobs.api.auth import Allowed
from jobs.api.problems import from_status, problem_response, refusal_of

_allowed = Allowed(tokens.SUBMIT)


def submit(request: HttpRequest) -> HttpResponse:
    """Hand in the multipart part `task`, or the body itself: a thin alias of `POST /api/v1/jobs`."""
    if request.method != "POST":
        response = problem_response(from_status(405, request))
        response["Allow"] = "POST"
        return response
    try:
        request.auth = _allowed(request)  # type: ignore[attr-defined] # as ninja sets it
        wanted = submitting.Wanted(project=request.GET.get("project"), door="submit")
        return submitting.submit(request, wanted)
    except Exception as error:  # noqa: BLE001 - whatever it is, it becomes an answer
        return problem_response(refusal_of(request, error))
