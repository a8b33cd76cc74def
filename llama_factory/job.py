"""A job as the API tells it, with attributes for what everybody needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from jobs.core.states import TERMINAL, JobState


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One job at the moment of the answer.

    `raw` is the API's whole object; docs/api.md explains each of its fields.
    `created` is None unless the job comes from a submit: then False says that it was there before.
    """

    id: str
    task_id: str
    run: int
    project: str
    state: JobState
    outcome: str | None
    reason: str | None
    detail: str | None  # one sentence
    exit_code: int | None
    position: int | None
    url: str
    raw: Mapping[str, Any] = field(repr=False, compare=False)
    created: bool | None = field(default=None, compare=False)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], *, created: bool | None = None) -> Self:
        """The job in an answer of the API."""
        return cls(
            id=raw["id"],
            task_id=raw["task_id"],
            run=raw["run"],
            project=raw["project"],
            state=JobState(raw["state"]),
            outcome=raw.get("outcome"),
            reason=raw.get("reason"),
            detail=raw.get("detail"),
            exit_code=raw.get("exit_code"),
            position=raw.get("position"),
            url=raw.get("url", ""),
            raw=raw,
            created=created,
        )

    @property
    def name(self) -> str:
        """What a person calls it: its `task_id`, with the run from the second one on."""
        return self.task_id if self.run == 1 else f"{self.task_id}#{self.run}"

    @property
    def ended(self) -> bool:
        """Whether it has succeeded, failed or been cancelled."""
        return self.state in TERMINAL

    @property
    def why(self) -> str | None:
        """The sentence that says why it does not run now; None where it does, or has ended."""
        found = self.raw.get("why")
        return found["sentence"] if found else None

    def time(self, name: str) -> datetime | None:
        """One of `submitted_at`, `started_at`, `finished_at`, with its time zone."""
        text = self.raw.get(name)
        return datetime.fromisoformat(text) if text else None


def split_name(name: str) -> tuple[str, int | None]:
    """`task_id#run` as its two parts; the run is None where it is not given."""
    task_id, mark, run = name.rpartition("#")
    if mark and run.isdigit():
        return task_id, int(run)
    return name, None
