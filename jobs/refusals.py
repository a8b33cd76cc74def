"""The one shape of a "no" that people and programs get: what is wrong, what was given, what is allowed, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from jobs.core.problems import Problem


class Refused(Exception):
    """A request that was understood and is refused.

    `code` is stable and for programs; `title`, `detail` and `hint` are for people; `status` is the HTTP status.
    """

    def __init__(
        self,
        *,
        code: str,
        title: str,
        detail: str,
        hint: str = "",
        status: int = 422,
        problems: Sequence[Problem] = (),
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.title = title
        self.detail = detail
        self.hint = hint
        self.status = status
        self.problems = tuple(problems)
        self.extra = extra or {}

    def as_problem(self) -> dict[str, Any]:
        """The members of an `application/problem+json` answer (RFC 9457)."""
        return {
            "type": f"about:blank#{self.code}",
            "code": self.code,
            "title": self.title,
            "detail": self.detail,
            "hint": self.hint,
            "status": self.status,
            "errors": [asdict(problem) for problem in self.problems],
            **self.extra,
        }


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something accepted that its sender should know about."""

    code: str
    detail: str
    data: dict[str, Any] = field(default_factory=dict)
