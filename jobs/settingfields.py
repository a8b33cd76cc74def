"""The settings as fields of a form: what kind each is, its value as text, and what a text says."""

from __future__ import annotations

from enum import StrEnum

from jobs import sitesettings

NO_CHOICE = "\0"  # a text that no setting with a list of choices takes


class Kind(StrEnum):
    """How a setting is asked for."""

    SWITCH = "switch"
    CHOICE = "choice"
    NUMBER = "number"
    TEXT = "text"
    LIST = "list"


def kind_of(name: str) -> Kind:
    """Told from what the setting's own check accepts, so that a new setting needs no second table."""
    if sitesettings.accepts(name, True):
        return Kind.SWITCH
    if choices_of(name):
        return Kind.CHOICE
    default = sitesettings.default_of(name)
    if isinstance(default, tuple):
        return Kind.LIST
    is_number = isinstance(default, int | float) or sitesettings.accepts(name, 0.5)
    return Kind.NUMBER if is_number or sitesettings.accepts(name, 1) else Kind.TEXT


def choices_of(name: str) -> list[str]:
    """The words that the setting may be, where it may be nothing else; empty for every other."""
    words = sitesettings.allowed(name).split(", ")
    is_list = all(sitesettings.accepts(name, word) for word in words)
    return words if is_list and not sitesettings.accepts(name, NO_CHOICE) else []


def may_be_empty(name: str) -> bool:
    """Whether the setting can be left out: no limit, or the default of something else."""
    return sitesettings.accepts(name, None)


def text_of(value: object) -> str:
    """A value as it stands in the form; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def value_of(name: str, text: str) -> object:
    """What the text says; a text that says nothing of the kind stays as it is, for the check to refuse it."""
    text = text.strip()
    if not text and may_be_empty(name):
        return None
    match kind_of(name):
        case Kind.SWITCH:
            return {"true": True, "false": False}.get(text, text)
        case Kind.NUMBER:
            return _number(text)
        case Kind.LIST:
            return tuple(each.strip() for each in text.split(",") if each.strip())
    return text


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
