"""Projects with their quotas and past usage -> `ProjectView`. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from django.db.models import Q

from jobs.core.snapshot import Limits, ProjectView, UserView
from jobs.models import Project, Quota, User
from jobs.usage import PastUsage, Used

_NO_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectRow:
    """A project as the scheduler sees it; `state` differs where more than time has passed for it."""

    view: ProjectView
    state: tuple[object, ...]


class People:
    """The names of people by the keys of their rows, read when one is asked for that is not known."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def names(self, keys: Iterable[int]) -> dict[int, str]:
        """The names behind these keys, in the order of the keys."""
        wanted = sorted(keys)
        if any(key not in self._names for key in wanted):
            self._names = dict(User.objects.values_list("pk", "username"))
        return {key: self._names[key] for key in wanted}


def read(usage: PastUsage, people: People | None = None) -> list[ProjectRow]:
    """All projects; `usage` must have been refreshed. Who asks again and again keeps `people`."""
    people = people or People()
    quotas: dict[int, dict[int | None, Quota]] = defaultdict(dict)
    for quota in Quota.objects.all():
        quotas[quota.project_id][quota.user_id] = quota
    used = usage.by_project()
    return [
        _row(project, quotas[project.pk], used.get(project.pk, {}), people, usage)
        for project in Project.objects.all()
    ]


def limits_of(project: Project, user: User) -> ProjectView:
    """The project's limits and this person's in it, without anything that was used: what no waiting changes."""
    theirs = project.quotas.filter(Q(user=None) | Q(user=user))
    quotas = {quota.user_id: quota for quota in theirs}
    person = UserView(name=user.username, limit=_limits(quotas.get(user.pk), "limit"))
    return ProjectView(
        slug=project.slug,
        limit=_limits(quotas.get(None), "limit"),
        users=MappingProxyType({person.name: person}),
    )


def _row(
    project: Project,
    quotas: Mapping[int | None, Quota],
    used: Mapping[int, Used],
    people: People,
    usage: PastUsage,
) -> ProjectRow:
    names = people.names({*used, *(key for key in quotas if key is not None)})
    limits = {key: _limits(quotas.get(key), "limit") for key in names}
    own, guarantee = _limits(quotas.get(None), "limit"), _limits(quotas.get(None), "guarantee")
    total = sum((used[key] for key in names if key in used), Used())
    view = ProjectView(
        slug=project.slug,
        weight=project.weight,
        limit=own,
        guarantee=guarantee,
        usage=total.usage,
        gpu_hours_month=total.gpu_hours,
        month_began=usage.month_began,
        users=MappingProxyType(
            {name: _person(name, limits[key], used.get(key, Used())) for key, name in names.items()}
        ),
    )
    state = (usage.state_of(project.pk), project.weight, own, guarantee, names, limits)
    return ProjectRow(view=view, state=state)


def _person(name: str, limit: Limits, used: Used) -> UserView:
    return UserView(name=name, limit=limit, usage=used.usage, gpu_hours_month=used.gpu_hours)


def _limits(quota: Quota | None, kind: str) -> Limits:
    if quota is None:
        return _NO_LIMITS
    return Limits(
        cards=getattr(quota, f"{kind}_cards"),
        memory=getattr(quota, f"{kind}_memory"),
        running=getattr(quota, f"{kind}_running"),
        gpu_hours_month=getattr(quota, f"{kind}_gpu_hours"),
    )
