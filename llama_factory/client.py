"""The client: everything that `llama-coop` and a notebook can ask of the service about jobs.

Got from `init_coop()`; then for example `coop.wait(coop.submit("task.yaml").name)`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests

from llama_factory.errors import JobEndedBadly, NotFound
from llama_factory.job import Job, split_name
from llama_factory.joblog import read_log
from llama_factory.site import API, Site, given
from llama_factory.transport import READ_TIMEOUT_S

LONG_POLL_S = 30

Jobs = list[Job]
Objects = list[dict[str, Any]]


class Coop(Site):
    """A connection to one service, as one account, with one current project.

    A job is named by its `task_id` (its latest run), by `task_id#run`, or by its public id.
    """

    def submit(
        self,
        task: str | Path | Mapping[str, Any],
        *,
        config: str | Path | None = None,
        changes: Mapping[str, str] | None = None,
        keep_impossible: bool = False,
    ) -> Job:
        """Hand in a job.

        The same content as an active job's gives that job, with `created` False; other content
        under the same `task_id` is refused.

        Args:
            task: A path, the text of a task file, or a mapping with its fields.
            config: A LLaMA-Factory YAML whose content becomes the field `llamafactory`.
            changes: Fields to change, by dotted name: `{"resources.min_memory": "24G"}`.
            keep_impossible: Queue it even if no card of today can hold it.
        """
        answer = self._hand_in(task, config, changes, {"keep_impossible": keep_impossible})
        return Job.from_json(answer.json(), created=answer.status_code == 201)

    def plan(
        self,
        task: str | Path | Mapping[str, Any],
        *,
        config: str | Path | None = None,
        changes: Mapping[str, str] | None = None,
        keep_impossible: bool = False,
    ) -> dict[str, Any]:
        """What a submit would do, without doing it: where it fits, its position, warnings."""
        wanted = {"keep_impossible": keep_impossible, "dry_run": True}
        answer: dict[str, Any] = self._hand_in(task, config, changes, wanted).json()
        return answer

    def list(
        self,
        *,
        state: str | Sequence[str] | None = None,
        project: str | None = None,
        mine: bool = False,
        all: bool = False,  # noqa: A002 - the same word as the command's
        limit: int | None = None,
    ) -> Jobs:
        """Jobs, newest first: the unfinished ones, or with `all` or `state` others too."""
        states = [state] if isinstance(state, str) else list(state or ())
        wanted: dict[str, Any] = {"project": project or self.project, "mine": mine or None}
        wanted["state"] = states or (None if all else "active")
        return [Job.from_json(item) for item in self._pages("/jobs", wanted, limit)]

    def show(self, name: str) -> Job:
        """One job."""
        return Job.from_json(self._transport.json("GET", self._path(name)))

    def why(self, name: str) -> dict[str, Any]:
        """Why a job waits: code, sentence with numbers, each card's verdict, its place in order."""
        answer: dict[str, Any] = self._transport.json("GET", f"{self._path(name)}/why")
        return answer

    def events(self, name: str) -> Objects:
        """What happened to a job, oldest first."""
        path = self._path(name).removeprefix(API)
        return list(self._pages(f"{path}/events", {}, None))

    def logs(
        self,
        name: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        attempt: int | None = None,
    ) -> Iterator[str]:
        """A job's log in pieces of text; with `follow` until the job has ended.

        Args:
            name: The job.
            follow: Go on until the job has ended, over all its later attempts.
            tail: Begin with the last so many lines.
            attempt: That attempt alone; default: the latest.
        """
        path = f"{self._path(name)}/log"
        return read_log(self._transport, path, follow=follow, tail=tail, attempt=attempt)

    def pause(self, name: str, *, keep_memory: bool = False) -> Job:
        """Hold a queued job; have a running one give its cards back, or freeze it with `keep_memory`.

        `raw["pause"]` of the answer says what that means; ask `pause_cost` before.
        """
        return self._act(name, "pause", {"keep_memory": keep_memory})

    def pause_cost(self, name: str) -> dict[str, Any]:
        """What a pause without `keep_memory` would free and repeat; its `sentence` says it in words."""
        return dict(self._transport.json("GET", f"{self._path(name)}/pause-cost"))

    def resume(self, name: str) -> Job:
        """Let a paused job go on."""
        return self._act(name, "resume")

    def keep(self, name: str, duration: str = "2h") -> Job:
        """Let a running job do nothing for so long, such as `"30m"`, without a warning or a suspension."""
        return self._act(name, "keep", {"for": duration})

    def cancel(self, name: str) -> Job:
        """End a job for good."""
        return self._act(name, "cancel")

    def clone(self, name: str, *, changes: Mapping[str, str] | None = None) -> Job:
        """Hand in a copy of a job, changed where `changes` says so."""
        return self._act(name, "clone", {"changes": dict(changes or {})})

    def wait(self, name: str, *, timeout: float | None = None, check: bool = False) -> Job:
        """Wait until a job has ended and return it.

        Raises:
            TimeoutError: It has not ended after `timeout` seconds.
            JobEndedBadly: With `check`, when it failed or was cancelled.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        job = self.show(name)
        while not job.ended:
            left = LONG_POLL_S if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{job.name} is still {job.state} after {timeout:g} s.")
            seconds = max(1, min(LONG_POLL_S, int(left)))
            job = self._next_state(job, seconds)
        if check and job.state != "SUCCEEDED":
            raise JobEndedBadly(
                f"{job.name} ended {job.state}: {job.detail or job.reason or 'no reason'}.",
                code="job_ended_badly",
                hint=f"Read its log with `llama-coop logs {job.name}`.",
            )
        return job

    def _path(self, name: str) -> str:
        return f"{API}/jobs/{self._resolve(name)}"

    def _resolve(self, name: str) -> str:
        """The public id of the job that a person calls `task_id`, `task_id#run` or by its id."""
        task_id, run = split_name(name)
        wanted = {"task_id": task_id, "run": run, "project": self.project, "limit": 2}
        found = self._transport.json("GET", f"{API}/jobs", params=given(wanted))["items"]
        if not found:
            return self._by_public_id(name, task_id, run)
        projects = sorted({str(item["project"]) for item in found})
        if len(projects) > 1:
            raise NotFound(
                f"{name!r} is the name of jobs in several projects: {', '.join(projects)}.",
                code="job_ambiguous",
                hint="Say which one with --project, LLAMA_COOP_PROJECT or the job's public id.",
            )
        return str(found[0]["id"])

    def _by_public_id(self, name: str, task_id: str, run: int | None) -> str:
        if run is None:
            try:
                return str(self._transport.json("GET", f"{API}/jobs/{task_id}")["id"])
            except NotFound:
                pass
        place = f"project {self.project}" if self.project else "your projects"
        raise NotFound(
            f"There is no job {name!r} in {place}.",
            code="job_not_found",
            status=404,
            hint="`llama-coop list --all` shows all that you may see.",
        )

    def _hand_in(
        self,
        task: str | Path | Mapping[str, Any],
        config: str | Path | None,
        changes: Mapping[str, str] | None,
        wanted: Mapping[str, bool],
    ) -> requests.Response:
        """Send a task. The key makes it safe to send it again after a broken connection."""
        from llama_factory.taskbody import task_body  # noqa: PLC0415 - start-up cost of yaml

        return self._transport.call(
            "POST",
            f"{API}/jobs",
            repeatable=True,
            headers={"Idempotency-Key": uuid4().hex},
            params=given({"project": self.project, **wanted}),
            files=task_body(task, config=config, changes=changes),
        )

    def _act(self, name: str, verb: str, body: Mapping[str, Any] | None = None) -> Job:
        raw = self._transport.json("POST", f"{self._path(name)}/{verb}", json=body or {})
        return Job.from_json(raw)

    def _next_state(self, job: Job, seconds: int) -> Job:
        raw = self._transport.json(
            "GET",
            f"{API}/jobs/{job.id}",
            params={"wait": seconds, "state": job.state},
            read_timeout=seconds + READ_TIMEOUT_S,
        )
        return Job.from_json(raw)
