"""The task in a request: the multipart part `task`, or the body itself, as YAML or JSON."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from jobs.api.problems import Invalid
from jobs.core.problems import TaskFileError
from jobs.core.taskfile import (
    CONFIG_LIMIT,
    TASK_FILE_LIMIT,
    JobSpec,
    parse_llamafactory_config,
    parse_task,
)
from jobs.refusals import Refused

_PLACEHOLDER = "config"
_JSON_SPACE = " \t\r\n"


def task_in(request: HttpRequest) -> JobSpec:
    """The task that a request carries; a training config in the part `config` becomes its `llamafactory`.

    Raises:
        Refused: there is none, it is not valid, or the two do not go together.
    """
    task, config = _texts(request)
    try:
        if config is None:
            return parse_task(task)
        training = parse_llamafactory_config(config)
        spec = parse_task(_with_placeholder(task))
        return spec.model_copy(update={"llamafactory": training})
    except TaskFileError as error:
        raise invalid_task(error) from error


def invalid_task(error: TaskFileError) -> Refused:
    """What is wrong with a task, field by field, as a refusal."""
    return Refused(
        code="task_invalid",
        title=_("The task is not valid"),
        detail=" ".join(str(problem) for problem in error.problems),
        hint=_("Correct the fields named and submit again."),
        problems=error.problems,
    )


def _texts(request: HttpRequest) -> tuple[bytes, bytes | None]:
    kind = request.content_type or ""
    if kind.startswith("multipart/"):
        task, config = (
            _part(request, "task", TASK_FILE_LIMIT),
            _part(request, "config", CONFIG_LIMIT),
        )
    else:
        task, config = request.body, None
    if task is None or not task.strip():
        raise _no_task()
    return task, config


def _part(request: HttpRequest, name: str, limit: int) -> bytes | None:
    """A part of the form, sent as a file or as a field; one byte above the limit, so that it is refused."""
    file = request.FILES.get(name)
    if file is not None:
        content: bytes = file.read(limit + 1)
        return content
    text = request.POST.get(name)
    return None if text is None else text.encode()


def _with_placeholder(task: bytes) -> bytes:
    """The task's text with a line more, so that its own line numbers stay right.

    A task that has a `llamafactory` or a `command` already is then refused by the usual checks.
    """
    text = task.decode("utf-8", "replace").strip(_JSON_SPACE)
    if not text.startswith("{"):
        return task.rstrip() + f"\nllamafactory: {_PLACEHOLDER}\n".encode()
    try:
        fields: dict[str, Any] = json.loads(text)
    except ValueError:
        return task  # the gate says what is wrong with it
    return json.dumps({**fields, "llamafactory": _PLACEHOLDER}).encode()


def _no_task() -> Invalid:
    return Invalid(
        _("The request has no task."),
        _("Send the task file as the multipart part “task”, or as the body itself (YAML or JSON)."),
        status=422,
        code="task_missing",
    )
