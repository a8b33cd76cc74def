"""The site's policy, asked without ever waiting for it: its last valid order serves until the next one is there.

A thread talks to the process that runs the policy. Whatever that process does, the caller has an order at once, or
None: then the scheduler's own order holds, and `problem` says why.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.core.policies import DEFAULT
from jobs.core.scheduling.rules import Rules
from jobs.core.snapshot import JobView
from jobs.policies.runner import Outcome, Patience, Ranks, Runner

_NEEDS_NOBODY = frozenset({"", DEFAULT})
_UNKNOWN = Outcome()

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """What is wanted: the order of `tasks` by the policy of `setting`. Choices and questions are counted."""

    setting: str = ""
    choice: int = 0
    tasks: Sequence[JobView] = ()
    number: int = 0


class PolicyHost:
    """Asks the policy that the site has chosen. Safe for several threads; make one for a whole process.

    `base` is where relative paths count from. `news` is called, from another thread, when `order` or `problem` would
    now say something else.
    """

    def __init__(
        self,
        *,
        base: Path = Path("/"),
        rules: Rules | None = None,
        patience: Patience | None = None,
        news: Callable[[], None] | None = None,
    ) -> None:
        self._base = base
        self._rules = rules or Rules()
        self._patience = patience or Patience()
        self._news = news
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._runner: Runner | None = None  # the thread's; others may interrupt it
        self._closed = False
        self._wanted = _Question()
        self._settled = 0  # the number of the latest question that was answered, or failed
        self._outcome = _UNKNOWN

    @property
    def setting(self) -> str:
        """The policy in use."""
        return self._wanted.setting

    @property
    def problem(self) -> str | None:
        """Why the default order holds instead, as what follows "The policy X"; "": it does not; None: not known yet."""
        if self._outcome is _UNKNOWN and self.setting not in _NEEDS_NOBODY:
            return None
        return self._outcome.problem

    def use(self, setting: str) -> None:
        """Use the policy that this setting names (as `COOP_POLICY`). It is loaded at once, in the background."""
        if setting == self._wanted.setting:
            return
        with self._change:
            old = self._wanted
            self._wanted = _Question(
                setting=setting, choice=old.choice + 1, tasks=old.tasks, number=old.number
            )
            self._settled, self._outcome = old.number, _UNKNOWN
            if self._runner is not None:
                self._runner.interrupt()
            if self._thread is None and setting not in _NEEDS_NOBODY and not self._closed:
                self._thread = threading.Thread(target=self._work, name="policy", daemon=True)
                self._thread.start()
            self._change.notify_all()

    def order(self, tasks: Sequence[JobView], *, patience: float = 0.0) -> Ranks | None:
        """The place of each task in the policy's last valid order; None where the default order holds.

        Asks the policy to order these tasks, and does not wait for the answer (at most `patience` seconds). A task that
        has no place yet follows those that have one, in the default order. The same object is returned until the order
        is another one. `tasks` must not be changed afterwards.
        """
        if self._wanted.setting in _NEEDS_NOBODY:
            return None
        with self._change:
            number = self._wanted.number + 1
            self._wanted = replace(self._wanted, tasks=tasks, number=number)
            self._change.notify_all()
            if patience > 0:
                self._change.wait_for(lambda: self._closed or self._settled >= number, patience)
            return self._outcome.ranks

    def close(self) -> None:
        """End the policy's process; nothing is asked any more."""
        with self._change:
            self._closed = True
            if self._runner is not None:
                self._runner.interrupt()
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=5)

    # --- the thread ---------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._closed:
                question = self._wanted
                pause = self._survive(question)
                with self._change:
                    if self._wanted is question and not self._closed:
                        self._change.wait(pause)
        finally:
            self._exchange_runner(None)

    def _survive(self, question: _Question) -> float | None:
        """A mistake of ours must not leave an old order in force for ever."""
        try:
            return self._answer(question)
        except Exception as error:
            log.exception("The policy %s could not be asked.", question.setting)
            self._exchange_runner(None)
            self._settle(question, Outcome(problem=f"could not be asked: {error!r}"))
            return self._patience.longest_retry

    def _answer(self, question: _Question) -> float | None:
        """Do what is due; after how many seconds there may be more to do (None: when somebody asks)."""
        if question.setting in _NEEDS_NOBODY:
            self._exchange_runner(None)
            return None
        runner = self._runner
        if runner is None or runner.choice != question.choice:
            runner = Runner(
                question.setting,
                question.choice,
                base=self._base,
                patience=self._patience,
                rules=self._rules,
            )
            self._exchange_runner(runner)
        outcome = runner.step(question.tasks)
        if outcome is not None:
            self._settle(question, outcome)
        return runner.pause()

    def _exchange_runner(self, new: Runner | None) -> None:
        with self._change:
            old, self._runner = self._runner, new
        if old is not None:
            old.end()

    def _settle(self, question: _Question, outcome: Outcome) -> None:
        """Keep what is known now, unless another policy has been chosen meanwhile."""
        with self._change:
            if self._closed or self._wanted.choice != question.choice:
                return
            old, self._outcome = self._outcome, outcome
            self._settled = question.number
            self._change.notify_all()
        if outcome is old:
            return
        if outcome.problem != old.problem:
            _tell(question.setting, outcome.problem)
        if self._news is not None and outcome != old:
            self._news()


def _tell(setting: str, problem: str) -> None:
    if problem:
        log.warning("The policy %s %s. The default order is used.", setting, problem)
    else:
        log.info("The policy %s works again.", setting)
