"""Quotas and shares: read, checked and changed in one place, whichever door a change comes through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from jobs import permissions
from jobs.audit import record
from jobs.models import Project, Quota, User
from jobs.refusals import Refused

SIDES = ("guarantee", "limit")
WHAT = ("cards", "memory", "running", "gpu_hours")
LEAST_WEIGHT, MOST_WEIGHT = 0.01, 1000.0


@dataclass(frozen=True, kw_only=True)
class QuotaChange:
    """What is to be otherwise for one project, or for one person in it."""

    project: Project
    person: User | None = None
    weight: float | None = None  # None: as it is; a person has none
    fields: Mapping[str, float | None] = field(default_factory=dict)  # of Quota; None takes it away


def quota_of(project: Project, person: User | None = None) -> Quota:
    """The quota that is stored, or an empty one."""
    found = project.quotas.filter(user=person).first()
    return found or Quota(project=project, user=person)


def change(changes: Iterable[QuotaChange], by: User) -> None:
    """Store all of it, or nothing.

    Raises:
        Refused: somebody who may not, a weight out of range, or a guarantee above its limit.
    """
    with transaction.atomic():
        for each in changes:
            check(each, by)
            _change(each, by)


def fall_back(project: Project, held: float, before: float, by: User | None) -> None:
    """Give a project its old weight back, where it still has the one that was given for a time; noted for `by`."""
    with transaction.atomic():
        still = Project.objects.filter(pk=project.pk, weight=held)
        if still.update(weight=before) and by is not None:
            record(by, project, "weight fell back", weight=before, before=held)


def check(wanted: QuotaChange, by: User) -> None:
    """Whether this person may make this change.

    A project's own quota and weight decide over other projects, so they are for admins; a lead divides the
    project's among its members.

    Raises:
        Refused: somebody who may not, or a value out of range.
    """
    is_own = wanted.person is not None and permissions.can_manage(by, wanted.project)
    if not (by.is_superuser or is_own):
        raise _refused(
            "forbidden",
            _("Quota and weight of a project decide over other projects, too."),
            _("Ask an admin; as a lead of the project you set the limits of its members."),
            status=403,
        )
    if wanted.weight is not None and not LEAST_WEIGHT <= wanted.weight <= MOST_WEIGHT:
        raise _refused(
            "weight_out_of_range",
            _("The weight of %(project)s cannot be %(given)s.")
            % {"project": wanted.project, "given": f"{wanted.weight:g}"},
            _("Give a number from 0.01 to 1000; twice the weight is twice the share."),
        )
    if any(amount is not None and amount < 0 for amount in wanted.fields.values()):
        raise _refused(
            "quota_below_zero",
            _("A quota of %(project)s would be below zero.") % {"project": wanted.project},
            _("Give 0 or more, or leave it empty for none."),
        )
    _check_order(wanted)


def _check_order(wanted: QuotaChange) -> None:
    row = quota_of(wanted.project, wanted.person)
    for what in WHAT:
        low, high = (wanted.fields.get(name, getattr(row, name)) for name in _pair(what))
        if low is not None and high is not None and low > high:
            raise _above_limit(wanted)


def _pair(what: str) -> tuple[str, str]:
    return f"guarantee_{what}", f"limit_{what}"


def _change(wanted: QuotaChange, by: User) -> None:
    project = wanted.project
    if wanted.weight is not None:
        before = project.weight
        Project.objects.filter(pk=project.pk).update(weight=wanted.weight)
        record(by, project, "weight changed", weight=wanted.weight, before=before)
    if not wanted.fields:
        return
    old = quota_of(project, wanted.person)
    before_fields = {name: getattr(old, name) for name in wanted.fields}
    try:
        with transaction.atomic():
            Quota.objects.update_or_create(
                project=project, user=wanted.person, defaults=dict(wanted.fields)
            )
    except IntegrityError as error:  # somebody changed the other side meanwhile
        raise _above_limit(wanted) from error
    whose = {"person": wanted.person.username} if wanted.person else {}
    record(by, project, "quota changed", **whose, **wanted.fields, before=before_fields)


def _above_limit(wanted: QuotaChange) -> Refused:
    return _refused(
        "guarantee_above_limit",
        _("A guarantee of %(project)s would be above its limit.") % {"project": wanted.project},
        _("Give each guarantee at most its limit, or no limit."),
    )


def _refused(code: str, detail: str, hint: str, *, status: int = 422) -> Refused:
    return Refused(
        code=code, title=_("The quota was not changed"), detail=detail, hint=hint, status=status
    )
