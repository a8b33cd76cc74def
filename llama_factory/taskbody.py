"""What a submit sends: the task file as it is, or with fields changed on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from llama_factory.errors import InvalidTask

LARGEST_TASK = 16 * 1024

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
            text = json.dumps(_changed(_fields_of(text, name), changes)).encode()
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
            raise InvalidTask(
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
        if size > LARGEST_TASK:
            raise InvalidTask(
                f"{path} has {size} bytes; a task file or config has at most {LARGEST_TASK}.",
                code="task_too_large",
                hint="Give the task file itself. Rows of data go along with --dataset-file.",
            )
        return path.read_bytes()
    except OSError as error:
        raise InvalidTask(
            f"The file {path} cannot be read: {error.strerror}.",
            code="file_unreadable",
            hint="Give the path of a file that exists and that you may read.",
        ) from error


def _fields_of(text: bytes, name: str) -> dict[str, Any]:
    """The task's fields, all scalars as the texts they are; the service judges their types."""
    try:
        fields = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - builds only str, list, dict
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidTask(
            f"{name} is not valid YAML: {error}",
            code="task_invalid",
            hint="Correct it, or submit it without --set to have each line checked.",
        ) from error
    if isinstance(fields, dict):
        return fields
    raise InvalidTask(
        f"{name} must be a mapping of fields such as `task_id: first_run`, but is"
        f" {'empty' if not fields else 'a ' + type(fields).__name__}.",
        code="task_invalid",
        hint="See docs/task-file.md for the fields.",
    )


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
        place[last] = value
    return result
