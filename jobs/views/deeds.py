"""What one may do to a job as it is now, each with what it really does and costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from jobs import idling, permissions, suspension
from jobs.core.states import TERMINAL, JobState
from jobs.core.units import format_duration, format_size
from jobs.models import Job, User

GRACE_S = 30  # between asking a job's processes to end and ending them


@dataclass(frozen=True, kw_only=True)
class Deed:
    """One button: its address and form fields, and its effect in a sentence."""

    name: str
    label: str
    icon: str
    effect: str
    address: str
    keep_memory: bool = False
    ask: str = ""  # asked first where it cannot be undone
    grave: bool = False


def deeds_for(job: Job, viewer: User) -> list[Deed]:
    """The buttons for this viewer; none for one who may only look."""
    return list(_deeds(job)) if permissions.can_control(viewer, job) else []


def _deeds(job: Job) -> Iterator[Deed]:
    state = JobState(job.state)
    if state is JobState.QUEUED:
        yield _deed(
            job,
            "pause",
            _("Hold"),
            "hold",
            _("Keeps it from starting. Its place in the queue is not lost."),
        )
    elif state is JobState.HELD:
        yield _deed(
            job, "resume", _("Release"), "play", _("Puts it back into the queue, at its old place.")
        )
    elif state is JobState.RUNNING:
        yield from _keep(job)
        yield from _pause(job)
        yield _freeze(job)
    elif state is JobState.STARTING:
        yield from _pause(job)
    elif state is JobState.SUSPENDED:
        yield _deed(job, "resume", _("Resume"), "play", _resume_effect(job))
    if state not in TERMINAL and state is not JobState.STOPPING:
        yield _cancel(job)


def _pause(job: Job) -> Iterator[Deed]:
    """Giving the cards back, where that is possible; asked first with what it costs."""
    cost = suspension.cost_of_pause(job)
    if cost.is_possible:
        yield Deed(
            name="pause",
            label=_("Pause"),
            icon="pause",
            effect=cost.sentence,
            address=reverse("job-pause", args=[job.pk]),
            ask=_("Pause “%(job)s”?") % {"job": job},
        )


def _keep(job: Job) -> Iterator[Deed]:
    """Where it is warned of for doing nothing: its owner knows better."""
    if idling.warning_of(job, job.open_attempt) is not None:
        time = {"time": format_duration(idling.USUAL_KEEP)}
        effect = _("For %(time)s nobody minds that its cards do nothing, and it is not suspended.")
        yield _deed(job, "keep", _("Keep it %(time)s") % time, "play", effect % time)


def _freeze(job: Job) -> Deed:
    effect = _(
        "Stops computing at once and keeps its memory (%(held)s): it can go on at any time, "
        "and nobody else can use that memory."
    )
    return Deed(
        name="pause",
        label=_("Pause, keep memory"),
        icon="pause",
        effect=effect % {"held": held_words(job)},
        address=reverse("job-pause", args=[job.pk]),
        keep_memory=True,
    )


def _resume_effect(job: Job) -> str:
    if job.is_frozen:
        return _("Goes on at once where it stopped.")
    if job.open_attempt is not None:
        return _(
            "Puts it back into the queue, at its old place; it goes on where it stopped, on the same card."
        )
    if suspension.goes_on(job):
        return _(
            "Puts it back into the queue, at its old place; it goes on from its last checkpoint."
        )
    return _("Puts it back into the queue, at its old place; its command starts again.")


def _cancel(job: Job) -> Deed:
    if job.open_attempt is None:
        effect = _("Ends it for good. Nothing of it runs, so nothing is lost.")
    else:
        effect = _(
            "Ends it for good: its processes are asked to end, and are ended after %(grace)s seconds. "
            "What it has not saved is lost; its output folder stays."
        ) % {"grace": GRACE_S}
    return Deed(
        name="cancel",
        label=_("Cancel"),
        icon="stop",
        effect=effect,
        address=reverse("job-cancel", args=[job.pk]),
        ask=_("Cancel “%(job)s”?") % {"job": job},
        grave=True,
    )


def held_words(job: Job) -> str:
    """What the job holds now: "16 GiB on gpu0"."""
    attempt = job.open_attempt
    bookings = attempt.allocations.open().select_related("device") if attempt else []
    parts = [
        _("%(size)s on gpu%(index)s")
        % {"size": format_size(each.booked), "index": each.device.index}
        for each in bookings
    ]
    return ", ".join(parts) or ngettext("%(n)s card", "%(n)s cards", job.gpus) % {"n": job.gpus}


def _deed(job: Job, name: str, label: str, icon: str, effect: str) -> Deed:
    address = reverse(f"job-{name}", args=[job.pk])
    return Deed(name=name, label=label, icon=icon, effect=effect, address=address)
