"""The site's own policy beside the scheduler: in the dispatcher, and in processes that only show the queue."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from jobs.core.scheduling.planner import Planner
from jobs.events import bus
from jobs.mirror import Mirror
from jobs.policies.alarm import AlarmKeeper
from jobs.policies.host import PolicyHost

_PATIENCE = 0.3  # seconds that a page waits for the policy's first answer
_OWN_ORDER = frozenset({"", "default"})  # settings with which the scheduler orders by itself


class DispatchersPolicy:
    """Gives the scheduler the policy's order, never waiting for it, and raises the alarm when it fails."""

    def __init__(self) -> None:
        self._host = PolicyHost(base=settings.BASE_DIR, news=_wake)
        self._keeper = AlarmKeeper()

    def order(self, mirror: Mirror) -> None:
        """Let the policy that the site has chosen order what waits."""
        self._host.use(mirror.values.policy)
        is_own = self._host.setting in _OWN_ORDER
        mirror.rank(None if is_own else self._host.order(mirror.scheduler.eligible()))
        self._keeper.keep(self._host)

    def close(self) -> None:
        """End the policy's process."""
        self._host.close()


def order_as_the_dispatcher_does(scheduler: Planner, policy: str) -> None:
    """For a process that shows the queue: the same order, after a short wait for the policy's first answer."""
    host = _host()
    host.use(policy)
    if policy in _OWN_ORDER:
        scheduler.rank(None)
    else:
        scheduler.rank(host.order(scheduler.eligible(), patience=_PATIENCE))


@cache
def _host() -> PolicyHost:
    return PolicyHost(base=settings.BASE_DIR)


def _wake() -> None:
    bus().send("dispatcher", {"k": "wake"})
