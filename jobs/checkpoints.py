"""Checkpoints in a job's output folder: which is the newest complete one, and what would keep a run from using it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.jobfolder import JobFolder, read_small, reading

TRAINER_STATE = "trainer_state.json"
INCOMPLETE = "checkpoint-is-incomplete.txt"
"""Lies in a checkpoint while it is written; transformers itself does not look at it when it resumes."""

_NAME = re.compile(r"checkpoint-(\d{1,15})")
_LARGEST_STATE = 64 * 2**20
# With one of these and no checkpoint LLaMA-Factory refuses to start: "Output directory already exists".
_WEIGHTS = frozenset(
    {
        "adapter_model.safetensors",
        "adapter_model.bin",
        "model.safetensors.index.json",
        "model.safetensors",
        "pytorch_model.bin.index.json",
        "pytorch_model.bin",
    }
)


@dataclass(frozen=True, kw_only=True)
class Save:
    """A complete checkpoint, and when it was complete (epoch seconds)."""

    name: str
    at: float


def trainer_state(output: Path, folder: str = "") -> dict[str, Any] | None:
    """The trainer's state in `output` or in a checkpoint there; None where there is none that can be read."""
    raw = read_small(output, Path(folder, TRAINER_STATE), _LARGEST_STATE)
    try:
        state = json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        return None
    return state if isinstance(state, dict) else None


def newest_checkpoint(output: Path) -> Path | None:
    """The complete checkpoint of the highest step."""
    complete = [name for name in _checkpoints(output) if _is_complete(output, name)]
    return output / complete[-1] if complete else None


def newest_save(output: Path, known: str = "") -> Save | None:
    """The same with its time; None where it is the one that is `known`, which costs only a look at the names."""
    for name in reversed(_checkpoints(output)):
        if name == known:
            return None
        if _is_complete(output, name):
            return _save(output, name)
    return None


def prepare_to_resume(output: Path, *, can_resume: bool = True) -> Path | None:
    """Set aside what would stop the next run, and return the checkpoint that it will go on from.

    LLaMA-Factory goes on from the checkpoint with the highest number, complete or not; so those that were not
    finished get another name. Without any checkpoint, weights that an earlier run left would make it refuse to start;
    they move to a folder of their own. So do all checkpoints of a training that cannot go on from one. Nothing is
    deleted.
    """
    if not can_resume:
        _set_aside(output, _checkpoints(output), "earlier-run")
    for name in _checkpoints(output):
        if not _is_complete(output, name):
            _set_aside(output, [name], "incomplete")
    newest = newest_checkpoint(output)
    if newest is None:
        _set_aside(output, sorted(_WEIGHTS & set(_names(output))), "earlier-run")
    return newest


def _checkpoints(output: Path) -> list[str]:
    found = [(int(match[1]), name) for name in _names(output) if (match := _NAME.fullmatch(name))]
    return [name for _, name in sorted(found)]


def _names(output: Path) -> list[str]:
    try:
        with JobFolder.open(output) as folder:
            return folder.names()
    except OSError:
        return []


def _is_complete(output: Path, name: str) -> bool:
    """The state is written last, and the marker removed after it."""
    with reading(output, Path(name, INCOMPLETE)) as marker:
        return marker is None and trainer_state(output, name) is not None


def _save(output: Path, name: str) -> Save | None:
    with reading(output, Path(name, TRAINER_STATE)) as state:
        return None if state is None else Save(name=name, at=os.fstat(state).st_mtime)


def _set_aside(output: Path, names: list[str], prefix: str) -> None:
    if not names:
        return
    with JobFolder.open(output) as folder:
        taken = set(folder.names())
        number = next(n for n in range(1, len(taken) + 2) if f"{prefix}-{n}" not in taken)
        with folder.subfolder(f"{prefix}-{number}") as aside:
            for name in names:
                folder.rename(name, name, into=aside)
