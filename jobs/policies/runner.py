"""One policy kept loaded: asked when something has changed, loaded again after its file has, and given time after a
failure. For one thread; whoever must not wait goes through `jobs/policies/host.py`.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpus.isolated import Backoff
from jobs.core.policy import default_key
from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import JobView
from jobs.policies.loading import PolicyFailed
from jobs.policies.process import PolicyProcess
from jobs.policies.source import PolicyRefused, Source, examine, source_of

MOST_TASKS = 10_000
"""A policy is asked about so many at most, the first in the default order; the others follow behind them."""

Ranks = Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long what may take, in seconds."""

    call: float = 5.0  # one `schedule`
    load: float = 30.0  # executing the file and making the policy
    rest: float = (
        0.2  # between an answer and the next question; at least as long as the answer took
    )
    refresh: float = (
        10.0  # after which it is asked again though nothing has changed: it may look at the clock
    )
    look: float = 1.0  # between two looks at the file
    settle: float = (
        0.3  # for which a changed file must stay as it is: an editor may not have written all of it
    )
    first_retry: float = 1.0  # after a failure; the wait doubles each time
    longest_retry: float = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The order to use, None for the default one; `problem` says why that is, and goes on from "The policy X"."""

    ranks: Ranks | None = None
    problem: str = ""


class Runner:
    """Runs the policy that a setting names; `choice` tells one use of a setting from another."""

    def __init__(
        self, setting: str, choice: int, *, base: Path, patience: Patience, rules: Rules
    ) -> None:
        self.choice = choice
        self._setting, self._base, self._patience, self._rules = setting, base, patience, rules
        self._source: Source | None = None
        self._process: PolicyProcess | None = None
        self._interrupted = False
        self._version: tuple[int, ...] | None = None  # of the file that was loaded, or tried
        self._changed: tuple[tuple[int, ...], float] | None = (
            None  # another version, and since when
        )
        self._backoff = Backoff(patience.first_retry, patience.longest_retry)
        self._outcome = Outcome()
        self._rest_until = self._fresh_until = 0.0

    def step(self, tasks: Sequence[JobView]) -> Outcome | None:
        """Do what is due; what holds now for these tasks, None where that is not known yet. Never raises."""
        self._look_at_file()
        now = time.monotonic()
        if now < self._backoff.until:
            return self._outcome
        try:
            process = self._process or self._start()
            if not tasks or (now < self._fresh_until and process.knows(tasks)):
                return self._outcome
            if now < self._rest_until:
                return None
            self._outcome = Outcome(ranks=self._ranked(process, tasks))
        except PolicyFailed as failed:
            self._fail(str(failed))
        return self._outcome

    def pause(self) -> float:
        """Seconds for which nothing is due, unless there are other tasks."""
        now = time.monotonic()
        waits = (self._rest_until - now, self._backoff.until - now)
        due = min((wait for wait in waits if wait > 0), default=self._patience.look)
        longest = self._patience.settle if self._changed else self._patience.look
        return max(0.0, min(due, longest))

    def interrupt(self) -> None:
        """Let `step` end soon, from any thread; the runner is of no use afterwards."""
        self._interrupted = True
        if (process := self._process) is not None:
            process.interrupt()

    def end(self) -> None:
        """End the policy's process."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _look_at_file(self) -> None:
        """Have a changed file loaded again, as soon as it stays as it is; until then the old one serves."""
        if self._source is None:
            return
        version = self._source.version()
        if version == self._version:
            self._changed = None
        elif self._changed is None or self._changed[0] != version:
            self._changed = (version, time.monotonic())
        elif time.monotonic() - self._changed[1] >= self._patience.settle:
            self._changed = None
            self.end()
            self._backoff.succeed()

    def _start(self) -> PolicyProcess:
        """Load the policy: from now on nothing is known against it, and its last order holds until it is asked."""
        try:
            self._source = source_of(self._setting, self._base)
            self._version = self._source.version()
            examine(self._source)
        except PolicyRefused as refused:
            raise PolicyFailed(f"cannot be used: {refused}") from refused
        process = self._process = PolicyProcess(self._source)
        if self._interrupted:
            raise PolicyFailed("was interrupted")
        process.load(self._rules, self._patience.load)
        self._outcome = Outcome(ranks=self._outcome.ranks)
        self._fresh_until = self._rest_until = 0.0
        return process

    def _ranked(self, process: PolicyProcess, tasks: Sequence[JobView]) -> Ranks:
        if len(tasks) > MOST_TASKS:
            tasks = heapq.nsmallest(
                MOST_TASKS, tasks, key=lambda each: default_key(each, self._rules)
            )
        asked_at = time.monotonic()
        ids = process.order(tasks, time.time(), self._patience.call)
        now = time.monotonic()
        self._backoff.succeed()
        self._rest_until = now + max(self._patience.rest, now - asked_at)
        self._fresh_until = now + self._patience.refresh
        ranks = {job_id: rank for rank, job_id in enumerate(ids)}
        # The same object where the order is the same: nobody need sort again.
        return self._outcome.ranks if self._outcome.ranks == ranks else ranks

    def _fail(self, problem: str) -> None:
        self._outcome = Outcome(problem=problem)
        self._fresh_until = 0.0
        self._backoff.fail(time.monotonic())
        if self._process is not None and (self._process.has_ended or not self._process.loaded):
            self.end()
