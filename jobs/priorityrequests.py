"""Requests that one job goes ahead until a day: asked by a member, decided by a lead or an admin.

An approved one raises the job's priority at once. On its day the job falls back to the priority that it had, unless
somebody has given it another one since.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from jobs import actions, lifecycle, permissions
from jobs.audit import record
from jobs.core.states import Priority
from jobs.models import Job, PriorityRequest, Project, User
from jobs.refusals import Refused

Answer = PriorityRequest.Answer
LONGEST = timedelta(days=30)
STANDING = (Answer.OPEN, Answer.APPROVED)


def standing_of(job: Job) -> PriorityRequest | None:
    """The job's request that is open or holds."""
    return job.priority_requests.filter(answer__in=STANDING).select_related("asked_by").first()


def to_answer(led: Collection[Project]) -> QuerySet[PriorityRequest]:
    """The open requests of these projects, for who leads them; the oldest first."""
    found = _with_people(PriorityRequest.objects.filter(answer=Answer.OPEN, job__project__in=led))
    return found.order_by("created_at")


def answered_for(user: User) -> QuerySet[PriorityRequest]:
    """The requests that are decided, of those that this person asked or may decide."""
    led: list[Project] = permissions.projects_reported_to(user)
    mine = Q(asked_by=user) | Q(job__project__in=led)
    return _with_people(PriorityRequest.objects.filter(mine).exclude(answer=Answer.OPEN))


def may_ask(user: User, job: Job) -> bool:
    """Whether the person may ask for this job: its own, active, and not one that the person may raise anyway."""
    return (
        job.is_active
        and job.priority < Priority.HIGH
        and permissions.can_control(user, job)
        and not permissions.can_manage(user, job.project)
    )


def ask(
    job: Job, user: User, *, priority: Priority, reason: str, lasts: timedelta
) -> PriorityRequest:
    """Ask that the job gets this priority for so long.

    Raises:
        Refused: somebody who may not ask, no reason, a priority that is no higher, or a request that stands already.
    """
    reason = reason.strip()
    if not may_ask(user, job):
        raise _refused(
            "forbidden",
            _("You cannot ask for “%(job)s”.") % {"job": job},
            _("Its owner asks while it waits or runs; a lead changes its priority at once."),
            status=403,
        )
    if not reason:
        raise _refused(
            "reason_missing",
            _("The request says no reason."),
            _("Say in a sentence why it must go ahead, such as “results for Friday's review”."),
        )
    if priority <= job.priority or not timedelta(0) < lasts <= LONGEST:
        raise _refused(
            "request_invalid",
            _("The job cannot be put ahead so."),
            _("Ask for a higher priority than it has, for at most %(days)s days.")
            % {"days": LONGEST.days},
        )
    try:
        with transaction.atomic():
            made = PriorityRequest.objects.create(
                job=job,
                asked_by=user,
                priority=priority,
                reason=reason[:500],
                ends_at=timezone.now() + lasts,
            )
            record(user, made, "asked to go ahead", priority=priority.name.lower(), reason=reason)
    except IntegrityError as error:
        raise _refused(
            "request_stands",
            _("“%(job)s” has a request already.") % {"job": job},
            _("Wait for its answer, or withdraw it first."),
            status=409,
        ) from error
    return made


def approve(request: PriorityRequest, by: User, note: str = "") -> None:
    """Raise the job's priority until the day of the request.

    Raises:
        Refused: somebody who may not, a request that is decided already, or a job that has ended.
    """
    _check(request, by)
    job = request.job
    with transaction.atomic():
        _answer(request, Answer.APPROVED, by, note, before=job.priority)
        actions.set_priority(job, by, Priority(request.priority), reason=request.reason)
        record(by, request, "request approved", note=note, until=request.ends_at)


def decline(request: PriorityRequest, by: User, note: str = "") -> None:
    """Leave the job's priority as it is.

    Raises:
        Refused: somebody who may not, or a request that is decided already.
    """
    _check(request, by)
    with transaction.atomic():
        _answer(request, Answer.DECLINED, by, note)
        record(by, request, "request declined", note=note)


def withdraw(request: PriorityRequest, by: User) -> None:
    """Take back a request that nobody has decided.

    Raises:
        Refused: somebody else's request, or one that is decided already.
    """
    if request.asked_by_id != by.pk:
        raise _refused(
            "forbidden",
            _("Only who asked takes a request back."),
            _("A lead declines it."),
            status=403,
        )
    with transaction.atomic():
        _answer(request, Answer.WITHDRAWN, by, "")
        record(by, request, "request withdrawn")


def end_due(now: datetime) -> int:
    """Let the priorities fall back whose day has come, and end the requests of ended jobs; how many. Safe to repeat."""
    standing = PriorityRequest.objects.filter(answer__in=STANDING).select_related("job__project")
    ended = [each for each in standing if each.ends_at <= now or not each.job.is_active]
    return sum(_end(each) for each in ended)


def _end(request: PriorityRequest) -> bool:
    job = request.job
    with transaction.atomic():
        still = PriorityRequest.objects.filter(pk=request.pk, answer=request.answer)
        if not still.update(answer=Answer.ENDED):
            return False
        holds = request.answer == Answer.APPROVED and job.priority == request.priority
        if holds and job.is_active and request.before is not None:
            lifecycle.reprioritise(job, request.before, None, detail=_("Its time ahead is over."))
    return True


def _answer(
    request: PriorityRequest, answer: str, by: User, note: str, *, before: int | None = None
) -> None:
    is_open = PriorityRequest.objects.filter(pk=request.pk, answer=Answer.OPEN)
    changed = is_open.update(
        answer=answer,
        answered_by=by,
        answered_at=timezone.now(),
        note=note.strip()[:500],
        before=before,
    )
    if not changed:
        raise _refused(
            "request_answered",
            _("This request is answered already."),
            _("Look at the job: its priority shows what came of it."),
            status=409,
        )


def _check(request: PriorityRequest, by: User) -> None:
    if not permissions.can_manage(by, request.job.project):
        raise _refused(
            "forbidden",
            _("Only a lead of the project or an admin decides."),
            _("Ask one of them."),
            status=403,
        )


def _with_people(found: QuerySet[PriorityRequest]) -> QuerySet[PriorityRequest]:
    return found.select_related("job__project", "job__owner", "asked_by", "answered_by")


def _refused(code: str, detail: str, hint: str, *, status: int = 422) -> Refused:
    return Refused(
        code=code, title=_("This is not possible"), detail=detail, hint=hint, status=status
    )
