"""The words and looks of states, outcomes and reasons, said once for all pages."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from jobs.core.states import JobState, Outcome, Reason


@dataclass(frozen=True, kw_only=True)
class Look:
    """A word, the icon beside it, and the colour family of both."""

    word: str | Promise
    icon: str
    family: str


STATES: dict[str, Look] = {
    JobState.QUEUED: Look(word=_("queued"), icon="clock", family="queued"),
    JobState.HELD: Look(word=_("held"), icon="hold", family="paused"),
    JobState.STARTING: Look(word=_("starting"), icon="ring", family="running"),
    JobState.RUNNING: Look(word=_("running"), icon="play", family="running"),
    JobState.SUSPENDING: Look(word=_("suspending"), icon="ring", family="paused"),
    JobState.SUSPENDED: Look(word=_("suspended"), icon="pause", family="paused"),
    JobState.STOPPING: Look(word=_("stopping"), icon="stop", family="queued"),
    JobState.SUCCEEDED: Look(word=_("succeeded"), icon="tick", family="succeeded"),
    JobState.FAILED: Look(word=_("failed"), icon="cross", family="failed"),
    JobState.CANCELLED: Look(word=_("cancelled"), icon="slash", family="queued"),
}

_OUTCOMES: dict[str, Look] = {
    Outcome.SUCCEEDED: Look(word=_("succeeded"), icon="tick", family="succeeded"),
    Outcome.FAILED: Look(word=_("failed"), icon="cross", family="failed"),
    Outcome.SUSPENDED: Look(word=_("suspended"), icon="pause", family="paused"),
    Outcome.PREEMPTED: Look(word=_("preempted"), icon="pause", family="paused"),
    Outcome.LOST: Look(word=_("lost"), icon="cross", family="failed"),
    Outcome.CANCELLED: Look(word=_("cancelled"), icon="slash", family="queued"),
}

_REASONS: dict[str, str | Promise] = {
    Reason.COMPLETED: _("completed"),
    Reason.EXIT_CODE: _("the command ended with an error code"),
    Reason.SIGNAL: _("ended by a signal from outside"),
    Reason.INCOMPLETE: _("ended before its last step"),
    Reason.GPU_OUT_OF_MEMORY: _("out of GPU memory"),
    Reason.HOST_OUT_OF_MEMORY: _("out of host memory"),
    Reason.TIME_LIMIT: _("time limit reached"),
    Reason.LAUNCH_FAILED: _("could not be launched"),
    Reason.NOT_CLAIMED: _("no supervisor took it"),
    Reason.SUPERVISOR_DIED: _("its supervisor died"),
    Reason.NODE_REBOOTED: _("the machine was restarted"),
    Reason.NODE_LOST: _("the machine was lost"),
    Reason.OVER_MEMORY: _("more memory than it booked"),
    Reason.RESTORE_FAILED: _("its memory could not be put back on the card"),
    Reason.USER: _("asked for by a person"),
    Reason.PREEMPTED: _("made room for another job"),
    Reason.IDLE: _("its cards did nothing"),
}

_RUNNING = Look(word=_("running"), icon="play", family="running")


def outcome_words(outcome: str) -> Look:
    """The look of an outcome; an open attempt has none yet and counts as running."""
    return _OUTCOMES.get(outcome, _RUNNING)


def reason_words(code: str) -> str:
    """A reason in words; a code that this version does not know is shown as it is."""
    return str(_REASONS.get(code, code.replace("_", " ")))
