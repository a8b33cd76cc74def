"""What can go wrong between a client and the service, as one tree of exceptions.

    CoopError
     +- Unreachable      no service answered
     +- NotSignedIn      no token, or one that is not accepted (HTTP 401)
     +- NotAllowed       signed in, but not permitted (HTTP 403); also a PermissionError
     +- NotFound         no such object, or not visible to you (HTTP 404); also a LookupError
     +- Invalid          the task file, dataset or request is not valid (HTTP 400 or 422)
     +- Refused          valid, but not now or not so: conflict, quota, never fits (HTTP 409, 422, 429)
     +- ServiceFailed    the service failed (HTTP 5xx), or answered something that is not ours
     +- JobEndedBadly    a job that was waited for did not succeed

Each says what is wrong, what was given, what is allowed and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class CoopError(Exception):
    """Something that the service or the way to it refused.

    `code` is stable and meant for programs; `title`, `detail` and `hint` are for people;
    `problems` are the single faults of a task file; `status` is the HTTP status, 0 where there was no answer.
    """

    def __init__(
        self,
        detail: str,
        *,
        title: str = "",
        code: str = "",
        hint: str = "",
        problems: Sequence[str] = (),
        status: int = 0,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.title = title
        self.code = code
        self.hint = hint
        self.problems = tuple(problems)
        self.status = status
        self.extra = dict(extra or {})

    def __str__(self) -> str:
        # A detail repeats the problems, where there are some; then the title is enough.
        head = f"{self.title}:" if self.problems and self.title else self.detail
        lines = [head, *(f"  - {problem}" for problem in self.problems), self.hint]
        return "\n".join(line for line in lines if line)


class Unreachable(CoopError):
    """No service answered at the address."""


class NotSignedIn(CoopError):
    """There is no token, or the service does not accept it."""


class NotAllowed(CoopError, PermissionError):
    """The account or its token may not do this."""


class NotFound(CoopError, LookupError):
    """There is no such object, or it is not visible to this account."""


class Invalid(CoopError):
    """What was handed in is not valid: a task file, a dataset, a request."""


class Refused(CoopError):
    """A valid request that is not granted: conflict, quota, or a job that can never run here."""


class ServiceFailed(CoopError):
    """The service failed, or what answered is not llama-coop."""


class JobEndedBadly(CoopError):
    """A job that was waited for failed or was cancelled."""


def error_from_answer(status: int, body: Mapping[str, Any]) -> CoopError:
    """The exception for a problem document (RFC 9457) that came with this HTTP status."""
    kind = _kind(status, str(body.get("code", "")))
    known = ("type", "title", "status", "detail", "code", "hint", "errors")
    return kind(
        str(body.get("detail") or body.get("title") or f"The service answered {status}."),
        title=str(body.get("title") or ""),
        code=str(body.get("code", "")),
        hint=str(body.get("hint") or ""),
        problems=[_sentence(item) for item in body.get("errors") or ()],
        status=status,
        extra={key: value for key, value in body.items() if key not in known},
    )


_BY_STATUS: dict[int, type[CoopError]] = {
    400: Invalid,
    401: NotSignedIn,
    403: NotAllowed,
    404: NotFound,
    405: ServiceFailed,
    413: Invalid,
    415: Invalid,
}

INVALID_CODES = frozenset(
    {
        "dataset_invalid",
        "replay_refused",
        "request_invalid",
        "setting_refused",
        "task_invalid",
        "task_missing",
    }
)
"""The codes of a 422 that say "this is wrong", as opposed to "this is not granted"."""


def _kind(status: int, code: str) -> type[CoopError]:
    if status == 422 and code in INVALID_CODES:
        return Invalid
    if status >= 500:
        return ServiceFailed
    return _BY_STATUS.get(status, Refused)


def _sentence(item: Any) -> str:
    """One fault of the `errors` list as text: where, what is wrong, what to do."""
    if not isinstance(item, Mapping):
        return str(item)
    place = [f"line {item['line']}"] if item.get("line") else []
    place += [str(item["field"])] if item.get("field") else []
    text = "; ".join(str(item[key]) for key in ("message", "hint") if item.get(key))
    return f"{', '.join(place)}: {text}." if place else f"{text}."
