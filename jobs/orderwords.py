"""Why a waiting job stands where it stands, in plain words: the steps of its order, each with its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from jobs.core.scheduling.standing import Standing
from jobs.core.states import Priority
from jobs.core.units import format_duration

_HOUR = 3600.0
_WORDS = {Priority.LOW: "low", Priority.MEDIUM: "medium", Priority.HIGH: "high"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of the order; earlier ones decide first."""

    name: str  # stable, for programs
    sentence: str
    numbers: dict[str, Any]


def steps(standing: Standing, user: str, now: float, policy: str) -> list[Step]:
    """The steps of a job of `user`; `policy` is the setting of the site's policy, where it orders."""
    if standing.policy:
        return [_guarantee(standing), _guard(standing, now), _policy(policy)]
    return list(_default(standing, user, now))


def _default(standing: Standing, user: str, now: float) -> Iterator[Step]:
    yield _guarantee(standing)
    yield _project(standing)
    yield _guard(standing, now)
    yield _person(standing, user)
    yield _priority(standing)
    if standing.service:
        yield _service(standing)
    yield _waited(standing, now)


def _guarantee(standing: Standing) -> Step:
    if standing.guaranteed:
        said = _("With it, its project stays within what it is guaranteed: such jobs go first.")
    else:
        said = _(
            "Its project is guaranteed no more than it holds: jobs within a guarantee go first."
        )
    return Step(name="guarantee", sentence=said, numbers={"guaranteed": standing.guaranteed})


def _guard(standing: Standing, now: float) -> Step:
    left = standing.overdue_at - now
    if left <= 0:
        said = _("It has waited so long that it goes first in its project.")
    else:
        said = _("In %(left)s it will have waited so long that it goes first in its project.") % {
            "left": format_duration(left)
        }
    return Step(name="long_wait", sentence=said, numbers={"overdue_at": standing.overdue_at})


def _project(standing: Standing) -> Step:
    said = _(
        "Of what all projects have used lately, its project has used %(used)s; its share is %(share)s. "
        "The project that has used least of its share goes first."
    ) % {"used": _percent(standing.project_used), "share": _percent(standing.project_share)}
    numbers = {"used": round(standing.project_used, 4), "share": round(standing.project_share, 4)}
    return Step(name="project", sentence=said, numbers=numbers)


def _person(standing: Standing, user: str) -> Step:
    if standing.user_step:
        said = _(
            "%(user)s has used their share of the project %(times)s times over: others of it go first."
        ) % {"user": user, "times": standing.user_step}
    else:
        said = _("%(user)s has not used more than their share of the project.") % {"user": user}
    return Step(name="person", sentence=said, numbers={"times_over": standing.user_step})


def _priority(standing: Standing) -> Step:
    said = _("Priority %(priority)s counts as if it had come %(ahead)s earlier.") % {
        "priority": _(_WORDS[standing.priority]),
        "ahead": format_duration(standing.head_start),
    }
    numbers = {
        "priority": _WORDS[standing.priority],
        "head_start_seconds": standing.head_start,
    }
    return Step(name="priority", sentence=said, numbers=numbers)


def _service(standing: Standing) -> Step:
    said = _(
        "It has had %(hours)s GPU-hours already; that counts as if it had come %(later)s later."
    ) % {
        "hours": f"{standing.service / _HOUR:.1f}",
        "later": format_duration(standing.setback),
    }
    numbers = {
        "gpu_hours": round(standing.service / _HOUR, 3),
        "level": standing.service_level,
        "setback_seconds": standing.setback,
    }
    return Step(name="service", sentence=said, numbers=numbers)


def _waited(standing: Standing, now: float) -> Step:
    waited = max(0.0, now - standing.submitted_at)
    said = _("It was handed in %(waited)s ago: who came earlier goes first.") % {
        "waited": format_duration(waited)
    }
    return Step(name="age", sentence=said, numbers={"waited_seconds": round(waited)})


def _policy(policy: str) -> Step:
    said = _("The site's policy, %(policy)s, orders the rest.") % {"policy": policy}
    return Step(name="policy", sentence=said, numbers={"policy": policy})


def _percent(share: float) -> str:
    return f"{share * 100:.0f}\N{NO-BREAK SPACE}%"
