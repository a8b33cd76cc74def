"""The types of a task file's fields, each of which reads two forms.

In the *written* form every value is a text ("16G", "4h", "true"); in the *canonical* form, which is stored, sizes are
bytes, durations are seconds, counts are numbers and flags are booleans.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from jobs.core.problems import shortened
from jobs.core.states import Priority
from jobs.core.units import LARGEST_SIZE, LONGEST_DURATION, UnitError, parse_duration, parse_size

TASK_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
LAUNCHERS = ("none", "torchrun")
RETRY_REASONS = ("lost", "failed", "oom")
RESERVED_VARIABLES = ("COOP_", "LLAMA_COOP_", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
"""Beginnings of names of environment variables that a job gets from us and may not set."""

_PRIORITIES = tuple(each.name.lower() for each in Priority)
_LONGEST_LIST = 32


def field_error(message: str, hint: str) -> PydanticCustomError:
    """What is wrong and what was given; then what is allowed and what to do."""
    # The texts travel as context because pydantic would read braces in a template.
    return PydanticCustomError("field", "{message}; {hint}.", {"message": message, "hint": hint})


def _matching(pattern: str, hint: str) -> Callable[[object], str]:
    """A reader of texts that match the whole pattern."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise field_error(f"{shortened(value)} is not a text", hint)
        if not value.strip():
            raise field_error("the value is empty", hint)
        if re.fullmatch(pattern, value) is None:
            raise field_error(f"{shortened(value)} is not allowed", hint)
        return value

    return read


def _measure(parse: Callable[[str], float], largest: float, hint: str) -> Callable[[object], float]:
    """A reader of sizes or durations: a text with a unit, or a number in bytes or seconds."""

    def read(value: object) -> float:
        number = value
        if isinstance(value, str):
            try:
                number = parse(value)
            except UnitError as error:
                raise field_error(error.message, error.hint) from None
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise field_error(f"{shortened(value)} is not a text", hint)
        if not 0 < number <= largest:
            raise field_error(f"{shortened(value)} is out of range", hint)
        return number

    return read


def _whole_number(largest: int) -> Callable[[object], int]:
    hint = f"allowed is a whole number from 1 to {largest}"

    def read(value: object) -> int:
        number = value
        if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
            number = int(value)
        if not isinstance(number, int) or isinstance(number, bool):
            raise field_error(f"{shortened(value)} is not a whole number", hint)
        if not 1 <= number <= largest:
            raise field_error(f"{number} is out of range", hint)
        return number

    return read


def _choice(*allowed: str) -> Callable[[object], str]:
    hint = f"allowed are {', '.join(allowed)}: write one of them"

    def read(value: object) -> str:
        if not isinstance(value, str) or value.lower() not in allowed:
            raise field_error(f"{shortened(value)} is not known", hint)
        return value.lower()

    return read


def _read_flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    return _choice("true", "false")(value) == "true"


def _read_priority(value: object) -> Priority:
    if isinstance(value, Priority):
        return value
    return Priority[_choice(*_PRIORITIES)(value).upper()]


def _as_list(value: object) -> object:
    """A single text counts as a list of one."""
    items = [value] if isinstance(value, str) else value
    if isinstance(items, list | tuple) and len(items) > _LONGEST_LIST:
        hint = f"allowed are at most {_LONGEST_LIST}: leave some out"
        raise field_error(f"{len(items)} values are given", hint)
    return items


def _once(items: tuple[str, ...]) -> tuple[str, ...]:
    """What is given twice counts once."""
    return tuple(dict.fromkeys(items))


def _read_command(value: object) -> str:
    hint = "write the shell command as one text, for example below command: |"
    return _matching(r"(?s).*", hint)(value).rstrip("\n")


def _read_variable_name(value: object) -> str:
    hint = "allowed are letters, digits and _, not first a digit"
    name = _matching("[A-Za-z_][A-Za-z0-9_]{0,127}", hint)(value)
    if name.startswith(RESERVED_VARIABLES):
        hint = (
            "the names of the cards and of this service are set when the job starts: leave it out"
        )
        raise field_error(f"the variable {shortened(name)} is reserved", hint)
    return name


def _read_variable_value(value: object) -> str:
    if not isinstance(value, str):
        raise field_error(f"{shortened(value)} is not a text", "write NAME: value, one a line")
    return value


def _read_training(value: object) -> object:
    if isinstance(value, dict) and value:
        return value
    if isinstance(value, str):
        return _read_name(value)
    hint = "write LLaMA-Factory's settings as a mapping, or the name of an uploaded YAML"
    raise field_error(f"{shortened(value)} is not a training config", hint)


_read_task_id = _matching(
    TASK_ID, "allowed are 1 to 64 letters, digits, '.', '_' and '-', first a letter or a digit"
)
_read_reference = _matching(TASK_ID + "(?:#[1-9][0-9]{0,8})?", "write a task_id or task_id#run")
_read_name = _matching(
    r"(?!\.)[^/\\\x00-\x1f\x7f]{1,64}",
    "allowed are up to 64 characters without slashes and line ends, first no dot",
)
_read_gpu_type = _matching(
    "[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}",
    "write words of the card's model name, such as A100 or A100-80G",
)
_read_address = _matching(r"[!-~]{1,254}", "write an address without spaces")
_read_workdir = _matching(
    r"(?s)/[^\x00-\x1f\x7f]{0,1023}", "write an absolute path, which begins with /"
)

TaskId = Annotated[
    str,
    BeforeValidator(_read_task_id),
    WithJsonSchema({"type": "string", "pattern": f"^{TASK_ID}$"}),
]
PriorityName = Annotated[
    Priority,
    BeforeValidator(_read_priority),
    PlainSerializer(lambda priority: priority.name.lower(), return_type=str),
    WithJsonSchema({"type": "string", "enum": list(_PRIORITIES)}),
]
Size = Annotated[
    int,
    BeforeValidator(_measure(parse_size, LARGEST_SIZE, "write a size above 0, such as 16G")),
    WithJsonSchema({"type": "string", "examples": ["16G", "512M"]}),
]
Duration = Annotated[
    float,
    BeforeValidator(
        _measure(parse_duration, LONGEST_DURATION, "write a duration above 0, such as 4h")
    ),
    WithJsonSchema({"type": "string", "examples": ["90s", "30m", "4h", "2d"]}),
]
CardCount = Annotated[
    int,
    BeforeValidator(_whole_number(1024)),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 1024}),
]
AttemptCount = Annotated[
    int,
    BeforeValidator(_whole_number(100)),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 100}),
]
Flag = Annotated[bool, BeforeValidator(_read_flag)]
GpuType = Annotated[str, BeforeValidator(_read_gpu_type)]
Name = Annotated[str, BeforeValidator(_read_name)]
Command = Annotated[str, BeforeValidator(_read_command)]
Training = Annotated[dict[str, Any] | str, BeforeValidator(_read_training)]
Workdir = Annotated[str, BeforeValidator(_read_workdir)]
Launcher = Annotated[
    str,
    BeforeValidator(_choice(*LAUNCHERS)),
    WithJsonSchema({"type": "string", "enum": list(LAUNCHERS)}),
]
Variables = dict[
    Annotated[str, BeforeValidator(_read_variable_name)],
    Annotated[str, BeforeValidator(_read_variable_value)],
]


def _list_schema(item: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item}]})


References = Annotated[
    tuple[Annotated[str, BeforeValidator(_read_reference)], ...],
    BeforeValidator(_as_list),
    AfterValidator(_once),
    _list_schema({"type": "string"}),
]
RetryReasons = Annotated[
    tuple[Annotated[str, BeforeValidator(_choice(*RETRY_REASONS))], ...],
    BeforeValidator(_as_list),
    AfterValidator(_once),
    _list_schema({"type": "string", "enum": list(RETRY_REASONS)}),
]
Addresses = Annotated[
    tuple[Annotated[str, BeforeValidator(_read_address)], ...],
    BeforeValidator(_as_list),
    AfterValidator(_once),
    _list_schema({"type": "string"}),
]
