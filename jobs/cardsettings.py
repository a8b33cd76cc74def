"""What an admin sets on cards: their mode, their weight, and whether they are in service. Each change is noted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _

from gpus.models import Device
from jobs import actions
from jobs.audit import record
from jobs.models import Job, User
from jobs.refusals import Refused

LEAST_WEIGHT, MOST_WEIGHT = 0.01, 1000.0
LONGEST_REASON = 200


@dataclass(frozen=True, kw_only=True)
class Cleared:
    """What became of the jobs on cards that were to be cleared."""

    paused: tuple[Job, ...]
    refused: tuple[Refused, ...]  # of those that go on until they end


def drain(devices: Iterable[Device], reason: str, user: User) -> None:
    """Take cards out of service: their jobs end as they would, and no new ones start on them."""
    _set(devices, user, "drained", drained=True, drain_reason=reason[:LONGEST_REASON])


def undrain(devices: Iterable[Device], user: User) -> None:
    """Put cards back into service."""
    _set(devices, user, "undrained", drained=False, drain_reason="")


def clear(devices: Iterable[Device], user: User) -> Cleared:
    """Pause the jobs on these cards that can give a card back; the others go on until they end."""
    on_them = Job.objects.filter(
        attempts__allocations__device__in=list(devices),
        attempts__allocations__released_at__isnull=True,
    )
    paused, refused = [], []
    for job in on_them.select_related("project", "owner").distinct():
        try:
            paused.append(actions.pause(job, user))
        except Refused as refusal:
            refused.append(refusal)
    return Cleared(paused=tuple(paused), refused=tuple(refused))


def change(device: Device, values: Mapping[str, object], user: User) -> None:
    """Set mode, weight, or both.

    Raises:
        Refused: a mode that there is not, or a weight out of range.
    """
    check(values)
    _set([device], user, "changed", **values)


def check(values: Mapping[str, object]) -> None:
    """Whether a card can be set so.

    Raises:
        Refused: a mode that there is not, or a weight out of range.
    """
    for name, value in values.items():
        _check(name, value)


def _set(devices: Iterable[Device], user: User, verb: str, **values: object) -> None:
    with transaction.atomic():
        for device in devices:
            before = {name: getattr(device, name) for name in values}
            Device.objects.filter(pk=device.pk).update(**values)
            record(user, device, verb, **values, before=before)


def _check(name: str, value: object) -> None:
    if name == "mode" and value not in ("", *Device.Mode.values):
        raise _refused(
            _("The mode of a card cannot be %(given)s.") % {"given": value},
            _("Allowed: %(allowed)s, or empty for the site's mode.")
            % {"allowed": ", ".join(Device.Mode.values)},
        )
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "weight" and not (is_number and LEAST_WEIGHT <= value <= MOST_WEIGHT):  # type: ignore[operator] # a number
        raise _refused(
            _("The weight of a card cannot be %(given)s.") % {"given": value},
            _("Give a number from 0.01 to 1000; 1 is a usual card, 0.5 one that counts half."),
        )


def _refused(detail: str, hint: str) -> Refused:
    return Refused(
        code="card_setting_refused",
        title=_("The card was not changed"),
        detail=detail,
        hint=hint,
    )
