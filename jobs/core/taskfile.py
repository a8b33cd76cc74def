"""From the text of a task file to a `JobSpec`, or to the list of what is wrong with it.

The command line, the browser form, the REST interface and Python all come through here: `yamlgate` lets a small plain
document through as texts with their lines; `jobspec` types them field by field.
"""

from __future__ import annotations

import math
import re
from typing import Any

from jobs.core.fields import TASK_ID
from jobs.core.gputypes import matches_gpu_type
from jobs.core.jobspec import JobSpec, Path, Resources, checked_spec, dotted
from jobs.core.problems import Problem, TaskFileError, shortened
from jobs.core.yamlgate import ListNode, MappingNode, Node, TextNode, read_document

__all__ = [
    "CONFIG_LIMIT",
    "TASK_FILE_LIMIT",
    "TASK_ID",
    "JobSpec",
    "Problem",
    "Resources",
    "TaskFileError",
    "matches_gpu_type",
    "parse_llamafactory_config",
    "parse_task",
    "task_fields",
    "task_schema",
]

TASK_FILE_LIMIT = 16 * 1024
CONFIG_LIMIT = 64 * 1024


def parse_task(text: str | bytes) -> JobSpec:
    """The spec that a task file (YAML, or JSON, which is a part of YAML) describes.

    Raises:
        TaskFileError: with every problem; no input raises anything else.
    """
    root = read_document(text, limit=TASK_FILE_LIMIT)
    lines: dict[Path, int] = {}
    return checked_spec(_written(root, (), lines), lines)


def task_fields(text: str | bytes) -> dict[str, Any]:
    """The fields of a task file as they are written, unchecked: for changing some before the check.

    Raises:
        TaskFileError: the text is no such document; no input raises anything else.
    """
    return _written(read_document(text, limit=TASK_FILE_LIMIT), (), {})


def parse_llamafactory_config(text: str | bytes) -> dict[str, Any]:
    """The settings in a LLaMA-Factory training YAML, typed by YAML 1.2's core rules.

    Raises:
        TaskFileError: with every problem; no input raises anything else.
    """
    root = read_document(text, limit=CONFIG_LIMIT, what="training config")
    return _typed_mapping(root, ())


def task_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a task file, for editors and forms."""
    schema = JobSpec.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "llama-coop task file",
        "oneOf": [{"required": ["command", "resources"]}, {"required": ["llamafactory"]}],
    }


def _written(root: MappingNode, path: Path, lines: dict[Path, int]) -> dict[str, Any]:
    """The fields as texts. A field left empty, or given as null or ~, counts as not given."""
    fields: dict[str, Any] = {}
    for entry in root.entries:
        place = (*path, entry.key)
        lines[place] = entry.line
        if isinstance(entry.value, TextNode) and _is_null(entry.value):
            continue
        if place == ("llamafactory",) and isinstance(entry.value, MappingNode):
            fields[entry.key] = _typed_mapping(entry.value, place)
        elif place == ("resources",) and isinstance(entry.value, MappingNode):
            fields[entry.key] = _written(entry.value, place, lines)
        else:
            fields[entry.key] = _texts(entry.value, place, lines)
    return fields


def _texts(node: Node, path: Path, lines: dict[Path, int]) -> Any:
    lines.setdefault(path, node.line)
    if isinstance(node, TextNode):
        return node.text
    if isinstance(node, ListNode):
        return [_texts(item, (*path, index), lines) for index, item in enumerate(node.items)]
    for entry in node.entries:
        lines[(*path, entry.key)] = entry.line
    return {entry.key: _texts(entry.value, (*path, entry.key), lines) for entry in node.entries}


# --- YAML 1.2's core schema: what a plain scalar in a training config is ---------------------------

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile("[-+]?[0-9]+")
_BASED = {"0o": (8, re.compile("0o[0-7]+")), "0x": (16, re.compile("0x[0-9a-fA-F]+"))}
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LONGEST_NUMBER = 40


def _typed_mapping(node: MappingNode, path: Path) -> dict[str, Any]:
    return {entry.key: _typed(entry.value, (*path, entry.key)) for entry in node.entries}


def _typed(node: Node, path: Path) -> Any:
    if isinstance(node, MappingNode):
        return _typed_mapping(node, path)
    if isinstance(node, ListNode):
        return [_typed(item, (*path, index)) for index, item in enumerate(node.items)]
    return _typed_scalar(node, path) if node.plain else node.text


def _typed_scalar(node: TextNode, path: Path) -> Any:
    text = node.text
    if _is_null(node):
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[:2] in _BASED and _BASED[text[:2]][1].fullmatch(text):
        return int(_short_number(node, path), _BASED[text[:2]][0])
    if _INTEGER.fullmatch(text):
        return int(_short_number(node, path))
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        return _finite(node, path)
    return text


def _is_null(node: TextNode) -> bool:
    return node.plain and node.text in _NULLS


def _short_number(node: TextNode, path: Path) -> str:
    if len(node.text) > _LONGEST_NUMBER:
        raise _number_error(node, path, f"the number has {len(node.text)} digits")
    return node.text


def _finite(node: TextNode, path: Path) -> float:
    number = math.inf if _NOT_FINITE.fullmatch(node.text) else float(_short_number(node, path))
    if not math.isfinite(number):
        raise _number_error(node, path, f"{shortened(node.text)} is not a finite number")
    return number


def _number_error(node: TextNode, path: Path, message: str) -> TaskFileError:
    hint = "allowed are numbers that a computer can hold; put quotes around what is meant as text"
    return TaskFileError([Problem(line=node.line, field=dotted(path), message=message, hint=hint)])
