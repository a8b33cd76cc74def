"""The form of a what-if: what is left as it is changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from gpus.models import Device
from jobs import sitesettings
from jobs.core.policies import SHIPPED
from jobs.models import Quota
from jobs.replay.question import MOST_CARDS, Asker, Question

MOST_PROJECTS = 40
"""In the form; Django takes 200 fields. The command line takes more."""

_DAYS = [
    (1, _("24 hours")),
    (7, _("7 days")),
    (30, _("30 days")),
    (90, _("90 days")),
    (365, _("a year")),
]
_YES_NO = [("", _("as now")), ("yes", _("on")), ("no", _("off"))]
_ASKED: tuple[str, ...] = ("policy", "mode", "placement")
_NUMBERS = ("min_run_minutes", "max_workers", "max_jobs_per_card")


@dataclass(frozen=True, kw_only=True)
class ProjectRow:
    """A project's weight, guarantee and limit of cards: those of now, and those in the form."""

    slug: str
    now: Mapping[str, float | None]
    given: Mapping[str, str]

    @property
    def cells(self) -> Iterator[tuple[str, str, str | Promise, str]]:
        """Of each field its id, its name, what it is, and what stands in it."""
        for name, words in _COLUMNS.items():
            yield f"{name}-of-{self.slug}", f"{name}:{self.slug}", words, self.given[name]


_COLUMNS: dict[str, str | Promise] = {
    "weight": _("weight"),
    "guarantee": _("guaranteed cards"),
    "limit": _("most cards"),
}


class WhatIfForm(forms.Form):
    """Which days, and what is to be otherwise."""

    days = forms.TypedChoiceField(
        label=_("Replay the last"), choices=_DAYS, coerce=float, initial=30
    )
    policy = forms.ChoiceField(label=_("Order (policy)"), required=False)
    policy_file = forms.CharField(
        label=_("Or a policy of yours"),
        required=False,
        max_length=300,
        help_text=_("path/policy.py:ClassName on the service's machine"),
    )
    mode = forms.ChoiceField(label=_("Sharing of cards"), required=False)
    placement = forms.ChoiceField(label=_("Choice of cards"), required=False)
    preemption = forms.ChoiceField(label=_("Preemption"), choices=_YES_NO, required=False)
    min_run_minutes = forms.FloatField(
        label=_("Minimum run, minutes"), required=False, min_value=0, max_value=10_080
    )
    max_workers = forms.IntegerField(
        label=_("Most jobs at once"), required=False, min_value=1, max_value=100_000
    )
    max_jobs_per_card = forms.IntegerField(
        label=_("Most jobs on a card"), required=False, min_value=1, max_value=100_000
    )
    more = forms.IntegerField(
        label=_("More cards"), required=False, min_value=0, max_value=MOST_CARDS, initial=0
    )
    kind = forms.ChoiceField(label=_("of the type"), required=False)
    fleet = forms.CharField(
        label=_("Or other cards than those of today"),
        required=False,
        max_length=1000,
        help_text=_("machines x cards x model-memory, such as 2x8xA100-80G"),
    )

    def __init__(self, asker: Asker, data: Any = None, initial: Any = None) -> None:
        super().__init__(data, initial=initial)
        self._asker = asker
        values = sitesettings.current()
        self._choices("policy", SHIPPED, values.policy or "default")
        self._choices("mode", Device.Mode.values, values.mode)
        self._choices("placement", sitesettings.PLACEMENTS, values.placement)
        names = Device.objects.order_by("name").values_list("name", flat=True).distinct()
        self.fields["kind"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]
        for name in _NUMBERS:
            usual = getattr(values, name)
            self.fields[name].widget.attrs["placeholder"] = (
                _("no limit") if usual is None else f"{usual:g}"
            )
        if not asker.is_admin:
            del self.fields["policy_file"]

    @classmethod
    def of(cls, asker: Asker, question: Mapping[str, Any]) -> WhatIfForm:
        """The form as it was when this was asked."""
        given = question["settings"]
        initial: dict[str, Any] = {"days": round(question["days"]), "fleet": question["fleet"]}
        initial |= {name: given.get(name) for name in (*_ASKED, *_NUMBERS)}
        initial["preemption"] = {True: "yes", False: "no"}.get(given.get("preemption"), "")
        if initial["policy"] not in SHIPPED:
            initial["policy_file"] = initial["policy"]
        for text in question["add"][:1]:
            count, _cross, kind = text.partition("x")
            initial |= {"more": count, "kind": kind}
        for slug, wanted in question["projects"].items():
            for name in _COLUMNS:
                amount = (
                    wanted.get(name, {})
                    if name == "weight"
                    else (wanted.get(name) or {}).get("cards", {})
                )
                if amount != {}:
                    initial[f"{name}:{slug}"] = "" if amount is None else f"{amount:g}"
        return cls(asker, initial=initial)

    @property
    def site_fields(self) -> list[forms.BoundField]:
        """All but those of the projects."""
        return list(self)

    @property
    def rows(self) -> list[ProjectRow]:
        """The projects that the reader may try something for."""
        quotas = {
            quota.project_id: quota
            for quota in Quota.objects.filter(project__in=self._asker.projects, user=None)
        }
        return [
            self._row(project.slug, project.weight, quotas.get(project.pk))
            for project in self._asker.projects[:MOST_PROJECTS]
        ]

    @property
    def more_projects(self) -> int:
        """Those that have no row."""
        return max(0, len(self._asker.projects) - MOST_PROJECTS)

    def clean(self) -> dict[str, Any]:
        """Read the projects' cells too."""
        cleaned = super().clean() or self.cleaned_data
        cleaned["projects"] = {}
        for row in self.rows:
            wanted = self._wanted(row)
            if wanted:
                cleaned["projects"][row.slug] = wanted
        return cleaned

    def question(self) -> Question:
        """What is asked; the form must be valid."""
        cleaned = self.cleaned_data
        settings = {
            name: cleaned[name] for name in (*_ASKED, *_NUMBERS) if cleaned[name] not in ("", None)
        }
        if cleaned["preemption"]:
            settings["preemption"] = cleaned["preemption"] == "yes"
        if cleaned.get("policy_file"):
            settings["policy"] = cleaned["policy_file"]
        return Question(
            days=cleaned["days"],
            settings=settings,
            projects=cleaned["projects"],
            add=[f"{cleaned['more']}x{cleaned['kind']}"] if cleaned["more"] else [],
            fleet=cleaned["fleet"],
        )

    def _choices(self, field: str, names: Any, now: str) -> None:
        as_now = _("as now (%(now)s)") % {"now": now}
        self.fields[field].choices = [("", as_now), *((name, name) for name in names)]  # type: ignore[attr-defined]

    def _row(self, slug: str, weight: float, quota: Quota | None) -> ProjectRow:
        now = {
            "weight": weight,
            "guarantee": getattr(quota, "guarantee_cards", None),
            "limit": getattr(quota, "limit_cards", None),
        }
        source = self.data if self.is_bound else self.initial
        given = {
            name: str(source.get(f"{name}:{slug}", "" if now[name] is None else f"{now[name]:g}"))
            for name in _COLUMNS
        }
        return ProjectRow(slug=slug, now=now, given=given)

    def _wanted(self, row: ProjectRow) -> dict[str, Any]:
        """What is to be otherwise for one project."""
        wanted: dict[str, Any] = {}
        weight = self._number(row, "weight")
        if weight is not None and weight != row.now["weight"]:
            wanted["weight"] = weight
        for name in ("guarantee", "limit"):
            amount = self._number(row, name, whole=True)
            if amount != row.now[name]:
                wanted[name] = {"cards": amount}
        return wanted

    def _number(self, row: ProjectRow, name: str, *, whole: bool = False) -> float | None:
        text = row.given[name].strip()
        field: forms.Field = (
            forms.IntegerField(min_value=0, max_value=MOST_CARDS)
            if whole
            else forms.FloatField(min_value=0.01, max_value=1000)
        )
        if not text:
            return None
        try:
            found: float = field.clean(text)
        except forms.ValidationError as error:
            words = _("%(slug)s, %(name)s: %(problem)s") % {
                "slug": row.slug,
                "name": _COLUMNS[name],
                "problem": " ".join(error.messages),
            }
            self.add_error(None, words)
            return row.now[name]
        return found
