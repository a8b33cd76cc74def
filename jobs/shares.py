"""The fair share as a picture: what projects and the people in them are entitled to, and what they have used lately."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jobs import permissions, queuestate, sitesettings
from jobs.models import Job, Membership, Project, User
from jobs.queuestate import QueueState

_LEAST = 1e-6
"""Of all use; what is below has long been forgotten."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One project, or one person in a project. Shares are parts of one."""

    name: str  # empty: all others together
    entitled: float
    used: float
    waiting: int = 0
    running: int = 0

    @property
    def is_behind(self) -> bool:
        """Whether it has used less than it is entitled to, so that it goes before those that have used more."""
        return self.used < self.entitled


@dataclass(frozen=True, kw_only=True)
class Inside:
    """The people of one project."""

    project: Project
    bars: tuple[Bar, ...]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """The whole picture, as one viewer may know it."""

    bars: tuple[Bar, ...]
    inside: tuple[Inside, ...]
    half_life_hours: float
    has_policy: bool  # a policy of the site orders instead

    @property
    def scale(self) -> float:
        """The right end of the bars of projects."""
        return max((max(bar.entitled, bar.used) for bar in self.bars), default=1.0)


def shares_for(viewer: User) -> Shares:
    """The projects that take part now: those that have jobs, or have used something lately."""
    state, values = queuestate.current(), sitesettings.current()
    jobs = _jobs()
    projects = list(Project.objects.all())
    used = {each.pk: state.usage(each.slug) for each in projects}
    whole = sum(used.values())
    part = [each for each in projects if used[each.pk] > _LEAST * whole or each.pk in jobs]
    weights = sum(each.weight for each in part) or 1.0
    bars = {
        each.pk: _bar(
            each.slug, each.weight / weights, used[each.pk], whole, jobs.get(each.pk, {}).values()
        )
        for each in part
    }
    seen = {each.pk for each in permissions.projects_visible_to(viewer)}
    known = [bars[each.pk] for each in part if each.pk in seen]
    others = [bars[each.pk] for each in part if each.pk not in seen]
    return Shares(
        bars=(*known, *([_together(others)] if others else [])),
        inside=tuple(
            Inside(project=each, bars=_people(each, jobs.get(each.pk, {}), state))
            for each in part
            if each.pk in seen
        ),
        half_life_hours=values.half_life_hours,
        has_policy=bool(state.look().policy),
    )


Counts = tuple[int, int]
"""Waiting and running jobs."""


def _jobs() -> dict[int, dict[str, Counts]]:
    """By project and user name, who has jobs that wait or run."""
    found: dict[int, dict[str, Counts]] = {}
    for place, rows in enumerate((Job.objects.queued(), Job.objects.with_attempt())):
        for project, name in rows.values_list("project_id", "owner__username").order_by():
            of_project = found.setdefault(project, {})
            waiting, running = of_project.get(name, (0, 0))
            of_project[name] = (waiting + (place == 0), running + (place == 1))
    return found


def _people(project: Project, jobs: Mapping[str, Counts], state: QueueState) -> tuple[Bar, ...]:
    members = Membership.objects.filter(project=project).values_list("user__username", flat=True)
    used = {name: state.usage(project.slug, name) for name in sorted({*members, *jobs})}
    whole = sum(used.values())
    part = [name for name in used if used[name] > _LEAST * whole or name in jobs]
    return tuple(
        _bar(name, 1 / len(part), used[name], whole, [jobs.get(name, (0, 0))]) for name in part
    )


def _bar(name: str, entitled: float, used: float, whole: float, counts: Iterable[Counts]) -> Bar:
    waiting, running = (sum(each) for each in zip(*counts, strict=True)) if counts else (0, 0)
    return Bar(
        name=name,
        entitled=entitled,
        used=used / whole if whole else 0.0,
        waiting=waiting,
        running=running,
    )


def _together(bars: Iterable[Bar]) -> Bar:
    """What the viewer may not know one by one."""
    each = list(bars)
    return Bar(
        name="",
        entitled=sum(bar.entitled for bar in each),
        used=sum(bar.used for bar in each),
        waiting=sum(bar.waiting for bar in each),
        running=sum(bar.running for bar in each),
    )
