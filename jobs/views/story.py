"""What happened to a job, told from its event rows: states with their spans, and notes in between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jobs import bookedspans
from jobs.core.states import TERMINAL
from jobs.core.units import format_duration, format_size
from jobs.models import Allocation, Attempt, JobEvent
from jobs.preemptions import Preemption
from jobs.remedywords import growth_words
from jobs.views.words import STATES, Look, reason_words

_KINDS: dict[str, str | Promise] = {
    "submit": gettext_lazy("submitted"),
    "hold": gettext_lazy("held"),
    "release": gettext_lazy("released into the queue"),
    "start": gettext_lazy("starting"),
    "run": gettext_lazy("running"),
    "freeze": gettext_lazy("paused, memory kept"),
    "thaw": gettext_lazy("goes on"),
    "cancel": gettext_lazy("told to end"),
    "retry": gettext_lazy("back to the queue"),
    "suspend": gettext_lazy("suspended"),
    "pause": gettext_lazy("told to give its card back"),
    "unpause": gettext_lazy("not to be paused any more"),
    "preempt": gettext_lazy("making room"),
    "requeue": gettext_lazy("back to the queue, at its old place"),
    "priority": gettext_lazy("priority changed"),
    "swap_in": gettext_lazy("its memory goes back to its card"),
    "over_memory": gettext_lazy("more memory than it booked"),
    "shrink": gettext_lazy("less memory booked"),
    "grow": gettext_lazy("more memory booked"),
    "stuck": gettext_lazy("processes cannot be ended"),
    "idle": gettext_lazy("its cards do nothing"),
    "hang": gettext_lazy("it seems to hang"),
    "busy": gettext_lazy("it works again"),
    "keep": gettext_lazy("to be kept running"),
}


@dataclass(kw_only=True)
class Step:
    """One stay in one state, with what was noted when it began."""

    look: Look
    words: str
    at: datetime
    until: datetime | None  # None: it lasts
    notes: list[str] = field(default_factory=list)
    ends_here: bool = False

    @property
    def is_instant(self) -> bool:
        """Whether it passed so fast that its length says nothing."""
        return self.seconds is not None and self.seconds < 1

    @property
    def seconds(self) -> float | None:
        """How long it lasted; None while it lasts, and for an end."""
        return None if self.until is None else (self.until - self.at).total_seconds()


@dataclass(frozen=True, kw_only=True)
class Run:
    """One attempt with its cards and its length."""

    attempt: Attempt
    cards: str
    booked: str  # what its bookings are now, and where that comes from; empty where it is what was asked
    peak: int | None  # bytes, the most on one card
    seconds: float | None


def steps(events: Sequence[JobEvent], preemptions: Mapping[int, Preemption]) -> list[Step]:
    """The time line, oldest first; `preemptions`: what the viewer may know of them, by event row."""
    told: list[Step] = []
    for event in events:
        note = _note(event, preemptions.get(event.pk))
        if told and event.old_state == event.new_state:
            told[-1].notes.append(f"{_kind(event)}: {note}".rstrip(": "))
            continue
        if told:
            told[-1].until = event.at
        told.append(_step(event, note))
    return told


def runs(attempts: Iterable[Attempt]) -> list[Run]:
    """The attempts, newest first; their allocations must have been fetched."""
    return [_run(attempt) for attempt in sorted(attempts, key=lambda each: -each.number)]


def _step(event: JobEvent, note: str) -> Step:
    ended = event.new_state in TERMINAL
    words = str(STATES[event.new_state].word) if ended else _kind(event)
    return Step(
        look=STATES[event.new_state],
        words=words,
        at=event.at,
        until=None,
        notes=[note] if note else [],
        ends_here=ended,
    )


def kind_words(kind: str) -> str:
    """What an event of this kind is called."""
    return str(_KINDS.get(kind, kind))


def _kind(event: JobEvent) -> str:
    return str(_KINDS.get(event.kind, STATES[event.new_state].word))


def _note(event: JobEvent, preemption: Preemption | None) -> str:
    why = preemption.sentence if preemption else _repeated(event) or bookedspans.sentence(event)
    parts = [
        _("by %(name)s") % {"name": event.actor.username} if event.actor else "",
        _("attempt %(number)s") % {"number": event.attempt.number}
        if event.attempt and event.kind == "start"
        else "",
        why or event.detail or (reason_words(event.reason) if event.reason else ""),
        growth_words(event.data) if event.kind == "retry" else "",
    ]
    return " · ".join(part for part in parts if part)


def _repeated(event: JobEvent) -> str:
    """After a pause: what is done again, and why that is more than was promised."""
    lost = event.data.get("lost") if event.kind == "suspend" else None
    if not isinstance(lost, int | float):
        return ""
    time = format_duration(max(1, round(lost / (event.job.gpus * event.job.nodes))))
    told = _("%(time)s of work will be repeated.") % {"time": time}
    return f"{event.detail} {told}".strip()


def _run(attempt: Attempt) -> Run:
    bookings = list(attempt.allocations.all())
    peaks = [each.peak for each in bookings if each.peak is not None]
    ended = attempt.ended_at
    return Run(
        attempt=attempt,
        cards=", ".join(dict.fromkeys(f"gpu{each.device.index}" for each in bookings)),
        booked=" ".join(filter(None, map(_booked, bookings))),
        peak=max(peaks, default=None),
        seconds=(ended - (attempt.started_at or attempt.created_at)).total_seconds()
        if ended
        else None,
    )


def _booked(booking: Allocation) -> str:
    """What became of a booking that followed the job's use."""
    if booking.booked == booking.was_asked:
        return ""
    return _("gpu%(index)s: %(booked)s booked, as measured; %(asked)s asked.") % {
        "index": booking.device.index,
        "booked": format_size(booking.booked),
        "asked": format_size(booking.was_asked),
    }
