"""What is asked: over which days, and what is to be otherwise. The same for the page, the API and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

from django.utils.translation import gettext as _

from gpus.models import Device
from jobs import permissions, sitesettings
from jobs.core.gputypes import matches_gpu_type
from jobs.core.policies import SHIPPED
from jobs.core.problems import shortened
from jobs.core.replay.playing import SUSPEND_SECONDS
from jobs.core.simulation.fleet_spec import FleetSpecError, Machines, parse_fleet
from jobs.models import Project, Quota, User
from jobs.refusals import Refused

LONGEST_DAYS = 365
MOST_CARDS = 10_000

SETTINGS = (
    "policy",
    "mode",
    "placement",
    "preemption",
    "min_run_minutes",
    "half_life_hours",
    "max_workers",
    "max_jobs_per_card",
    "memory_threshold",
)
"""The site settings by which a replay may differ."""

AMOUNTS = {"cards": "cards", "memory_bytes": "memory", "running": "running"}
"""What of a guarantee or limit is replayed: its name in the API, and in the database."""

SIDES = ("guarantee", "limit")


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Who asks: an admin about everything, a lead about the own projects and the sums of all."""

    user: User
    projects: tuple[Project, ...]
    is_admin: bool

    @classmethod
    def of(cls, user: User, only: Project | None = None) -> Asker:
        """The account; with `only`, as far as a token that is bound to this project lets it.

        Raises:
            Refused: it leads no project.
        """
        led = [each for each in permissions.projects_reported_to(user) if only in {None, each}]
        if not led and not (user.is_superuser and only is None):
            raise Refused(
                code="forbidden",
                title=_("You may not do this"),
                detail=_("What-ifs are for those who lead a project, and for admins."),
                hint=_("Ask a lead of your project."),
                status=403,
            )
        return cls(user=user, projects=tuple(led), is_admin=user.is_superuser and only is None)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A checked question. What is empty is as it is now."""

    days: float = 30.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    projects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By slug: `weight`, and `guarantee` and `limit` with amounts; None takes one away."""
    add: Sequence[str] = ()  # more cards, such as "1xA100-80G"
    fleet: str = ""  # other cards than those of today: "13x8xV100-32G"
    suspend_seconds: float = SUSPEND_SECONDS

    @property
    def changes_nothing(self) -> bool:
        """Whether it only asks how well the model does."""
        return not (self.settings or self.projects or self.add or self.fleet)

    def as_json(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)


def check(question: Question, asker: Asker) -> None:
    """Look whether this may be asked, and can be answered.

    Raises:
        Refused: a value is wrong, or not this person's to try.
    """
    if not 0 < question.days <= LONGEST_DAYS:
        _refuse(
            _("A period of %(days)g days cannot be replayed.") % {"days": question.days},
            _("Give more than 0 and at most %(most)s days.") % {"most": LONGEST_DAYS},
        )
    _check_settings(question.settings, asker)
    for slug, wanted in question.projects.items():
        _check_project(slug, wanted, asker)
    more = sum(count for count, _kind in map(added, question.add))
    whole = sum(each.count * each.gpus for each in fleet(question.fleet)) if question.fleet else 0
    if more + whole > MOST_CARDS:
        _refuse(
            _("%(count)s cards are too many to replay.") % {"count": more + whole},
            _("At most %(most)s are possible.") % {"most": MOST_CARDS},
        )


def added(text: str) -> tuple[int, Machines]:
    """How many cards "2xA100-80G" adds, all on one new machine; a bare type means one.

    A type that a card of the site has is that card's; so a model's own name will do, too.

    Raises:
        Refused: it names no cards.
    """
    count, cross, kind = text.partition("x")
    if not (cross and count.isascii() and count.isdigit() and len(count) <= 5):
        count, kind = "1", text
    number, kind = int(count), kind.strip()
    if number < 1:
        _refuse(
            _("%(text)s adds no card.") % {"text": shortened(text)},
            _("Write how many, from 1 on, and of which type: 2xA100-80G."),
        )
    known = _like(kind)
    if known is not None:
        machine = Machines(count=1, gpus=number, model=known.name, memory=known.memory_total)
    else:
        machine = fleet(f"1x{number}x{kind}")[0] if number < 10_000 else _too_many(number)
    return number, machine


def fleet(text: str) -> tuple[Machines, ...]:
    """The machines of "13x8xV100-32G".

    Raises:
        Refused: it names no machines.
    """
    try:
        return parse_fleet(text).machines
    except FleetSpecError as error:
        raise Refused(
            code="replay_refused",
            title=_("This cannot be replayed"),
            detail=str(error),
            hint=_("More cards like those of the site can be named by their type: 2xA100-80G."),
        ) from error


def _like(kind: str) -> Device | None:
    """A card of the site of this name or type."""
    devices = list(Device.objects.order_by("pk"))
    by_name = (each for each in devices if each.name == kind)
    by_type = (each for each in devices if matches_gpu_type(kind, each.name, each.memory_total))
    return next(by_name, None) or next(by_type, None)


def _check_settings(wanted: Mapping[str, Any], asker: Asker) -> None:
    if strange := [name for name in wanted if name not in SETTINGS]:
        _refuse(
            _("%(name)s is no setting that a replay can change.") % {"name": shortened(strange[0])},
            _("Allowed: %(allowed)s.") % {"allowed": ", ".join(SETTINGS)},
        )
    policy = wanted.get("policy", "")
    known = {"", *SHIPPED, sitesettings.current().policy}
    if not asker.is_admin and policy not in known:
        # Before it is looked at: the answer would tell what files there are.
        _refuse(
            _("Only an admin tries a policy of a file."),
            _("Allowed: %(allowed)s.") % {"allowed": ", ".join(sorted(known - {""}))},
            code="forbidden",
            status=403,
        )
    try:
        sitesettings.checked(wanted)
    except sitesettings.SettingRefused as error:
        _refuse(str(error), _("Nothing was replayed. Correct it and ask again."))


def _check_project(slug: str, wanted: Mapping[str, Any], asker: Asker) -> None:
    project = next((each for each in asker.projects if each.slug == slug), None)
    if project is None:
        allowed = ", ".join(each.slug for each in asker.projects)
        _refuse(
            _("There is no project %(slug)s that you lead.") % {"slug": shortened(slug)},
            _("Allowed: %(allowed)s.") % {"allowed": shortened(allowed, 200).strip("'")},
        )
    weight = wanted.get("weight")
    if weight is not None and not 0.01 <= weight <= 1000:
        _refuse(
            _("The weight of %(slug)s cannot be %(weight)g.") % {"slug": slug, "weight": weight},
            _("Give a number from 0.01 to 1000; 1 is usual."),
        )
    for name, column in AMOUNTS.items():
        _check_amount(project, wanted, name, column)


def _check_amount(project: Project, wanted: Mapping[str, Any], name: str, column: str) -> None:
    now = Quota.objects.filter(project=project, user=None).first()
    least, most = (
        (wanted.get(side) or {}).get(name, getattr(now, f"{side}_{column}", None)) for side in SIDES
    )
    if any(amount is not None and amount < 0 for amount in (least, most)):
        _refuse(
            _("An amount of %(slug)s is below zero.") % {"slug": project.slug},
            _("Give whole numbers from 0 on, or null for none."),
        )
    if least is not None and most is not None and least > most:
        _refuse(
            _("The guarantee of %(slug)s (%(least)s) would be above its limit (%(most)s).")
            % {"slug": project.slug, "least": least, "most": most},
            _("Give each guarantee at most its limit, or no limit."),
        )


def _too_many(number: int) -> NoReturn:
    _refuse(
        _("%(count)s cards are too many to replay.") % {"count": number},
        _("At most %(most)s are possible.") % {"most": MOST_CARDS},
    )


def _refuse(detail: str, hint: str, *, code: str = "replay_refused", status: int = 422) -> NoReturn:
    raise Refused(
        code=code, title=_("This cannot be replayed"), detail=detail, hint=hint, status=status
    )
