"""The answer to a what-if in words: the figures side by side, the difference, and what the replay cannot know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from jobs.core.replay.compare import Line, lines, projects
from jobs.core.units import format_duration, format_size

_NAMES: dict[str, str | Promise] = {
    "mean_wait_s": gettext_lazy("Mean wait"),
    "p90_wait_s": gettext_lazy("9 of 10 waited at most"),
    "max_wait_s": gettext_lazy("Longest wait"),
    "mean_jct_s": gettext_lazy("Mean time to the end"),
    "makespan_s": gettext_lazy("All ended after"),
    "started": gettext_lazy("Jobs started"),
    "finished": gettext_lazy("Jobs ended"),
    "preemptions": gettext_lazy("Preemptions"),
    "lost_gpu_s": gettext_lazy("Lost to preemptions, GPU time"),
    "share_error": gettext_lazy("Largest error of a project's share"),
}
_MORE_IS_BETTER = frozenset({"started", "finished"})
_NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure in words."""

    name: str
    really: str
    today: str
    changed: str
    difference: str
    is_better: bool | None  # None: neither


@dataclass(frozen=True, kw_only=True)
class Compared:
    """An answer in words."""

    headline: str
    trust: str
    warnings: tuple[str, ...]
    rows: tuple[Row, ...]
    projects: tuple[Row, ...]
    notes: tuple[str, ...]
    has_change: bool


def compared(answer: Mapping[str, Any]) -> Compared:
    """Everything that the page says about an answer."""
    found = list(lines(answer))
    mean = next((line for line in found if line.name == "mean_wait_s"), None)
    return Compared(
        headline=_headline(mean) if mean else "",
        trust=_trust(mean) if mean else "",
        warnings=tuple(_warnings(answer)),
        rows=tuple(_row(str(_NAMES[line.name]), line) for line in found),
        projects=tuple(_row(slug, line) for slug, line in projects(answer)),
        notes=tuple(_notes(answer)),
        has_change=answer["changed"] is not None,
    )


def changes(question: Mapping[str, Any]) -> list[str]:
    """What was to be otherwise, each in a few words."""
    found = [
        f"{name.replace('_', ' ')}: {_value(value)}" for name, value in question["settings"].items()
    ]
    for slug, wanted in question["projects"].items():
        if wanted.get("weight") is not None:
            found.append(f"{slug}, {_('weight')}: {wanted['weight']:g}")
        for side, words in (("guarantee", _("guarantee")), ("limit", _("limit"))):
            found += [
                f"{slug}, {words}, {_amount(name, amount)}"
                for name, amount in (wanted.get(side) or {}).items()
            ]
    found += [_("more cards: %(text)s") % {"text": text} for text in question["add"]]
    return found + (
        [_("other cards: %(text)s") % {"text": question["fleet"]}] if question["fleet"] else []
    )


def _amount(name: str, amount: int | None) -> str:
    if name == "memory_bytes":
        return _("memory: %(size)s") % {
            "size": _("none") if amount is None else format_size(amount)
        }
    return f"{_('cards') if name == 'cards' else _('running jobs')}: {_value(amount)}"


def _value(value: Any) -> str:
    if value is None:
        return _("none")
    if isinstance(value, bool):
        return _("on") if value else _("off")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _headline(mean: Line) -> str:
    if mean.today is None or mean.changed is None:
        return ""
    told = {"today": _shown(mean, mean.today), "changed": _shown(mean, mean.changed)}
    return _("Mean wait %(today)s → %(changed)s") % told


def _trust(mean: Line) -> str:
    """How well the model does, by which people may judge it."""
    if mean.really is None or mean.today is None:
        return ""
    return _(
        "Really, jobs waited %(really)s on average; replayed with today's settings, %(today)s. "
        "The closer these two are, the more the third figure can be trusted."
    ) % {"really": _shown(mean, mean.really), "today": _shown(mean, mean.today)}


def _row(name: str, line: Line) -> Row:
    added = line.difference
    better = None if not added else (added > 0) == (line.name in _MORE_IS_BETTER)
    return Row(
        name=name,
        really=_shown(line, line.really),
        today=_shown(line, line.today),
        changed=_shown(line, line.changed),
        difference=_difference(line),
        is_better=better,
    )


def _shown(line: Line, value: float | None) -> str:
    if value is None:
        return "–"
    match line.kind:
        case "seconds":
            return format_duration(value)
        case "share":
            return f"{100 * value:.1f}{_NO_BREAK}%"
    return f"{value:.0f}"


def _difference(line: Line) -> str:
    """In words; empty where it cannot be told."""
    added = line.difference
    if added is None:
        return ""
    if not added:
        return _("the same")
    told = {"amount": _shown(line, abs(added)), "part": ""}
    if line.ratio is not None:
        told["part"] = f"{100 * abs(line.ratio):.0f}{_NO_BREAK}%"
    if line.kind == "seconds" and told["part"]:
        words = (
            _("%(amount)s longer (%(part)s)") if added > 0 else _("%(amount)s shorter (%(part)s)")
        )
    else:
        words = _("%(amount)s more") if added > 0 else _("%(amount)s less")
    return words % told


def _warnings(answer: Mapping[str, Any]) -> Iterator[str]:
    """What must be known before the figures are read."""
    for name, words in (
        ("today", gettext_lazy("With today's settings")),
        ("changed", gettext_lazy("With the change")),
    ):
        side = answer[name]
        if side is None:
            continue
        if stuck := side["whole"]["jobs"] - side["whole"]["started"]:
            yield ngettext(
                "%(where)s %(count)s job would never start, and is in no mean.",
                "%(where)s %(count)s jobs would never start, and are in no mean.",
                stuck,
            ) % {"where": words, "count": stuck}
        if side["policy_problem"]:
            yield f"{words}: {side['policy_problem']}"


def _notes(answer: Mapping[str, Any]) -> Iterator[str]:
    """What was left out or assumed here; what holds for every replay stands in the template."""
    counts = answer["jobs"]
    words = {
        "before": ngettext(
            "%(n)s job ran or waited already when the time began: it is replayed, and not counted.",
            "%(n)s jobs ran or waited already when the time began: they are replayed, and not counted.",
            counts["before"],
        ),
        "too_many": _("Left out because there are too many jobs, or they take too long: %(n)s."),
        "never_ran": _("Left out because they ended before they had a card: %(n)s."),
        "held": _("Left out because somebody held them: %(n)s."),
        "unknown": _(
            "Left out because they still wait and nobody can tell how long they will run: %(n)s."
        ),
        "unfinished": _(
            "Taken for done as of now, because nobody can tell when they will end: %(n)s."
        ),
        "unmeasured": _(
            "Nobody has measured how much of a card they compute with: %(n)s. They are taken to run as long as they "
            "did, however many share the card; with more sharing than today the figures are too good for them."
        ),
    }
    for name, text in words.items():
        if counts[name]:
            yield text % {"n": counts[name]}
    if out := answer["cards_out_of_service"]:
        yield _("Cards that are out of service now, and were left out: %(n)s.") % {"n": out}
