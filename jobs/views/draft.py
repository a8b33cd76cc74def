"""The form of a new job: what was typed, kept as typed, and the task that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import yaml
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _

from jobs.core.jobspec import JobSpec, checked_spec
from jobs.core.problems import Problem, TaskFileError
from jobs.core.states import Priority
from jobs.core.taskfile import CONFIG_LIMIT, TASK_FILE_LIMIT, parse_llamafactory_config, parse_task
from jobs.core.units import format_size
from jobs.models import Job
from jobs.views.tasktext import task_text

TABS = ("upload", "config", "text")

STARTER = """\
task_id: my_first_job
priority: medium
resources:
  min_memory: 16G
command: |
  python src/train.py --model qwen-7b --method lora --dataset my_data
"""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The form's fields as texts; `tab` says which of them make the task."""

    tab: str = "upload"
    project: str = ""
    dataset: str = ""
    task: str = ""  # a task file: tabs upload and text
    config: str = ""  # a LLaMA-Factory training YAML: tab config, with the panel below
    task_id: str = ""
    priority: str = Priority.MEDIUM.name.lower()
    min_memory: str = ""
    gpu_type: str = ""
    gpus: str = ""
    time_limit: str = ""
    exclusive: str = ""
    keep_impossible: str = ""
    parent: str = ""  # the job that this repeats with a change


CHANGES = ("resources.min_memory", "resources.gpu_type", "resources.exclusive")
"""Fields that a link to the form may set, beside those of `llamafactory`."""

_OF_CONFIG = "llamafactory."

_NAMES = tuple(field.name for field in fields(Draft))


def posted(request: HttpRequest) -> Draft:
    """What the browser sent. Line ends become those of a file; an uploaded file takes the place of its text."""
    draft = _from(request.POST)
    for name, limit in (("task", TASK_FILE_LIMIT), ("config", CONFIG_LIMIT)):
        file = request.FILES.get(f"{name}_file")
        if file is not None:
            text = file.read(limit + 1).decode("utf-8", "replace")
            draft = replace(draft, **{name: text.replace("\r\n", "\n")})
    return draft


def changes_in(query: QueryDict) -> dict[str, str]:
    """The fields that a link to the form sets, by dotted name."""
    given = query.dict().items()
    return {
        name: str(value) for name, value in given if name in CHANGES or name.startswith(_OF_CONFIG)
    }


def repeated(job: Job, changes: Mapping[str, str] | None = None) -> Draft:
    """The form filled in with a job that is to run again.

    `changes` are new values for some of `CHANGES`, where an empty one leaves the field out, or for settings of its
    training config. Where the job has not ended, a changed copy gets a name of its own.
    """
    given = changes or {}
    resources = {**job.spec.get("resources", {}), "min_memory": job.min_memory} | _changed(given)
    name = f"{job.task_id[:59]}_copy" if changes and job.is_active else job.task_id
    base = Draft(project=job.project.slug, parent=job.pk)
    config = job.spec.get("llamafactory")
    if not isinstance(config, Mapping):
        text = task_text(job.spec, task_id=name, resources=resources)
        return replace(base, tab="text", task=text)
    memory_wanted = resources["min_memory"]
    return replace(
        base,
        tab="config",
        config=yaml.safe_dump({**config, **_settings(given)}, sort_keys=False, allow_unicode=True),
        task_id=name,
        dataset=job.spec.get("dataset") or "",
        priority=Priority(job.priority).name.lower(),
        min_memory=memory_wanted if isinstance(memory_wanted, str) else format_size(memory_wanted),
        gpu_type=resources.get("gpu_type") or "",
        gpus=str(job.gpus) if job.gpus > 1 else "",
        exclusive="yes" if resources.get("exclusive") else "",
    )


def _changed(changes: Mapping[str, str]) -> dict[str, str | bool]:
    """New values of resources, by their names there."""
    texts = {
        name.removeprefix("resources."): text for name, text in changes.items() if name in CHANGES
    }
    return {name: text == "true" if name == "exclusive" else text for name, text in texts.items()}


def _settings(changes: Mapping[str, str]) -> dict[str, Any]:
    """New values of the training config, by their names there."""
    return {
        name.removeprefix(_OF_CONFIG): _typed(text)
        for name, text in changes.items()
        if name.startswith(_OF_CONFIG)
    }


def _typed(text: str) -> Any:
    """What YAML reads in it; what it does not read stays as it was typed, for its owner to correct."""
    try:
        return parse_llamafactory_config(f"value: {text}")["value"]
    except TaskFileError:
        return text


def spec_of(draft: Draft) -> JobSpec:
    """The task that the form makes.

    Raises:
        TaskFileError: with every problem; a line is one of the text that the tab shows.
    """
    if draft.tab == "config":
        return _spec_of_config(draft)
    spec = parse_task(draft.task)
    if draft.dataset and spec.dataset not in (None, draft.dataset):
        raise TaskFileError([_two_datasets(spec.dataset or "", draft.dataset)])
    return spec.model_copy(update={"dataset": draft.dataset}) if draft.dataset else spec


def _spec_of_config(draft: Draft) -> JobSpec:
    config = parse_llamafactory_config(draft.config)
    resources = {
        "min_memory": draft.min_memory,
        "gpu_type": draft.gpu_type,
        "gpus": draft.gpus,
        "exclusive": "true" if draft.exclusive else "",
    }
    given: dict[str, Any] = {
        "task_id": draft.task_id.strip(),
        "priority": draft.priority,
        "resources": _filled(resources),
        "llamafactory": config,
        "dataset": draft.dataset,
        "time_limit": draft.time_limit,
    }
    return checked_spec(_filled(given), {})


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was left empty: an empty field counts as not given, as in a task file."""
    texts = {
        name: value.strip() if isinstance(value, str) else value for name, value in values.items()
    }
    return {name: value for name, value in texts.items() if value not in ("", None)}


def _two_datasets(in_task: str, chosen: str) -> Problem:
    return Problem(
        line=None,
        field="dataset",
        message=_("the task names the dataset %(task)s, and %(chosen)s is chosen below")
        % {"task": in_task, "chosen": chosen},
        hint=_("choose the same one, or take the line out of the task"),
    )


def _from(data: QueryDict) -> Draft:
    given = {name: data.get(name, "").replace("\r\n", "\n") for name in _NAMES}
    if given["tab"] not in TABS:
        given["tab"] = TABS[0]
    return Draft(**given)
