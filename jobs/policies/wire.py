"""Waiting jobs as JSON, between the service and the process that runs a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from operator import attrgetter
from typing import Any

from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import JobView
from jobs.core.states import Priority

_NAMES = tuple(field.name for field in fields(JobView))
_PRIORITY = _NAMES.index("priority")
_values = attrgetter(*_NAMES)


def pack(job: JobView) -> Sequence[Any]:
    """The job's fields in their order; infinity stays infinity, as Python's JSON writes it."""
    packed: Sequence[Any] = _values(job)
    return packed


def unpack(values: Sequence[Any]) -> JobView:
    """The job that `pack` was given."""
    told = dict(zip(_NAMES, values, strict=True))
    return JobView(**told | {"priority": Priority(values[_PRIORITY])})


def pack_rules(rules: Rules) -> dict[str, Any]:
    """The scheduler's numbers."""
    return asdict(rules)


def unpack_rules(told: dict[str, Any]) -> Rules:
    """The numbers that `pack_rules` was given."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
    return Rules(**values)
