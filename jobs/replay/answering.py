"""Works out the answer to a question: the period read, replayed as the site is now and as it would be, side by side.

The work is limited in jobs and in seconds. Where it takes too long, a shorter period, up to now, is replayed instead,
and the answer says so.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jobs.core.replay.figures import Side, of_past
from jobs.core.replay.past import Period
from jobs.core.replay.playing import Setting, play
from jobs.core.replay.workload import Replayed, workload
from jobs.core.simulation.simulator import SimulationStuck
from jobs.policies.loading import PolicyFailed
from jobs.replay import reading, world
from jobs.replay.question import Question
from jobs.replay.world import OwnPolicy, Site
from jobs.sitesettings import SiteSettings

MOST_SECONDS = 60.0
_FIRST_TRY = 0.6  # of the seconds, so that there are some left where it takes longer
_LATER_TRY = 0.9  # of the seconds that are left
_CAREFUL = 0.7  # of the jobs that a try should get through at the pace of the one before
_LEAST_SECONDS = 2.0  # that are worth a try

Ways = Sequence[tuple[str, Setting, SiteSettings]]


class NoAnswer(Exception):
    """The question has no answer; `code` says why: no_cards, no_jobs, too_slow, stuck, policy."""

    def __init__(self, code: str, told: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.told = told  # what a policy has to say


class _OutOfTime(Exception):
    """A try took too long."""

    def __init__(self, done: float) -> None:
        super().__init__()
        self.done = done  # part of the jobs that were handed in by then, over all ways


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much work an answer may be."""

    jobs: int = reading.MOST_JOBS
    seconds: float = MOST_SECONDS
    clock: Callable[[], float] = time.monotonic
    sign_of_life: Callable[[], None] = lambda: None  # called before each replay


def answer(question: Question, now: datetime, limits: Limits | None = None) -> dict[str, Any]:
    """What a replay as of `now` finds, ready to be stored.

    Raises:
        NoAnswer: there is nothing to replay, or it cannot be replayed.
    """
    return _Work(question, now, limits or Limits()).answer()


class _Work:
    """One answer, in as many tries as it takes."""

    def __init__(self, question: Question, now: datetime, limits: Limits) -> None:
        self._question, self._now, self._limits = question, now, limits
        self._began = limits.clock()
        self._asked_since = self._since = now - timedelta(days=question.days)
        self._site = Site.read(now)
        self._part = _FIRST_TRY
        self._asked_for = 0  # jobs of the whole time that was asked for
        self._shortened = ""

    def answer(self) -> dict[str, Any]:
        while True:
            budget = self._budget()
            replayed = self._read()
            try:
                sides = _play(replayed, self._site, self._question, self._limits, budget)
            except _OutOfTime as out:
                self._shorten(replayed, out.done / budget)
                continue
            return self._account(replayed) | sides | {"seconds": round(self._passed(), 3)}

    def _passed(self) -> float:
        return self._limits.clock() - self._began

    def _budget(self) -> float:
        """Seconds for the next try."""
        left = self._limits.seconds - self._passed()
        if left < _LEAST_SECONDS:
            raise NoAnswer("too_slow")
        return self._part * left

    def _read(self) -> Replayed:
        past = reading.read(self._since, self._now, most=self._limits.jobs)
        self._asked_for = self._asked_for or len(past.jobs) + past.left_out
        self._shortened = self._shortened or ("jobs" if past.left_out else "")
        replayed = workload(past.jobs, past.period)
        if not replayed.counted:
            raise NoAnswer("too_slow" if self._shortened == "time" else "no_jobs")
        return replayed

    def _shorten(self, replayed: Replayed, pace: float) -> None:
        """Replay a shorter time, up to now, of as many jobs as the next try can get through.

        Args:
            replayed: what was too much.
            pace: the part of it that was done in a second.
        """
        self._shortened, self._part = "time", _LATER_TRY
        comings = sorted(each.past.submitted_at for each in replayed.came if each.counted)
        number = int(len(comings) * min(1.0, _CAREFUL * pace * self._budget()))
        if number < 1:
            raise NoAnswer("too_slow")
        self._since = max(self._since, datetime.fromtimestamp(comings[-number], UTC))

    def _account(self, replayed: Replayed) -> dict[str, Any]:
        """What the figures are about, and what was left out or assumed."""
        period, left_out = replayed.period, replayed.never_ran + replayed.held + replayed.unknown
        return {
            "asked_since": self._asked_since.isoformat(),
            "since": datetime.fromtimestamp(period.since, UTC).isoformat(),
            "until": datetime.fromtimestamp(period.until, UTC).isoformat(),
            "shortened": self._shortened,
            "jobs": {
                "counted": len(replayed.counted),
                "before": len(replayed.came) - len(replayed.counted),
                "never_ran": replayed.never_ran,
                "held": replayed.held,
                "unknown": replayed.unknown,
                "too_many": max(0, self._asked_for - len(replayed.came) - left_out),
                "unfinished": replayed.unfinished,
                "unmeasured": replayed.unmeasured,
            },
            "cards_out_of_service": self._site.out_of_service,
        }


def _play(
    replayed: Replayed, site: Site, question: Question, limits: Limits, seconds: float
) -> dict[str, Any]:
    """What really happened, and what both ways make of it."""
    ways = _ways(site, replayed.period, question)
    if not all(setting.cards for _name, setting, _values in ways):
        raise NoAnswer("no_cards")
    deadline = limits.clock() + seconds
    sides: dict[str, Any] = {"really": asdict(of_past(replayed)), "today": None, "changed": None}
    for number, (name, setting, values) in enumerate(ways):
        limits.sign_of_life()
        heed = _watch(replayed, limits.clock, deadline, (number, len(ways)))
        sides[name] = asdict(_played(replayed, setting, values, heed))
    return sides | {"cards": {name: len(setting.cards) for name, setting, _values in ways}}


def _ways(site: Site, period: Period, question: Question) -> Ways:
    since = datetime.fromtimestamp(period.since, UTC)
    used = reading.used_before(since, site.values.rules.half_life, site.views())
    now = world.now_setting(site, used, question.suspend_seconds)
    if question.changes_nothing:
        return [("today", now, site.values)]
    return [("today", now, site.values), ("changed", *world.changed_setting(site, used, question))]


def _played(
    replayed: Replayed, setting: Setting, values: SiteSettings, heed: Callable[[float], None]
) -> Side:
    """One way, with the policy of its settings.

    Raises:
        NoAnswer: the policy cannot be used, or the scheduler goes round in circles.
    """
    try:
        with world.policy_of(values, setting.rules) as policy:
            side = play(replayed, replace(setting, policy=policy), heed)
            problem = policy.problem if isinstance(policy, OwnPolicy) else ""
    except PolicyFailed as failed:
        raise NoAnswer("policy", f"{values.policy} {failed}") from failed
    except SimulationStuck as stuck:
        raise NoAnswer("stuck") from stuck
    return replace(side, policy_problem=f"{values.policy} {problem}" if problem else "")


def _watch(
    replayed: Replayed, clock: Callable[[], float], deadline: float, place: tuple[int, int]
) -> Callable[[float], None]:
    """Ends a replay when its time is over."""
    comings = [each.comes for each in replayed.came]
    before, ways = place

    def heed(now: float) -> None:
        if clock() > deadline:
            done = bisect_right(comings, now) / max(1, len(comings))
            raise _OutOfTime((before + done) / ways)

    return heed
