"""Projects with their quotas and past usage -> `ProjectView`. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType

from jobs.core.snapshot import Limits, ProjectView, UserView
from jobs.models import Project, Quota, User
from jobs.usage import PastUsage, Used

_NO_LIMITS = Limits()


def read(usage: PastUsage) -> dict[str, ProjectView]:
    """All projects by slug; `usage` must have been refreshed."""
    quotas: dict[int, dict[int | None, Quota]] = defaultdict(dict)
    for quota in Quota.objects.all():
        quotas[quota.project_id][quota.user_id] = quota
    used = usage.by_project()
    names = _names()
    return {
        project.slug: _view(
            project, quotas[project.pk], used.get(project.pk, {}), names, usage.month_began
        )
        for project in Project.objects.all()
    }


def _names() -> dict[int, str]:
    return dict(User.objects.values_list("pk", "username"))


def _view(
    project: Project,
    quotas: Mapping[int | None, Quota],
    used: Mapping[int, Used],
    names: Mapping[int, str],
    month_began: float,
) -> ProjectView:
    people = {
        names[pk]: _person(names[pk], quotas.get(pk), used.get(pk, Used()))
        for pk in sorted({*used, *(pk for pk in quotas if pk is not None)})
    }
    total = sum((used[pk] for pk in sorted(used)), Used())  # the same sum in any order of reading
    own = quotas.get(None)
    return ProjectView(
        slug=project.slug,
        weight=project.weight,
        limit=_limits(own, "limit"),
        guarantee=_limits(own, "guarantee"),
        usage=total.usage,
        gpu_hours_month=total.gpu_hours,
        month_began=month_began,
        users=MappingProxyType(people),
    )


def _person(name: str, quota: Quota | None, used: Used) -> UserView:
    return UserView(
        name=name,
        limit=_limits(quota, "limit"),
        usage=used.usage,
        gpu_hours_month=used.gpu_hours,
    )


def _limits(quota: Quota | None, kind: str) -> Limits:
    if quota is None:
        return _NO_LIMITS
    return Limits(
        cards=getattr(quota, f"{kind}_cards"),
        memory=getattr(quota, f"{kind}_memory"),
        running=getattr(quota, f"{kind}_running"),
        gpu_hours_month=getattr(quota, f"{kind}_gpu_hours"),
    )
