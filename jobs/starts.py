"""When waiting jobs are expected to start, or why nobody can tell."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from jobs import why
from jobs.core.plan import WaitCode
from jobs.core.scheduling.forecast import Expected
from jobs.estimates import Forecast
from jobs.queuestate import POSITIONS, Look

_UNKNOWN: dict[str, Promise] = {
    "act": _("not estimated: it starts only after somebody has done something"),
    "month": _("not estimated: it waits for quota of the next month"),
    "readings": _("not estimated: the cards give no readings"),
    "far": _("not estimated: only the first %(positions)s of the queue are"),
    "working": _("being worked out"),
    "lengths": _("not estimated: nobody knows how long the jobs ahead will run"),
    "late": _("not estimated: it is too far ahead"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """When a job is expected to start; where `expected` is None, `unknown` is a code that says why."""

    expected: Expected | None = None
    unknown: str = ""

    @property
    def sentence(self) -> str:
        """Why no time is told; empty where one is."""
        return str(_UNKNOWN[self.unknown]) % {"positions": POSITIONS} if self.unknown else ""


def start_of(
    job_id: str,
    reason: tuple[str, Mapping[str, Any]],
    look: Look,
    forecast: Forecast | None,
) -> Start:
    """The start of a queued job that waits for this reason (code and numbers)."""
    code, numbers = reason
    if code == why.STARTS_NOW:
        return Start(expected=Expected(at=look.at, earliest=look.at, latest=look.at))
    unknown = _hopeless(code, numbers)
    if unknown:
        return Start(unknown=unknown)
    place = look.positions.get(job_id)
    if place is None and not look.is_whole:
        return Start(unknown="far")
    if forecast is None or job_id not in forecast.asked:
        return Start(unknown="working")
    expected = forecast.expected.get(job_id)
    if expected is None:
        ahead = look.order[: (place or 1) - 1]
        return Start(unknown="lengths" if _is_endless(forecast, ahead) else "late")
    return Start(expected=_not_before(expected, look.at))


def _hopeless(code: str, numbers: Mapping[str, Any]) -> str:
    """Why time alone does not start the job, as far as its reason tells."""
    if why.who_acts(code) != why.WAITING:
        return "act"
    if code == WaitCode.WAIT_READING:
        return "readings"
    return "month" if numbers.get("what") == "gpu_hours_month" else ""


def _is_endless(forecast: Forecast, ahead: Collection[str]) -> bool:
    """Whether nobody knows the length of a running job, or of a queued one that is ahead."""
    return any(each not in forecast.asked or each in ahead for each in forecast.endless)


def _not_before(expected: Expected, now: float) -> Expected:
    """A forecast may be some seconds old; nothing starts in the past."""
    return Expected(
        at=max(now, expected.at),
        earliest=max(now, expected.earliest),
        latest=max(now, expected.latest),
    )
