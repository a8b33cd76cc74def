"""What a job is asked to be: the checked, normalised content of a task file."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from jobs.core import fields
from jobs.core.problems import PRINTABLE_HINT, Problem, TaskFileError, shortened, unprintable
from jobs.core.states import Priority

Path = tuple[int | str, ...]
"""Where a value stands in a task file, for example ("resources", "min_memory") or ("depends_on", 1)."""


class Resources(BaseModel):
    """What a job needs of the cards it runs on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_memory: fields.Size | None = Field(
        default=None, description="GPU memory that the job needs on each of its cards; G means GiB"
    )
    gpu_type: fields.GpuType | None = Field(
        default=None,
        description="words of the card's model name, such as A100, RTX4090 or A100-80G",
    )
    gpus: fields.CardCount = Field(default=1, description="cards on each node")
    nodes: fields.CardCount = Field(default=1, description="machines")
    exclusive: fields.Flag = Field(
        default=False, description="whether to share the cards with no other job"
    )


class JobSpec(BaseModel):
    """The content of a task file: sizes in bytes, durations in seconds, None where nothing was said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task_id: fields.TaskId = Field(description="the job's name; one active job of a project has it")
    priority: fields.PriorityName = Field(
        default=Priority.MEDIUM,
        description="how soon, within the project: low, medium or high",
        json_schema_extra={"default": "medium"},
    )
    resources: Resources = Field(default=Resources(), description="what the job needs of its cards")
    command: fields.Command | None = Field(
        default=None,
        description="the shell command to run; exactly one of command and llamafactory",
    )
    llamafactory: fields.Training | None = Field(
        default=None,
        description="LLaMA-Factory's training settings, or the name of an uploaded YAML",
    )
    project: fields.Name | None = Field(
        default=None, description="the project that the job belongs to"
    )
    dataset: fields.Name | None = Field(default=None, description="the name of an uploaded dataset")
    workdir: fields.Workdir | None = Field(
        default=None, description="the absolute path of the directory that the command runs in"
    )
    launcher: fields.Launcher = Field(
        default="none", description="what starts the command on many cards"
    )
    env: fields.Variables = Field(
        default={}, description="environment variables, one NAME: value a line"
    )
    time_limit: fields.Duration | None = Field(
        default=None, description="when to end a run, such as 4h"
    )
    est_time: fields.Duration | None = Field(
        default=None, description="how long it may take, such as 2h"
    )
    preemptible: fields.Flag | None = Field(
        default=None, description="whether the job may be stopped and continued later"
    )
    max_attempts: fields.AttemptCount = Field(
        default=3, description="runs before the job counts as failed"
    )
    retry_on: fields.RetryReasons = Field(
        default=("lost",), description="what to try again after: a list of lost, failed and oom"
    )
    depends_on: fields.References = Field(
        default=(),
        description="the task_id or task_id#run of jobs that must succeed first, as a list",
    )
    notify: fields.Addresses = Field(
        default=(), description="who is told when the job ends, as a list"
    )

    @model_validator(mode="after")
    def _fields_go_together(self) -> Self:
        for _, message, hint in _combination_errors(self.model_dump()):
            raise fields.field_error(message, hint)
        return self

    @classmethod
    def from_canonical(cls, stored: Mapping[str, Any]) -> JobSpec:
        """The spec that `canonical` described.

        Raises:
            TaskFileError: with the same problems, less their lines, as for a task file.
        """
        return checked_spec(stored, {})

    def canonical(self) -> dict[str, Any]:
        """All fields, normalised, as JSON can hold them: bytes, seconds, lower-case names."""
        return self.model_dump(mode="json")

    def content_hash(self) -> str:
        """SHA-256 (hexadecimal) of what was asked; two files that ask for the same have the same.

        Defaults are left out, so that a field that a later release adds changes no old hash.
        """
        asked = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(asked, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def with_min_memory(self, size: int) -> JobSpec:
        """The same spec with the estimated memory (bytes a card) filled in."""
        resources = self.resources.model_copy(update={"min_memory": size})
        return self.model_copy(update={"resources": resources})


def checked_spec(raw: Mapping[str, Any], lines: Mapping[Path, int]) -> JobSpec:
    """The spec that the fields in `raw` (written or canonical form) make up.

    Raises:
        TaskFileError: with every problem; `lines` says in which line each field stands.
    """
    problems = [_problem(path, lines, *texts) for path, *texts in _combination_errors(raw)]
    problems += [_problem(path, lines, wrong, PRINTABLE_HINT) for path, wrong in _unprintable(raw)]
    try:
        spec = JobSpec.model_validate(raw)
    except ValidationError as error:
        # Those without a place are the combinations again.
        problems += [_field_problem(each, lines) for each in error.errors() if each["loc"]]
    if problems:
        raise TaskFileError(sorted(problems, key=lambda each: each.line or 0))
    return spec


def _combination_errors(given: Mapping[str, Any]) -> Iterator[tuple[Path, str, str]]:
    """What is wrong between fields: (where, what, what to do)."""
    command, training = (given.get(name) is not None for name in ("command", "llamafactory"))
    if command and training:
        hint = "allowed is exactly one of them: leave one out"
        yield ("llamafactory",), "both command and llamafactory are given", hint
    if not command and not training:
        hint = "exactly one of them is needed: write for example command: python train.py"
        yield ("command",), "neither command nor llamafactory is given", hint
    resources = given.get("resources") or {}
    if command and isinstance(resources, Mapping) and resources.get("min_memory") is None:
        hint = (
            "a command's need cannot be guessed: write for example min_memory: 16G below resources"
        )
        yield ("resources", "min_memory"), "no min_memory is given", hint
    if training and given.get("launcher", "none") != "none":
        hint = "LLaMA-Factory starts its own workers: leave launcher out"
        yield ("launcher",), "launcher is given together with llamafactory", hint


def _unprintable(raw: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Texts that hold what is not text: a form, or JSON, may bring them past the gate of YAML."""
    left: list[tuple[Path, Any]] = [((), raw)]
    while left:
        path, value = left.pop()
        if isinstance(value, Mapping):
            left += [((*path, str(key)), each) for key, each in value.items()]
        elif isinstance(value, list | tuple):
            left += [((*path, at), each) for at, each in enumerate(value)]
        elif isinstance(value, str) and (wrong := unprintable(value)):
            yield path, wrong


def _field_problem(error: ErrorDetails, lines: Mapping[Path, int]) -> Problem:
    path = tuple(part for part in error["loc"] if part != "[key]")
    if error["type"] == "field":
        context = error["ctx"]
        return _problem(path, lines, context["message"], context["hint"])
    if error["type"] == "extra_forbidden":
        return _problem(path, lines, *_unknown_name(path))
    if error["type"] == "missing":
        return _problem(path, lines, f"{path[-1]} is missing", f"write it: {_description(path)}")
    kinds = {"model_type": "a mapping", "dict_type": "a mapping", "tuple_type": "a list"}
    expected = kinds.get(error["type"], "what is expected here")
    message = f"{shortened(error['input'])} is not {expected}"
    return _problem(path, lines, message, f"write it as {expected}: {_description(path)}")


def _problem(path: Path, lines: Mapping[Path, int], message: str, hint: str) -> Problem:
    places = (path[:length] for length in range(len(path), 0, -1))
    line = next((lines[place] for place in places if place in lines), None)
    return Problem(line=line, field=dotted(path), message=message, hint=hint)


def dotted(path: Path) -> str:
    """A path as people write it: "resources.min_memory", "depends_on[1]"."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _unknown_name(path: Path) -> tuple[str, str]:
    name, inside = str(path[-1]), len(path) > 1
    here, there = (Resources, JobSpec) if inside else (JobSpec, Resources)
    message = f"{shortened(name)} is no field of {'resources' if inside else 'a task file'}"
    if name in there.model_fields:
        place = "the first column, outside resources" if inside else "resources, indented"
        return message, f"it belongs below {place}" if not inside else f"it belongs in {place}"
    near = difflib.get_close_matches(name.lower()[:64], here.model_fields, n=1)
    if near:
        return message, f"did you mean {near[0]}? Otherwise leave it out"
    return message, f"allowed are {', '.join(here.model_fields)}"


def _description(path: Path) -> str:
    model = Resources if path[0] == "resources" and len(path) > 1 else JobSpec
    name = str(path[1] if model is Resources else path[0])
    return model.model_fields[name].description or name
