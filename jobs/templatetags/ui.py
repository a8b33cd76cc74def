"""What templates say in one word: icons, states, sizes, times, bars. No queries and no rules here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.forms import BoundField
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from jobs import why
from jobs.core.units import format_duration, format_size
from jobs.models import Job
from jobs.templatetags.icons import ICONS
from jobs.views.words import STATES, outcome_words, reason_words

register = template.Library()

JOB_COLOURS = 8
_WITHOUT_BOX = frozenset({"CheckboxInput", "CheckboxSelectMultiple", "RadioSelect"})
_ICONS = {name: mark_safe(strokes) for name, strokes in ICONS.items()}  # noqa: S308 - constants of ours


@register.simple_tag
def icon(name: str) -> SafeString:
    """A decorative icon; the words beside it carry the meaning."""
    return format_html(
        '<svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">{}</svg>',
        _ICONS[name],
    )


@register.simple_tag
def state_badge(state: str, *, large: bool = False) -> SafeString:
    """A job's state as icon, word and colour: never by colour alone."""
    look = STATES[state]
    return format_html(
        '<span class="state state-{}{}" data-state="{}">{}{}</span>',
        look.family,
        " state-large" if large else "",
        state,
        icon(look.icon),
        look.word,
    )


@register.filter
def state_word(state: str) -> str:
    """A job's state in one word."""
    return str(STATES[state].word)


@register.simple_tag
def outcome_badge(outcome: str) -> SafeString:
    """How an attempt ended, in the colour of the matching state."""
    look = outcome_words(outcome)
    return format_html(
        '<span class="state state-{}">{}{}</span>', look.family, icon(look.icon), look.word
    )


@register.filter
def reason(code: str) -> str:
    """The words for a reason code."""
    return reason_words(code)


@register.filter
def reason_or_text(text: str) -> str:
    """The words for a reason code; a sentence stays as it is."""
    return text if " " in text else reason_words(text)


@register.filter
def card_phrase(code: str, numbers: Mapping[str, Any]) -> str:
    """Why one card does not take a job."""
    return why.card_phrase(code, numbers)


@register.filter
def size(number: int | None) -> str:
    """Bytes for people ("16 GiB"); a dash where the number is not known."""
    return "–" if number is None else format_size(number)


@register.filter
def gib(number: int | None) -> str:
    """Bytes in GiB without the unit, at most one decimal; a dash where it is not known."""
    if number is None:
        return "–"
    return f"{number / 2**30:.1f}".removesuffix(".0")


@register.filter
def percent(share: float | None) -> str:
    """A share 0..1 as whole per cent; a dash where it is not known."""
    return "–" if share is None else f"{share * 100:.0f}\N{NO-BREAK SPACE}%"


@register.filter
def duration(seconds: float | None) -> str:
    """Seconds in the two largest units; a dash where they are not known."""
    return "–" if seconds is None else format_duration(seconds)


@register.filter
def about(seconds: float | None) -> str:
    """A time that is left, no more exact than it is known: whole minutes above five of them."""
    if seconds is None:
        return "–"
    return format_duration(round(seconds / 60) * 60 if seconds > 300 else seconds)


@register.filter
def ran(job: Job) -> str:
    """From the first start to the end of a job that has ended."""
    if job.started_at is None or job.finished_at is None:
        return "–"
    return format_duration((job.finished_at - job.started_at).total_seconds())


@register.simple_tag
def moment(at: datetime | None) -> SafeString | str:
    """A time as `2026-02-03 14:05`; the page's script shows it in the reader's own time zone."""
    if at is None:
        return "–"
    return format_html(
        '<time datetime="{}" data-moment>{}</time>',
        at.isoformat(),
        timezone.localtime(at).strftime("%Y-%m-%d %H:%M"),
    )


@register.simple_tag
def clock(at: float) -> SafeString:
    """A time (epoch seconds): today's as `14:20`, others with their date; a script shows it in the reader's zone."""
    there = datetime.fromtimestamp(at, timezone.get_current_timezone())
    is_today = there.date() == timezone.localdate()
    words = there.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")
    return format_html('<time datetime="{}" data-clock>{}</time>', there.isoformat(), words)


@register.simple_tag
def ago(at: datetime | None) -> SafeString | str:
    """How long ago, with the exact time as its title."""
    if at is None:
        return "–"
    passed = (timezone.now() - at).total_seconds()
    span = timesince(at, depth=1) if passed >= 60 else format_duration(max(0, passed))
    words = _("%(span)s ago") % {"span": span}
    return format_html('<time datetime="{}" data-title>{}</time>', at.isoformat(), words)


@register.simple_tag
def since(at: datetime | None) -> SafeString | str:
    """The time that has passed since, counted on by the page's script."""
    if at is None:
        return "–"
    passed = max(0.0, (timezone.now() - at).total_seconds())
    return format_html(
        '<time datetime="{}" data-since>{}</time>', at.isoformat(), format_duration(passed)
    )


@register.simple_tag
def meter(value: float, top: float, label: str, kind: str = "") -> SafeString:
    """A thin bar for `value` of `top`, with a text alternative."""
    return format_html(
        '<svg class="meter {}" role="img" aria-label="{}"><rect class="fill" width="{}" height="100%" rx="3"/></svg>',
        kind,
        label,
        part(value, top),
    )


@register.simple_tag
def part(value: float, top: float) -> str:
    """The width of a bar for `value` of `top`, in per cent."""
    share = 0.0 if top <= 0 else min(1.0, max(0.0, value / top))
    return f"{share * 100:.1f}%"


@register.simple_tag
def field_input(field: BoundField) -> SafeString:
    """A form field's own input with the classes that the pages give it, its help and its errors tied to it."""
    kind = type(field.field.widget).__name__
    css = "form-select" if kind == "Select" else "" if kind in _WITHOUT_BOX else "form-control"
    if field.errors and css:
        css += " is-invalid"
    attributes: dict[str, str | bool] = {"class": css} if css else {}
    described = [
        f"{field.auto_id}_{part}"
        for part, there in (("helptext", field.help_text), ("error", field.errors))
        if there
    ]
    if described:
        attributes["aria-describedby"] = " ".join(described)
    return field.as_widget(attrs=attributes)


@register.filter
def slot(colour: int | None) -> str:
    """The CSS class of a job's colour."""
    return "slot-other" if colour is None else f"slot-{colour % JOB_COLOURS + 1}"


@register.filter
def slot_name(css_class: str) -> str:
    """The last part of a slot's CSS class, as the hatch patterns are named."""
    return css_class.rpartition("-")[2]


@register.simple_tag
def swatch(colour: int | None) -> SafeString:
    """A small square in a job's colour."""
    return format_html(
        '<svg class="swatch {}" viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10" rx="2"/></svg>',
        slot(colour),
    )


@register.simple_tag(takes_context=True)
def current(context: dict[str, Any], *prefixes: str) -> SafeString | str:
    """`aria-current` where the page's address begins with one of the prefixes ("/" means exactly "/")."""
    path = context["request"].path
    here = any(path == prefix if prefix == "/" else path.startswith(prefix) for prefix in prefixes)
    return mark_safe(' aria-current="page"') if here else ""


@register.simple_tag(takes_context=True)
def query(context: dict[str, Any], **changes: Any) -> str:
    """The page's query string with some parameters changed; an empty value removes one."""
    parameters = context["request"].GET.copy()
    for name, value in changes.items():
        if value in (None, ""):
            parameters.pop(name, None)
        else:
            parameters[name] = value
    text = parameters.urlencode()
    return f"?{text}" if text else "?"
