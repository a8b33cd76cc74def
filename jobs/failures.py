"""The bad end of a job explained: what happened, with which numbers, and what to change. One answer for all doors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Max
from django.urls import reverse
from django.utils.translation import gettext as _

from jobs import outofmemory, remedywords
from jobs.core.ending import Ending
from jobs.core.outofmemory import OF_A_CARD, OUT_OF_MEMORY, Shortage
from jobs.core.remedies import Remedy, gpu_remedies, host_remedies
from jobs.core.states import JobState, Outcome, Reason
from jobs.core.units import format_size
from jobs.models import Attempt, Job

_BAD = frozenset({Outcome.FAILED, Outcome.LOST})


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The bad end of an attempt. Bytes are those of one card; None: not known."""

    attempt: Attempt
    booked: int | None = None
    peak: int | None = None  # the most that was measured
    shortage: Shortage | None = None  # what PyTorch's message said
    remedies: tuple[Remedy, ...] = ()
    advice: str = ""  # a sentence, where no change of a field is known to help
    job_id: str = ""

    @property
    def is_out_of_memory(self) -> bool:
        """Whether memory ran out: the card's, or the machine's."""
        return self.attempt.reason in OUT_OF_MEMORY

    @property
    def diagnosis(self) -> str:
        """What is known of the shortage, with its numbers; empty where nothing is."""
        if self.attempt.reason not in OF_A_CARD:
            return ""
        parts = [self._had(), self._asked(), self._why()]
        return " ".join(part for part in parts if part)

    @property
    def shown(self) -> list[dict[str, str]]:
        """The remedies as the page and the API tell them."""
        return [
            {
                "sentence": remedywords.sentence(remedy),
                "change": remedywords.change_words(remedy),
                "link": clone_link(self.job_id, remedy.texts),
            }
            for remedy in self.remedies
        ]

    def as_dict(self, base_url: str = "") -> dict[str, Any]:
        """The same as JSON values."""
        attempt = self.attempt
        return {
            "attempt": attempt.number,
            "outcome": attempt.outcome,
            "reason": attempt.reason,
            "detail": attempt.detail or None,
            "exit_code": attempt.exit_code,
            "exit_signal": attempt.exit_signal,
            "diagnosis": self.diagnosis or None,
            "advice": self.advice or None,
            "booked_bytes": self.booked,
            "peak_bytes": self.peak,
            "wanted_bytes": self.shortage.wanted if self.shortage else None,
            "remedies": [
                {
                    "code": str(remedy.code),
                    "changes": remedy.texts,
                    "before_bytes": remedy.before,
                    "after_bytes": remedy.after,
                    "enough": remedy.is_enough,
                    "sentence": shown["sentence"],
                    "url": base_url + shown["link"],
                }
                for remedy, shown in zip(self.remedies, self.shown, strict=True)
            ],
        }

    def _had(self) -> str:
        if self.booked is None or self.peak is None:
            return ""
        words = {"booked": format_size(self.booked), "peak": format_size(self.peak)}
        return (
            _("It had booked %(booked)s on each card; %(peak)s is the most that was measured.")
            % words
        )

    def _asked(self) -> str:
        short = self.shortage
        if short is None or short.tried is None or short.in_use is None:
            return ""
        words = {"in_use": format_size(short.in_use), "tried": format_size(short.tried)}
        return _("PyTorch had %(in_use)s and asked for %(tried)s more.") % words

    def _why(self) -> str:
        """Whose memory it was that was missing."""
        short = self.shortage
        if short is None:
            return ""
        if short.is_capped:
            words = {"allowed": format_size(short.allowed or 0)}
            return _("It met its own cap of %(allowed)s; the card had room.") % words
        if short.free is None or short.wanted is None or self.booked is None:
            return ""
        words = {"free": format_size(short.free), "booked": format_size(self.booked)}
        if short.wanted <= self.booked:
            return (
                _("That is within what it had booked, but others left only %(free)s of the card.")
                % words
            )
        return _("The card had %(free)s left.") % words


def failure_of(job: Job, attempts: Sequence[Attempt] | None = None) -> Failure | None:
    """The bad end of its last attempt that has ended; None where that went well, or the job did after all."""
    if job.state == JobState.SUCCEEDED:
        return None
    given = list(job.attempts.all()) if attempts is None else attempts
    ended = sorted((each for each in given if each.ended_at), key=lambda each: each.number)
    if not ended or ended[-1].outcome not in _BAD:
        return None
    return _told(job, ended[-1])


def clone_link(job_id: str, changes: Mapping[str, str]) -> str:
    """The form, filled in with the job and these changes."""
    return f"{reverse('submit')}?{urlencode({'from': job_id, **changes})}"


def _told(job: Job, attempt: Attempt) -> Failure:
    attempt.job = job
    had = attempt.allocations.aggregate(booked=Max("booked"), peak=Max("peak"))
    found = {"attempt": attempt, "job_id": job.pk, **had}
    if attempt.reason == Reason.HOST_OUT_OF_MEMORY:
        remedies = host_remedies(outofmemory.config_of(job))
        return Failure(**found, remedies=remedies, advice=_host_advice())
    if attempt.reason not in OF_A_CARD:
        return Failure(**found)
    shortage = _shortage(attempt)
    ending = Ending(outcome=Outcome.FAILED, reason=Reason.GPU_OUT_OF_MEMORY, shortage=shortage)
    case = outofmemory.case_of(attempt, ending)
    remedies = gpu_remedies(case)
    return Failure(
        **found, shortage=shortage, remedies=remedies, advice=_advice(job, remedies, case.largest)
    )


def _shortage(attempt: Attempt) -> Shortage | None:
    """What the message said, as the event of the attempt's end keeps it."""
    for data in attempt.events.order_by("-id").values_list("data", flat=True):
        if isinstance(told := data.get("shortage"), Mapping):
            return Shortage(**{key: told.get(key) for key in Shortage.__dataclass_fields__})
    return None


def _advice(job: Job, remedies: Sequence[Remedy], largest: int) -> str:
    if outofmemory.config_of(job) is None:
        opaque = _(
            "What its command does is not read here. Beside more memory, less at once helps: a smaller batch,"
            " shorter rows."
        )
        return opaque if remedies else f"{opaque} {_no_larger(largest)}"
    return "" if remedies else _no_larger(largest)


def _no_larger(largest: int) -> str:
    words = {"largest": format_size(largest)}
    return _("No card here that it may run on has more: the largest offers %(largest)s.") % words


def _host_advice() -> str:
    return _(
        "This is the machine's main memory, not the card's: a task does not book it, and trying the same again would"
        " end the same way."
    )
