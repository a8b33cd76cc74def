"""One HTTP conversation with the service: token, time-outs, retries, and problems as exceptions.

A request is sent again only where doing it twice is the same as doing it once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from jobs.core.version import __version__
from llama_factory.errors import ServiceFailed, Unreachable, error_from_answer

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
RETRY_PAUSES_S = (0.2, 0.8, 2.0)
RETRY_STATUS = frozenset({502, 503, 504})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Transport:
    """Sends requests to one service with one token."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"llama-coop/{__version__}"
        # An auth object keeps a stray ~/.netrc from replacing the token. A proxy that is set for
        # the outside world cannot reach this machine's loopback.
        self._session.auth = _Bearer(token)
        self._session.trust_env = urlsplit(url).hostname not in _LOOPBACK

    def call(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool | None = None,
        read_timeout: float = READ_TIMEOUT_S,
        **kwargs: Any,
    ) -> requests.Response:
        """The answer to one request; a status of 400 and above becomes a `CoopError`.

        `repeatable` (default: for GET only) lets it be sent again after a broken connection or a
        502, 503 or 504. A body that is a stream cannot be repeated.
        """
        pauses = RETRY_PAUSES_S if _may_repeat(method, repeatable) else ()
        timeout = (CONNECT_TIMEOUT_S, read_timeout)
        for pause in (*pauses, None):
            answer = self._attempt(method, path, last=pause is None, timeout=timeout, **kwargs)
            if answer is not None:
                return _checked(answer)
            time.sleep(pause or 0)
        raise AssertionError("the last attempt returns or raises")

    def json(self, method: str, path: str, **kwargs: Any) -> Any:
        """The answer's JSON body."""
        answer = self.call(method, path, **kwargs)
        try:
            return answer.json()
        except ValueError as error:
            raise _not_ours(answer) from error

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def _attempt(
        self, method: str, path: str, *, last: bool, **kwargs: Any
    ) -> requests.Response | None:
        """One try; None when it may be tried again."""
        try:
            answer = self._session.request(method, self.url + path, allow_redirects=False, **kwargs)
        except (requests.ConnectionError, requests.Timeout) as error:
            if last:
                raise _unreachable(self.url, error) from error
            return None
        return None if answer.status_code in RETRY_STATUS and not last else answer


class _Bearer(AuthBase):
    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _may_repeat(method: str, repeatable: bool | None) -> bool:
    return method == "GET" if repeatable is None else repeatable


def _checked(answer: requests.Response) -> requests.Response:
    if answer.status_code == 304 or (answer.ok and not answer.is_redirect):
        return answer
    body = _problem(answer)
    if body is None:
        raise _not_ours(answer)
    raise error_from_answer(answer.status_code, body)


def _problem(answer: requests.Response) -> Mapping[str, Any] | None:
    if "json" not in answer.headers.get("Content-Type", ""):
        return None
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _not_ours(answer: requests.Response) -> ServiceFailed:
    kind = answer.headers.get("Content-Type", "no content type")
    return ServiceFailed(
        f"{answer.url} answered {answer.status_code} ({kind}), which is not an answer of llama-coop.",
        code="not_llama_coop",
        status=answer.status_code,
        hint="Check the address (`llama-coop config`) and what stands in between, such as a proxy.",
    )


def _unreachable(url: str, error: Exception) -> Unreachable:
    return Unreachable(
        f"No service answers at {url} ({_cause(error)}).",
        code="unreachable",
        hint="Check the address with `llama-coop config`, or start one with `llama-coop serve`.",
    )


def _cause(error: BaseException) -> str:
    """The innermost reason, such as "Connection refused", without the library's wrapping."""
    reason: Any = error.args[0] if error.args else error
    text = str(getattr(reason, "reason", reason)).rsplit(": ", 1)[-1]
    return re.sub(r"\[Errno -?\d+\] ", "", text).strip("'()<>\"") or type(error).__name__
