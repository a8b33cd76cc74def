"""The alarm that the site's policy does not work: kept where every process sees it, gone when it works again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from jobs import sitesettings
from jobs.models import Heartbeat
from jobs.policies.host import PolicyHost

NAME = "policy"
"""The row of `Heartbeat` in which the dispatcher reports; there is one only while the policy does not work."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """A policy that does not work; `problem` goes on from "The policy X"."""

    policy: str
    problem: str
    since: datetime

    @property
    def sentence(self) -> str:
        """What is wrong, and what holds instead."""
        told = {"policy": self.policy, "problem": self.problem}
        return _("The policy %(policy)s %(problem)s. The default order is used.") % told


class AlarmKeeper:
    """The dispatcher's pen: stores what it knows of its host where that has changed."""

    def __init__(self) -> None:
        self._kept: tuple[str, str] | None = None

    def keep(self, host: PolicyHost) -> None:
        """Raise the alarm, change it, or take it back. Costs nothing while nothing changes."""
        setting, problem = host.setting, host.problem
        if problem is None or (setting, problem) == self._kept:
            return
        if problem:
            _raise(setting, problem)
        else:
            Heartbeat.objects.filter(name=NAME).delete()
        self._kept = (setting, problem)


def standing() -> Alarm | None:
    """The alarm about the policy that the site has chosen now; None where it works."""
    row = Heartbeat.objects.filter(name=NAME).first()
    if row is None or row.detail["policy"] != sitesettings.current().policy:
        return None
    return Alarm(policy=row.detail["policy"], problem=row.detail["problem"], since=row.at)


def _raise(setting: str, problem: str) -> None:
    """A new problem of a policy that fails already does not begin the alarm anew."""
    detail = {"policy": setting, "problem": problem}
    fresh = {"at": timezone.now(), "pid": os.getpid(), "detail": detail}
    row, is_new = Heartbeat.objects.get_or_create(name=NAME, defaults=fresh)
    if not is_new:
        same = row.detail["policy"] == setting
        Heartbeat.objects.filter(name=NAME).update(
            **fresh | {"at": row.at if same else fresh["at"]}
        )
