"""What a person may do to a job, whichever door it comes through: pause, resume, cancel, change its priority.

Each checks the right and the state, does it through `lifecycle`, and answers a "no" with what to do instead.
"""

from __future__ import annotations

from collections.abc import Callable

from django.utils.translation import gettext as _

from jobs import lifecycle, permissions
from jobs.core.states import JobState, Priority
from jobs.models import Job, User
from jobs.refusals import Refused

_TRIES = 5  # a job that moves on under our hands is read again; five times in a row does not happen


class ActionRefused(Refused):
    """An action that does not apply to the job as it is, or that the user may not do."""


def pause(job: Job, user: User, *, keep_memory: bool = False) -> Job:
    """Keep a queued job from starting; with `keep_memory`, freeze a running one where it is."""
    return _act(job, user, lambda fresh: _pause(fresh, user, keep_memory))


def resume(job: Job, user: User) -> Job:
    """Let a held job queue again, or a frozen one go on."""
    return _act(job, user, lambda fresh: _resume(fresh, user))


def cancel(job: Job, user: User) -> Job:
    """End the job for good."""
    return _act(job, user, lambda fresh: _cancel(fresh, user))


def set_priority(job: Job, user: User, priority: Priority) -> Job:
    """Give the job another priority; for leads of its project and admins."""
    if not permissions.can_manage(user, job.project):
        raise _forbidden(_("Only a lead of the project or an admin changes priorities."))
    if not lifecycle.reprioritise(job, priority, user):
        raise _ended(job)
    return job


def _act(job: Job, user: User, attempt: Callable[[Job], bool]) -> Job:
    """Do it on the job as it is now; read again where somebody was first."""
    if not permissions.can_control(user, job):
        raise _forbidden(_("Only its owner, a lead of its project or an admin may do this."))
    for _try in range(_TRIES):
        fresh = Job.objects.select_related("project", "owner").get(pk=job.pk)
        if attempt(fresh):
            return fresh
    raise ActionRefused(
        code="busy",
        title=_("The job is changing too fast"),
        detail=_("“%(job)s” changed state each time this was tried.") % {"job": job},
        hint=_("Look at the job and try again."),
        status=409,
    )


def _pause(job: Job, user: User, keep_memory: bool) -> bool:
    match JobState(job.state):
        case JobState.QUEUED:
            return lifecycle.hold(job, user, by_admin=job.owner_id != user.pk and user.is_superuser)
        case JobState.HELD | JobState.SUSPENDED:
            return True  # it is paused already
        case JobState.RUNNING if keep_memory:
            return lifecycle.freeze(job, user)
        case JobState.RUNNING:
            raise _refusal(
                job,
                "pause_needs_keep_memory",
                _("“%(job)s” is running, and giving its card back is not possible yet."),
                _(
                    "Pause it with keep_memory (--keep-memory): it stops computing at once and keeps its GPU memory."
                ),
            )
        case JobState.SUSPENDING:
            raise _refusal(
                job,
                "making_room",
                _("“%(job)s” is giving its cards to another job."),
                _("Hold it when it is back in the queue, in a moment; there its place is kept."),
            )
        case JobState.STARTING:
            raise _refusal(
                job,
                "not_running_yet",
                _("“%(job)s” is starting."),
                _("Try again when it is running."),
            )
    raise _ended(job)


def _resume(job: Job, user: User) -> bool:
    match JobState(job.state):
        case JobState.HELD if job.hold_by_admin and not user.is_superuser:
            raise _forbidden(_("An admin holds this job, and only an admin releases it."))
        case JobState.HELD:
            return lifecycle.release(job, user)
        case JobState.SUSPENDED if job.open_attempt is not None:
            return lifecycle.thaw(job, user)
        case JobState.SUSPENDED:
            return lifecycle.release(job, user)
        case JobState.QUEUED | JobState.RUNNING | JobState.STARTING | JobState.SUSPENDING:
            return True  # nothing holds it
    raise _ended(job)


def _cancel(job: Job, user: User) -> bool:
    if job.state in (JobState.CANCELLED, JobState.STOPPING):
        return True
    if not job.is_active:
        raise _ended(job)
    return lifecycle.cancel(job, user)


def _ended(job: Job) -> ActionRefused:
    return _refusal(
        job,
        "wrong_state",
        _("“%(job)s” is %(state)s, so this does not apply to it."),
        _("Submit it again, or clone it, to run it once more."),
    )


def _refusal(job: Job, code: str, detail: str, hint: str) -> ActionRefused:
    return ActionRefused(
        code=code,
        title=_("Not possible in this state"),
        detail=detail % {"job": job, "state": job.state},
        hint=hint,
        status=409,
        extra={"state": job.state},
    )


def _forbidden(detail: str) -> ActionRefused:
    return ActionRefused(
        code="forbidden",
        title=_("You may not do this"),
        detail=detail,
        hint=_("Ask one of them."),
        status=403,
    )
