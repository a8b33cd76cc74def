"""Settings that an admin changes while the site runs: names, defaults and checks in one table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from gpus.models import Device
from jobs.audit import record
from jobs.core.cardmodes import MAX_BUSY, SMART_QUEUE, THRESHOLD
from jobs.core.scheduling.rules import HOUR, Rules
from jobs.core.sharding import ShardingRules
from jobs.models import Project, SiteSetting, User
from jobs.policies.source import PolicyRefused, allowed_policies, examine, source_of

_MODES = tuple(mode.value for mode in Device.Mode)
_MINUTE = 60.0
PLACEMENTS = ("best-fit", "fragmentation")
IDLE_ACTIONS = ("warn", "suspend")
CAPS = ("none", "soft", "mps")
OVER_MEMORY = ("warn", "suspend", "stop")
SIGNUPS = ("nobody", "domains", "everybody")
_DOMAIN = re.compile(r"(?:[a-z0-9-]+\.)+[a-z0-9-]+", re.ASCII)


_kept: ContextVar[list[SiteSettings] | None] = ContextVar("settings of a request", default=None)


class SettingRefused(ValueError):
    """A value that a setting cannot take; the text says what is allowed."""


@dataclass(frozen=True, kw_only=True)
class SiteSettings:
    """The values in force. None means no limit, or the default that the mode gives."""

    max_workers: int | None = None  # the most jobs that hold a card at once, frozen ones included
    memory_threshold: float | None = None  # share of a card above which nothing more is placed
    max_jobs_per_card: int | None = 8
    mode: str = "smart-queue"
    policy: str = ""
    log_dir: str | None = None  # where links to job logs go; None: none are made
    open_queue: bool | None = None  # everybody sees task_id and owner of every job in the queue
    preemption: bool = True  # jobs may be suspended so that others start
    min_run_minutes: float = (
        Rules().min_run / _MINUTE
    )  # before which no job is suspended for another
    half_life_hours: float = Rules().half_life / HOUR  # after which past usage counts half
    placement: str = Rules().placement
    sharding_margin: float = ShardingRules().margin  # times the measured peak, under sharding
    sharding_stable_minutes: float = ShardingRules().stable_seconds / _MINUTE
    sharding_stable_steps: int = ShardingRules().stable_steps  # of a training that tells them
    save_grace_seconds: float = 120.0  # for a training to save when it gives its cards back
    idle_minutes: float | None = 30.0  # of doing nothing before a job is warned; None: nobody looks
    idle_grace_minutes: float = 15.0  # between the warning and what follows
    idle_action: str = "warn"
    cap: str = "soft"  # what keeps a job within the memory that it booked
    swap_out: bool = False  # suspended jobs may keep their GPU memory in main memory
    over_memory: str = "warn"  # what becomes of a job that is measured above its booking
    private_webhooks: bool = False  # webhooks may reach private addresses, and by http
    signup: str = "nobody"  # who gets an account by signing in elsewhere
    signup_domains: tuple[str, ...] = ()  # of e-mail addresses, for "domains"
    signup_project: str | None = None  # slug of the project that newcomers join; None: none

    @property
    def rules(self) -> Rules:
        """The scheduler's numbers: those that a site may change, and the built-in ones."""
        return Rules(
            half_life=self.half_life_hours * HOUR,
            min_run=self.min_run_minutes * _MINUTE,
            preemption=self.preemption,
            placement=self.placement,
        )

    @property
    def sharding_rules(self) -> ShardingRules:
        """How bookings follow what is measured on a card in the mode dynamic-sharding."""
        return ShardingRules(
            margin=self.sharding_margin,
            stable_seconds=self.sharding_stable_minutes * _MINUTE,
            stable_steps=self.sharding_stable_steps,
        )

    def threshold(self, mode: str) -> float:
        """The memory threshold that holds on a card in this mode."""
        return self.memory_threshold or THRESHOLD.get(mode, THRESHOLD[SMART_QUEUE])

    def max_busy(self, mode: str) -> float | None:
        """The most SM demand that a card in this mode takes; None: no cap."""
        return MAX_BUSY.get(mode)

    @property
    def queue_is_open(self) -> bool:
        """By default the queue is open while the site has one project."""
        if self.open_queue is None:
            return Project.objects.count() <= 1
        return self.open_queue


def current() -> SiteSettings:
    """The values in force: what an admin changed, over the environment, over the defaults."""
    kept = _kept.get()
    if kept is None:
        return _read()
    if not kept:
        kept.append(_read())
    return kept[0]


@contextmanager
def read_once() -> Iterator[None]:
    """Within it the settings are read once, however often somebody asks, unless they are changed there."""
    token = _kept.set([])
    try:
        yield
    finally:
        _kept.reset(token)


def _read() -> SiteSettings:
    return _in_force(dict(SiteSetting.objects.values_list("name", "value")))


def _forget() -> None:
    kept = _kept.get()
    if kept is not None:
        kept.clear()


def _in_force(stored: Mapping[str, Any]) -> SiteSettings:
    given: dict[str, Any] = {"mode": settings.COOP_MODE, "policy": settings.COOP_POLICY}
    given |= stored
    return SiteSettings(**{name: value for name, value in given.items() if name in _CHECKS})


def checked(values: Mapping[str, object]) -> dict[str, Any]:
    """The values, each of which its setting can take.

    Raises:
        SettingRefused: an unknown name, or a value out of range; the text says what is allowed.
    """
    return {name: _checked(name, value) for name, value in values.items()}


def change(values: Mapping[str, object], user: User | None) -> SiteSettings:
    """Check and store all of `values`, or none of them; what is not named does not change.

    Raises:
        SettingRefused: an unknown name, or a value out of range; the text says what is allowed.
    """
    before = as_dict(current())
    with transaction.atomic():
        for name, value in checked(values).items():
            row, _is_new = SiteSetting.objects.update_or_create(
                name=name, defaults={"value": value, "changed_by": user}
            )
            _note(user, row, "set", value=value, before=before[name])
    _forget()
    return current()


def reset(name: str, user: User | None) -> SiteSettings:
    """Let the default hold again: that of the environment, or the built-in one.

    Raises:
        SettingRefused: there is no such setting.
    """
    if name not in _CHECKS:
        raise _no_such(name)
    with transaction.atomic():
        for row in SiteSetting.objects.filter(name=name):
            _note(user, row, "back to the default", value=default_of(name), before=row.value)
            row.delete()
    _forget()
    return current()


def default_of(name: str) -> object:
    """What holds where no admin has changed it."""
    return getattr(_in_force({}), name)


def allowed(name: str) -> str:
    """What the setting may be, in words."""
    return _CHECKS[name][1]


def accepts(name: str, value: object) -> bool:
    """Whether the value is of the right kind and range; whether a policy can be used is not looked at."""
    return _CHECKS[name][0](value)


def rules() -> Rules:
    """The scheduler's numbers in force."""
    return current().rules


def as_dict(values: SiteSettings) -> dict[str, object]:
    """The values by name, as the API shows them."""
    return asdict(values)


def _checked(name: str, value: object) -> object:
    if name not in _CHECKS:
        raise _no_such(name)
    if not accepts(name, value):
        raise SettingRefused(f"{name} cannot be {value!r}. Allowed: {allowed(name)}.")
    if name == "policy":
        _check_policy(str(value), allowed(name))
    return value


def _no_such(name: str) -> SettingRefused:
    return SettingRefused(f"There is no setting {name!r}. Allowed: {', '.join(sorted(_CHECKS))}.")


def _note(user: User | None, row: SiteSetting, verb: str, **values: object) -> None:
    if user is not None:  # no person: the site itself, or a test
        record(user, row, verb, **values)


def _check_policy(value: str, words: str) -> None:
    """Look whether there is such a policy; whether it works shows when it is asked."""
    try:
        examine(source_of(value, settings.BASE_DIR))
    except PolicyRefused as refused:
        raise SettingRefused(
            f"policy cannot be {value!r}: {refused}. Allowed: {words}."
        ) from refused


def _count_or_none(value: object) -> bool:
    return value is None or (type(value) is int and 1 <= value <= 100_000)


def _directory_or_none(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, str) and value.startswith("/") and value.isprintable()


def _share_or_none(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value is None
    return 0 < value <= 1


def _domains(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) > 100:
        return False
    return all(isinstance(each, str) and _DOMAIN.fullmatch(each) for each in value)


def _project_or_none(value: object) -> bool:
    if value is None:
        return True
    # PostgreSQL answers a text with a zero byte with an error
    is_text = isinstance(value, str) and value.isprintable()
    return is_text and Project.objects.filter(slug=value).exists()


def _amount(least: float, most: float) -> Callable[[object], bool]:
    def test(value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return least <= value <= most

    return test


_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "max_workers": (_count_or_none, "a whole number from 1 on, or null for no limit"),
    "memory_threshold": (
        _share_or_none,
        "a number above 0 and at most 1 (0.8 fills a card to 80 %), or null for the mode's default",
    ),
    "max_jobs_per_card": (_count_or_none, "a whole number from 1 on, or null for no limit"),
    "mode": (lambda value: value in _MODES, ", ".join(_MODES)),
    "policy": (lambda value: isinstance(value, str), allowed_policies(settings.BASE_DIR)),
    "log_dir": (
        _directory_or_none,
        "an absolute path on the service's machine, or null for no links",
    ),
    "open_queue": (
        lambda value: value is None or isinstance(value, bool),
        "true, false, or null (open while there is one project)",
    ),
    "preemption": (
        lambda value: isinstance(value, bool),
        "true, or false: no job is suspended for another",
    ),
    "min_run_minutes": (
        _amount(0, 7 * 24 * 60),
        "a number of minutes from 0 to 10080 (a week); 30 lets every job run half an hour",
    ),
    "half_life_hours": (
        _amount(1, 8760),
        "a number of hours from 1 to 8760 (a year); 24 counts what was used a day ago half",
    ),
    "sharding_margin": (
        _amount(1.03, 2),
        "a number from 1.03 to 2; 1.1 books a tenth more than the job was ever measured to use",
    ),
    "sharding_stable_minutes": (
        _amount(0, 1440),
        "a number of minutes from 0 to 1440 (a day), in which the peak has hardly grown",
    ),
    "sharding_stable_steps": (
        lambda value: type(value) is int and 0 <= value <= 100_000,
        "a whole number of steps from 0 to 100000, in which the peak has hardly grown",
    ),
    "save_grace_seconds": (
        _amount(5, 3600),
        "a number of seconds from 5 to 3600; as long as a step, a checkpoint and 3 seconds take at most",
    ),
    "idle_minutes": (
        lambda value: value is None or _amount(5, 1440)(value),
        "a number of minutes from 5 to 1440 (a day) in which a job's cards may do nothing, or null: nobody looks",
    ),
    "idle_grace_minutes": (
        _amount(1, 1440),
        "a number of minutes from 1 to 1440 (a day) between the warning and the suspension",
    ),
    "idle_action": (lambda value: value in IDLE_ACTIONS, ", ".join(IDLE_ACTIONS)),
    "placement": (lambda value: value in PLACEMENTS, ", ".join(PLACEMENTS)),
    "cap": (lambda value: value in CAPS, ", ".join(CAPS)),
    "swap_out": (
        lambda value: isinstance(value, bool),
        "true, or false: nobody's GPU memory is moved to main memory",
    ),
    "over_memory": (lambda value: value in OVER_MEMORY, ", ".join(OVER_MEMORY)),
    "private_webhooks": (
        lambda value: isinstance(value, bool),
        "true, or false: webhooks reach public addresses only, by https",
    ),
    "signup": (lambda value: value in SIGNUPS, ", ".join(SIGNUPS)),
    "signup_domains": (
        _domains,
        'a list of domains of e-mail addresses, such as ["example.org"]',
    ),
    "signup_project": (
        _project_or_none,
        "the slug of a project, or null: newcomers wait until somebody adds them to one",
    ),
}
NAMES = tuple(_CHECKS)
