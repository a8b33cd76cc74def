"""What a submit sends: the task file as it is, or with fields changed on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.core.taskfile import (
    TASK_FILE_LIMIT,
    TaskFileError,
    parse_llamafactory_config,
    task_fields,
)
from llama_factory.errors import Invalid

LARGEST_FILE = 4 * TASK_FILE_LIMIT
"""Bytes that are sent; the service has the last word on what is too large."""

Part = tuple[str, bytes, str]


def task_body(
    task: str | Path | Mapping[str, Any],
    *,
    config: str | Path | None = None,
    changes: Mapping[str, str] | None = None,
) -> dict[str, Part]:
    """The multipart body of a submit.

    An unchanged file goes as its own bytes, so that the service's errors name its lines.
    """
    if isinstance(task, Mapping):
        fields = _changed(task, changes or {})
        parts = {"task": ("task.json", json.dumps(fields).encode(), "application/json")}
    else:
        name, text = _read_task(task)
        if changes:
            text = json.dumps(_changed(_fields_of(text), changes)).encode()
        parts = {"task": (name, text, "application/yaml")}
    if config is not None:
        path = Path(config)
        parts["config"] = (path.name, _read(path), "application/yaml")
    return parts


def parse_changes(texts: list[str]) -> dict[str, str]:
    """`["resources.gpus=2"]` as a mapping from dotted field to new text."""
    changes = {}
    for text in texts:
        field, mark, value = text.partition("=")
        if not mark or not all(field.split(".")):
            raise Invalid(
                f"--set needs FIELD=VALUE, but was given {text!r}.",
                code="bad_change",
                hint="Write for example --set resources.min_memory=24G or --set priority=high.",
            )
        changes[field] = value
    return changes


def _read_task(task: str | Path) -> tuple[str, bytes]:
    if isinstance(task, str) and "\n" in task:
        return "task.yaml", task.encode()
    path = Path(task)
    return path.name, _read(path)


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise Invalid(
                f"{path} has {size} bytes; a task file or config has at most {LARGEST_FILE}.",
                code="task_too_large",
                hint="Give the task file itself. Rows of data go along with --dataset-file.",
            )
        return path.read_bytes()
    except OSError as error:
        raise Invalid(
            f"The file {path} cannot be read: {error.strerror}.",
            code="file_unreadable",
            hint="Give the path of a file that exists and that you may read.",
        ) from error


def _fields_of(text: bytes) -> dict[str, Any]:
    """The task's fields as they are written; the service checks them."""
    try:
        return task_fields(text)
    except TaskFileError as error:
        raise _invalid(error) from error


def _changed(fields: Mapping[str, Any], changes: Mapping[str, str]) -> dict[str, Any]:
    """A copy of the fields with each dotted name set to its new text."""
    result: dict[str, Any] = dict(fields)
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        place = result
        for parent in parents:
            inner = place.get(parent)
            place[parent] = dict(inner) if isinstance(inner, Mapping) else {}
            place = place[parent]
        place[last] = _typed(value) if parents[:1] == ["llamafactory"] else value
    return result


def _typed(value: str) -> Any:
    """A value inside a training config is what YAML says it is: `5e-5` is a number there."""
    try:
        return parse_llamafactory_config(f"value: {value}")["value"]
    except TaskFileError as error:
        raise _invalid(error) from error


def _invalid(error: TaskFileError) -> Invalid:
    return Invalid(
        "The task is not valid.",
        code="task_invalid",
        problems=[str(problem) for problem in error.problems],
        hint="Correct it and submit again.",
    )
