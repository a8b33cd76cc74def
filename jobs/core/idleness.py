"""Whether a running job does nothing, or hangs: one verdict from what was seen of it in a whole window of time.

Four things are looked at: how busy its cards were, whether their memory changed, what power they drew, and whether its
log grew; and, where it had made progress, whether it still does. What nobody could see never speaks against a job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

STILL = 0.01
"""A minute in which a card was busy for less than this share of it did no work worth the name."""

FULL = 0.98
"""A minute in which a card was busy for more than this share: processes that wait for each other spin so."""

STEADY = 64 * 2**20
"""Bytes by which the memory of a job that does nothing may differ over the window."""

WORKING_POWER = 1 / 3
"""Share of a card's power limit from which on it works, whatever its utilisation says."""

SEEN = 0.8
"""Share of the window's minutes that must have been seen; else nobody can tell."""

MISSED_REPORTS = 3
"""Reports of progress that must be overdue before a training whose cards are busy counts as hanging."""


class Verdict(StrEnum):
    """What a job has done in the window."""

    WORKS = "works"
    IDLE = "idle"  # its cards have done nothing
    HANGS = "hangs"  # it had made progress, and makes none any more
    UNKNOWN = "unknown"  # too little was seen


@dataclass(frozen=True, kw_only=True, slots=True)
class CardMinute:
    """What the job did on one card in one minute; None: the card cannot tell."""

    card: str
    busy: float | None = None  # 0 to 1, of this job
    used: int | None = None  # bytes, of this job
    power: float | None = None  # share of the card's limit; None also where others are on the card


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """What was seen of a running job. Times are seconds since the epoch."""

    now: float
    window: float  # seconds
    running_since: float  # this attempt, and not frozen since
    cards: int
    minutes: Sequence[CardMinute]
    log_grew_at: float | None = None  # None: it has printed nothing yet
    progress_at: float | None = None  # of this attempt's latest progress; None: none was seen
    report_every: float | None = None  # seconds between two reports of progress; None: not known

    @property
    def log_silent(self) -> float:
        """Seconds for which its log has not grown."""
        return self._since(self.log_grew_at)

    @property
    def stuck(self) -> float:
        """Seconds for which it has made no progress."""
        return self._since(self.progress_at)

    def _since(self, at: float | None) -> float:
        return max(0.0, self.now - max(self.running_since, at or 0.0))


def judge(sighting: Sighting) -> Verdict:
    """The verdict. A hang is told before idleness, because it says more."""
    if sighting.now - sighting.running_since < sighting.window or not _is_seen(sighting):
        return Verdict.UNKNOWN
    still, full = _all_still(sighting), _all_full(sighting)
    if _has_stopped(sighting) and (still or (full and _is_overdue(sighting))):
        return Verdict.HANGS
    if still and sighting.stuck >= sighting.window:
        return Verdict.IDLE
    return Verdict.WORKS


def may_be_suspended(sighting: Sighting) -> bool:
    """Whether not even its log says that it does something: a job that prints is warned, and no more."""
    return sighting.log_silent >= sighting.window


def _is_seen(sighting: Sighting) -> bool:
    """Whether every card was seen often enough, by something that can tell."""
    wanted = SEEN * sighting.window / 60
    counts = [
        sum(1 for each in minutes if each.busy is not None or each.power is not None)
        for minutes in _by_card(sighting)
    ]
    return len(counts) >= sighting.cards and min(counts, default=0) >= wanted


def _all_still(sighting: Sighting) -> bool:
    quiet = all(_is_still(minute) for minute in sighting.minutes)
    return quiet and all(_is_steady(minutes) for minutes in _by_card(sighting))


def _is_still(minute: CardMinute) -> bool:
    if minute.busy is not None and minute.busy > STILL:
        return False
    return minute.power is None or minute.power < WORKING_POWER


def _is_steady(minutes: Sequence[CardMinute]) -> bool:
    used = [each.used for each in minutes if each.used is not None]
    return not used or max(used) - min(used) <= STEADY


def _all_full(sighting: Sighting) -> bool:
    return all(minute.busy is not None and minute.busy >= FULL for minute in sighting.minutes)


def _has_stopped(sighting: Sighting) -> bool:
    """Whether it had made progress, and now neither progresses nor prints."""
    silent = min(sighting.stuck, sighting.log_silent)
    return sighting.progress_at is not None and silent >= sighting.window


def _is_overdue(sighting: Sighting) -> bool:
    every = sighting.report_every
    return every is not None and sighting.stuck >= MISSED_REPORTS * every


def _by_card(sighting: Sighting) -> Iterator[list[CardMinute]]:
    ordered = sorted(sighting.minutes, key=lambda each: each.card)
    return (list(group) for _card, group in groupby(ordered, key=lambda each: each.card))
