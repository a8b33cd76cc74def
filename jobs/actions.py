"""What a person may do to a job, whichever door it comes through: pause, resume, cancel, change its priority.

Each checks the right and the state, does it through `lifecycle`, and answers a "no" with what to do instead.
"""

from __future__ import annotations

from collections.abc import Callable

from django.utils.translation import gettext as _

from jobs import idling, lifecycle, permissions, suspension
from jobs.core.states import JobState, Outcome, Priority
from jobs.core.units import format_duration
from jobs.models import Attempt, Job, User
from jobs.refusals import Refused

_TRIES = 5  # a job that moves on under our hands is read again; five times in a row does not happen


class ActionRefused(Refused):
    """An action that does not apply to the job as it is, or that the user may not do."""


def pause(job: Job, user: User, *, keep_memory: bool = False) -> Job:
    """Keep a queued job from starting; have a running one give its cards back, or with `keep_memory` freeze it."""
    return _act(job, user, lambda fresh: _pause(fresh, user, keep_memory))


def resume(job: Job, user: User) -> Job:
    """Let a held or suspended job queue again, at its old place, or a frozen one go on."""
    return _act(job, user, lambda fresh: _resume(fresh, user))


def cancel(job: Job, user: User) -> Job:
    """End the job for good."""
    return _act(job, user, lambda fresh: _cancel(fresh, user))


def keep(job: Job, user: User, seconds: float) -> Job:
    """Let a running job do nothing for so long: it is neither warned of nor suspended for it until then."""
    return _act(job, user, lambda fresh: _keep(fresh, user, seconds))


def set_priority(job: Job, user: User, priority: Priority, *, reason: str = "") -> Job:
    """Give the job another priority; for leads of its project and admins. Its owner reads the reason."""
    if not permissions.can_manage(user, job.project):
        raise _forbidden(_("Only a lead of the project or an admin changes priorities."))
    if not lifecycle.reprioritise(job, priority, user, detail=reason):
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
            return lifecycle.hold(job, user, by_admin=_by_admin(job, user))
        case JobState.SUSPENDED if not keep_memory and job.is_frozen:
            raise _refusal(
                job,
                "frozen",
                _("“%(job)s” is frozen and keeps its GPU memory."),
                _("Resume it, then pause it again: then it gives its card back."),
            )
        case JobState.HELD | JobState.SUSPENDED:
            return True  # it is paused already
        case JobState.RUNNING if keep_memory:
            return lifecycle.freeze(job, user)
        case JobState.RUNNING:
            return _give_back(job, user)
        case JobState.STARTING if not keep_memory and _can_give_back(job):
            return _give_back(job, user)
        case JobState.SUSPENDING:
            raise _on_its_way(job)
        case JobState.STARTING:
            raise _refusal(
                job,
                "not_running_yet",
                _("“%(job)s” is starting."),
                _("Try again when it is running."),
            )
    raise _ended(job)


def _give_back(job: Job, user: User) -> bool:
    attempt = job.open_attempt
    if attempt is None:
        return False  # it has ended meanwhile
    if not _can_give_back(job):
        raise _refusal(
            job,
            "pause_needs_keep_memory",
            _(
                "“%(job)s” cannot give its card back: it is no training that goes on from a checkpoint,"
                " and its task does not say `preemptible: true`."
            ),
            _(
                "Pause it with keep_memory (--keep-memory): it stops computing at once and keeps its GPU memory."
            ),
        )
    return lifecycle.suspend(job, attempt, user, by_admin=_by_admin(job, user))


def _can_give_back(job: Job) -> bool:
    attempt = job.open_attempt
    return attempt is not None and suspension.way_of(job, attempt) is not suspension.Way.NONE


def _by_admin(job: Job, user: User) -> bool:
    return job.owner_id != user.pk and user.is_superuser


def _is_paused(attempt: Attempt | None) -> bool:
    """Whether it is told to give its cards back for a person, and not for another job."""
    return attempt is not None and attempt.stop_for == Outcome.SUSPENDED


def _on_its_way(job: Job) -> ActionRefused:
    if _is_paused(job.open_attempt):
        return _refusal(
            job,
            "being_paused",
            _("“%(job)s” is being paused already; it gives its cards back."),
            _("Look again in a moment; when it is suspended, it can be resumed."),
        )
    return _refusal(
        job,
        "making_room",
        _("“%(job)s” is giving its cards to another job."),
        _("Hold it when it is back in the queue, in a moment; there its place is kept."),
    )


def _resume(job: Job, user: User) -> bool:
    match JobState(job.state):
        case JobState.HELD | JobState.SUSPENDED if job.hold_by_admin and not user.is_superuser:
            raise _forbidden(_("An admin holds this job, and only an admin releases it."))
        case JobState.HELD:
            return lifecycle.release(job, user)
        case JobState.SUSPENDED if job.is_frozen:
            return lifecycle.thaw(job, user)
        case JobState.SUSPENDED:
            return lifecycle.release(job, user)
        case JobState.STARTING if _is_paused(attempt := job.open_attempt) and attempt is not None:
            return lifecycle.unsuspend(job, attempt, user)
        case JobState.SUSPENDING if _is_paused(job.open_attempt):
            raise _on_its_way(job)
        case JobState.QUEUED | JobState.RUNNING | JobState.STARTING | JobState.SUSPENDING:
            return True  # nothing holds it
    raise _ended(job)


def _keep(job: Job, user: User, seconds: float) -> bool:
    least, most = idling.SHORTEST_KEEP, idling.LONGEST_KEEP
    if not least <= seconds <= most:
        raise ActionRefused(
            code="bad_duration",
            title=_("Not possible for so long"),
            detail=_("A job cannot be kept running for %(given)s.") % {"given": f"{seconds:g}s"},
            hint=_("Allowed is anything from %(least)s to %(most)s, such as 2h.")
            % {"least": format_duration(least), "most": format_duration(most)},
        )
    attempt = job.open_attempt
    if attempt is not None and job.state in {JobState.STARTING, JobState.RUNNING}:
        return idling.keep(attempt, user, seconds)
    if not job.is_active:
        raise _ended(job)
    raise _refusal(
        job,
        "not_running_yet",
        _("“%(job)s” is %(state)s and holds no card that it could leave idle."),
        _("Try again when it is running."),
    )


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
