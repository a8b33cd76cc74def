"""A stored task as the YAML that a person would write: for the job page, and to run it again with a change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from jobs.core.units import GIB, MIB, TIB

_DURATIONS = frozenset({"time_limit", "est_time"})
_FIRST = ("task_id", "priority", "resources", "command", "llamafactory")
_DEFAULTS: Mapping[str, Any] = {
    "launcher": "none",
    "max_attempts": 3,
    "retry_on": ["lost"],
    "gpus": 1,
    "nodes": 1,
    "exclusive": False,
}


def task_text(spec: Mapping[str, Any], **changes: Any) -> str:
    """The task file of a canonical spec; what only repeats a default is left out."""
    fields = {**spec, **changes}
    names = [name for name in _FIRST if name in fields] + [
        name for name in fields if name not in _FIRST
    ]
    shown = {name: _written(name, fields[name]) for name in names if _is_said(name, fields[name])}
    return yaml.dump(shown, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines are written as blocks, as people write commands."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _is_said(name: str, value: Any) -> bool:
    return value not in (None, "", [], {}, ()) and value != _DEFAULTS.get(name, object())


def _written(name: str, value: Any) -> Any:
    if name == "resources":
        return {key: _written(key, part) for key, part in value.items() if _is_said(key, part)}
    if name == "min_memory" and isinstance(value, int):
        return _size(value)
    if name in _DURATIONS and isinstance(value, int | float):
        return f"{value:g}s"
    return value


def _size(size: int) -> str:
    for unit, letter in ((TIB, "T"), (GIB, "G")):
        if size % unit == 0:
            return f"{size // unit}{letter}"
    return f"{-(-size // MIB)}M"
