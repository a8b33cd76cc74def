"""The table of quotas and shares: a row for a project or for a person in one, a field for each amount."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jobs import queue, quotas
from jobs.core.units import GIB, UnitError, parse_size
from jobs.models import Allocation, Project, Quota, User
from jobs.quotaeffect import effect_of
from jobs.quotas import WHAT, QuotaChange
from jobs.refusals import Refused
from jobs.sight import sight_of
from jobs.views.manage import cells
from jobs.views.signedin import viewer_of

Text = str | Promise

WORDS: dict[str, Text] = {
    "cards": gettext_lazy("cards"),
    "memory": gettext_lazy("memory"),
    "running": gettext_lazy("running jobs"),
    "gpu_hours": gettext_lazy("GPU-hours a month"),
}
SIDE_WORDS: dict[str, Text] = {
    "guarantee": gettext_lazy("guaranteed"),
    "limit": gettext_lazy("at most"),
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One field. Its name carries the amount's name, the project's key and, for a person's, that of the person."""

    name: str
    label: str
    stored: str
    text: str
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A project, or one person in it."""

    project: Project
    person: User | None = None
    cells: tuple[Cell, ...] = ()
    held: Mapping[str, int] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What the row is about."""
        return self.person.username if self.person else self.project.slug


@dataclass(kw_only=True)
class Table:
    """The rows that one reader may edit, with what was typed into them."""

    rows: list[Row]
    sides: tuple[str, ...]
    has_weight: bool

    @property
    def before(self) -> str:
        """What the hidden field holds."""
        return cells.before({cell.name: cell.stored for row in self.rows for cell in row.cells})

    @property
    def columns(self) -> list[Text]:
        """The heads of the fields of one side."""
        return list(WORDS.values())

    @property
    def side_words(self) -> list[Text]:
        """The heads of the sides."""
        return [SIDE_WORDS[side] for side in self.sides]


@dataclass(frozen=True, kw_only=True)
class Typed:
    """What was typed: the changes, and what is wrong, by the name of the cell."""

    texts: Mapping[str, str]
    changes: tuple[QuotaChange, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    refused: Refused | None = None  # what is wrong with all of it together

    @property
    def is_wrong(self) -> bool:
        """Whether anything must be corrected first."""
        return bool(self.errors or self.refused)


NOTHING = Typed(texts={})
NOTHING_HELD = {"cards": 0, "memory": 0, "running": 0}


def of_projects(projects: Iterable[Project], typed: Typed = NOTHING) -> Table:
    """A row for each project, with its weight, guarantees and limits."""
    wanted = list(projects)
    stored = {each.project_id: each for each in Quota.objects.filter(project__in=wanted, user=None)}
    held = _held(Allocation.objects.filter(attempt__job__project__in=wanted), "project")
    rows = [
        Row(
            project=each,
            cells=tuple(_cells(each, None, stored.get(each.pk, Quota()), quotas.SIDES, typed)),
            held=held.get(each.pk, NOTHING_HELD),
        )
        for each in wanted
    ]
    return Table(rows=rows, sides=quotas.SIDES, has_weight=True)


def of_members(project: Project, members: Iterable[User], typed: Typed = NOTHING) -> Table:
    """A row for each member, with the limits inside the project."""
    wanted = list(members)
    stored = {each.user_id: each for each in project.quotas.filter(user__in=wanted)}
    held = _held(Allocation.objects.filter(attempt__job__project=project), "owner")
    rows = [
        Row(
            project=project,
            person=each,
            cells=tuple(_cells(project, each, stored.get(each.pk, Quota()), ("limit",), typed)),
            held=held.get(each.pk, NOTHING_HELD),
        )
        for each in wanted
    ]
    return Table(rows=rows, sides=("limit",), has_weight=False)


def answer(
    request: HttpRequest,
    make: Any,
    template: str,
    context: Mapping[str, Any],
    back: tuple[str, ...],
) -> HttpResponse:
    """Show the table, say what a change would do, or store it. `make` makes the table of what was typed."""
    typed = _typed(request, make(NOTHING)) if request.method == "POST" else NOTHING
    wants_effect = request.POST.get("do") == "effect" or "HX-Request" in request.headers
    if request.method == "POST" and not wants_effect and not typed.is_wrong:
        quotas.change(typed.changes, viewer_of(request))
        queue.forget()
        return redirect(*back)
    shown: dict[str, Any] = {"typed": typed, **context}
    if wants_effect and typed.changes and not typed.is_wrong:
        shown["effect"] = effect_of(typed.changes, sight_of(viewer_of(request)))
    if "HX-Request" in request.headers:
        return render(request, "quota/_effect.html", shown)
    status = 422 if typed.is_wrong else 200
    return render(request, template, shown | {"table": make(typed)}, status=status)


def _typed(request: HttpRequest, table: Table) -> Typed:
    known = {cell.name: row for row in table.rows for cell in row.cells}
    texts = {name: text for name, text in cells.changed(request.POST).items() if name in known}
    amounts: dict[int, dict[str, float | None]] = {}
    errors: dict[str, str] = {}
    for name, text in texts.items():
        what = name.partition(":")[0]
        try:
            amounts.setdefault(id(known[name]), {})[what] = _amount(what, text)
        except ValueError as error:
            errors[name] = str(error)
    changes = tuple(_change(row, amounts[id(row)]) for row in table.rows if id(row) in amounts)
    refused = None if errors else _refusal(changes, viewer_of(request))
    return Typed(texts=texts, changes=changes, errors=errors, refused=refused)


def _refusal(changes: Iterable[QuotaChange], viewer: User) -> Refused | None:
    try:
        for each in changes:
            quotas.check(each, viewer)
    except Refused as refused:
        return refused
    return None


def _change(row: Row, amounts: dict[str, float | None]) -> QuotaChange:
    weight = amounts.pop("weight", None)
    return QuotaChange(project=row.project, person=row.person, weight=weight, fields=amounts)


def _amount(what: str, text: str) -> float | None:
    """What a cell says; None for an empty one.

    Raises:
        ValueError: it says nothing of the kind; the text says what is wrong and what can stand there.
    """
    if what == "weight":
        return _number(text, float, _("a number from 0.01 to 1000"))
    if not text:
        return None
    if what.endswith("memory"):
        try:
            return parse_size(text if text[-1:].isalpha() else f"{text}G")
        except UnitError as error:
            raise ValueError(str(error)) from error
    kind = float if what.endswith("hours") else int
    return _number(text, kind, _("a number from 0 on, or nothing for none"))


def _number(text: str, kind: type[int | float], allowed: str) -> float:
    try:
        found = kind(text)
    except ValueError:
        found = -1
    if not 0 <= found < 1e9:  # not a number fails as well
        raise ValueError(
            _("“%(text)s” cannot stand here. Allowed: %(allowed)s.")
            % {"text": text, "allowed": allowed}
        )
    return found


def _cells(
    project: Project, person: User | None, quota: Quota, sides: Iterable[str], typed: Typed
) -> Iterator[Cell]:
    key = f"{project.pk}:{person.pk}" if person else f"{project.pk}"
    title = person.username if person else project.slug
    if person is None:
        label = _("%(title)s: weight") % {"title": title}
        yield _cell(f"weight:{key}", label, f"{project.weight:g}", typed)
    for side in sides:
        for what in WHAT:
            label = _("%(title)s: %(side)s, %(what)s") % {
                "title": title,
                "side": SIDE_WORDS[side],
                "what": WORDS[what],
            }
            stored = _text(what, getattr(quota, f"{side}_{what}"))
            yield _cell(f"{side}_{what}:{key}", label, stored, typed)


def _cell(name: str, label: str, stored: str, typed: Typed) -> Cell:
    text, error = typed.texts.get(name, stored), typed.errors.get(name, "")
    return Cell(name=name, label=label, stored=stored, text=text, error=error)


def _text(what: str, amount: float | None) -> str:
    if amount is None:
        return ""
    return f"{amount / GIB:.6g}G" if what == "memory" else f"{amount:.10g}"


def _held(bookings: Any, by: str) -> dict[int, dict[str, int]]:
    """What is held now, by the project or the owner of the jobs."""
    key = f"attempt__job__{by}"
    sums = bookings.filter(released_at=None).order_by().values(key)
    rows = sums.annotate(
        cards=Count("pk"), memory=Sum("booked"), running=Count("attempt", distinct=True)
    )
    return {row.pop(key): row for row in rows}
