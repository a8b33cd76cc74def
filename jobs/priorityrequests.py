"""Requests until a day: that one job goes ahead, or that a project gets more weight.

Of a job its owner asks, and a lead or an admin decides; of a project a lead asks, and an admin decides. What is
approved holds at once, and falls back on its day, unless somebody has set another value since.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jobs import actions, lifecycle, permissions, quotas
from jobs.audit import record
from jobs.core.states import Priority
from jobs.models import Job, PriorityRequest, Project, User
from jobs.quotas import QuotaChange
from jobs.refusals import Refused

Answer = PriorityRequest.Answer
LONGEST = timedelta(days=30)
LONGEST_REASON = 500
LASTS: tuple[tuple[int, str | Promise], ...] = (
    (1, gettext_lazy("for a day")),
    (3, gettext_lazy("for 3 days")),
    (7, gettext_lazy("for a week")),
    (14, gettext_lazy("for 2 weeks")),
)
"""Days that the pages offer."""
STANDING = (Answer.OPEN, Answer.APPROVED)


def standing_of(job: Job) -> PriorityRequest | None:
    """The job's request that is open or holds."""
    return job.priority_requests.filter(answer__in=STANDING).select_related("asked_by").first()


def standing_of_project(project: Project) -> PriorityRequest | None:
    """The project's request for more weight that is open or holds."""
    standing = project.priority_requests.filter(answer__in=STANDING, job=None)
    return standing.select_related("asked_by").first()


def to_answer(user: User, led: Collection[Project]) -> QuerySet[PriorityRequest]:
    """The open requests that this person, who leads these projects, may decide; the oldest first."""
    found = PriorityRequest.objects.filter(answer=Answer.OPEN, project__in=led)
    if not user.is_superuser:
        found = found.exclude(job=None)
    return _with_people(found).order_by("created_at")


def answered_for(user: User) -> QuerySet[PriorityRequest]:
    """The requests that are decided, of those that this person asked or whose project this person leads."""
    led: list[Project] = permissions.projects_reported_to(user)
    mine = Q(asked_by=user) | Q(project__in=led)
    return _with_people(PriorityRequest.objects.filter(mine).exclude(answer=Answer.OPEN))


def may_ask(user: User, job: Job) -> bool:
    """Whether the person may ask for this job: its own, active, and not one that the person may raise anyway."""
    return (
        job.is_active
        and job.priority < Priority.HIGH
        and permissions.can_control(user, job)
        and not permissions.can_manage(user, job.project)
    )


def may_ask_for_project(user: User, project: Project) -> bool:
    """Whether the person may ask for more weight: a lead, who cannot set it."""
    return permissions.can_manage(user, project) and not user.is_superuser


def ask(
    job: Job, user: User, *, priority: Priority, reason: str, lasts: timedelta
) -> PriorityRequest:
    """Ask that the job gets this priority for so long.

    Raises:
        Refused: somebody who may not ask, no reason, a priority that is no higher, or a request that stands already.
    """
    if not may_ask(user, job):
        raise _refused(
            "forbidden",
            _("You cannot ask for “%(job)s”.") % {"job": job},
            _("Its owner asks while it waits or runs; a lead changes its priority at once."),
            status=403,
        )
    if priority <= job.priority:
        raise _refused(
            "request_invalid",
            _("“%(job)s” has that priority already.") % {"job": job},
            _("Ask for a higher one."),
        )
    request = PriorityRequest(project=job.project, job=job, priority=priority)
    return _store(request, user, reason, lasts, priority=priority.name.lower())


def ask_for_project(
    project: Project, user: User, *, weight: float, reason: str, lasts: timedelta
) -> PriorityRequest:
    """Ask that the project gets this weight for so long.

    Raises:
        Refused: somebody who does not lead it, no reason, a weight that is no higher, or a request that stands already.
    """
    if not may_ask_for_project(user, project):
        raise _refused(
            "forbidden",
            _("You cannot ask for “%(project)s”.") % {"project": project},
            _("A lead of the project asks; an admin changes its weight at once."),
            status=403,
        )
    if not project.weight < weight <= quotas.MOST_WEIGHT:
        raise _refused(
            "request_invalid",
            _("A weight of %(weight)s is not more than it has, or more than there can be.")
            % {"weight": f"{weight:g}"},
            _("Ask for more than %(now)s and at most %(most)s.")
            % {"now": f"{project.weight:g}", "most": f"{quotas.MOST_WEIGHT:g}"},
        )
    return _store(
        PriorityRequest(project=project, weight=weight), user, reason, lasts, weight=weight
    )


def _store(
    request: PriorityRequest, user: User, reason: str, lasts: timedelta, **told: object
) -> PriorityRequest:
    reason = reason.strip()[:LONGEST_REASON]
    if not reason:
        raise _refused(
            "reason_missing",
            _("The request says no reason."),
            _("Say in a sentence why, such as “results for Friday's review”."),
        )
    if not timedelta(0) < lasts <= LONGEST:
        raise _refused(
            "request_invalid",
            _("A request cannot hold for %(days)s days.")
            % {"days": f"{lasts / timedelta(days=1):g}"},
            _("Ask for more than 0 and at most %(days)s days.") % {"days": LONGEST.days},
        )
    request.asked_by, request.reason = user, reason
    request.ends_at = timezone.now() + lasts
    try:
        with transaction.atomic():
            request.save(force_insert=True)
            record(user, request, "asked", reason=reason, until=request.ends_at, **told)
    except IntegrityError as error:
        raise _refused(
            "request_stands",
            _("“%(what)s” has a request already.") % {"what": request.subject},
            _("Wait for its answer, or withdraw it first."),
            status=409,
        ) from error
    return request


def approve(request: PriorityRequest, by: User, note: str = "") -> None:
    """Let what was asked for hold until the day of the request.

    Raises:
        Refused: somebody who may not, a request that is decided already, or a job that has ended.
    """
    _check(request, by)
    job, project = request.job, request.project
    with transaction.atomic():
        _answer(request, Answer.APPROVED, by, note, before=job.priority if job else project.weight)
        if job is not None:
            actions.set_priority(job, by, Priority(request.priority or 0), reason=request.reason)
        else:
            quotas.change([QuotaChange(project=project, weight=request.weight)], by)
        record(by, request, "request approved", note=note, until=request.ends_at)


def decline(request: PriorityRequest, by: User, note: str = "") -> None:
    """Leave everything as it is.

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
    """Let fall back whose day has come, and end the requests of ended jobs; how many. Safe to repeat."""
    standing = PriorityRequest.objects.filter(answer__in=STANDING)
    found = standing.select_related("job__project", "project", "answered_by")
    ended = [each for each in found if each.ends_at <= now or (each.job and not each.job.is_active)]
    return sum(_end(each) for each in ended)


def _end(request: PriorityRequest) -> bool:
    with transaction.atomic():
        still = PriorityRequest.objects.filter(pk=request.pk, answer=request.answer)
        if not still.update(answer=Answer.ENDED):
            return False
        if request.answer == Answer.APPROVED and request.before is not None:
            _fall_back(request, request.before)
    return True


def _fall_back(request: PriorityRequest, before: float) -> None:
    """To what held before, where nobody has set another value since."""
    job = request.job
    if job is None:
        quotas.fall_back(request.project, request.weight or 0.0, before, request.answered_by)
    elif job.is_active and job.priority == request.priority:
        lifecycle.reprioritise(job, int(before), None, detail=_("Its time ahead is over."))


def _answer(
    request: PriorityRequest, answer: str, by: User, note: str, *, before: float | None = None
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
    if request.job is None and not by.is_superuser:
        raise _refused(
            "forbidden",
            _("A project's weight decides over other projects, too: only an admin decides."),
            _("Ask one."),
            status=403,
        )
    if not permissions.can_manage(by, request.project):
        raise _refused(
            "forbidden",
            _("Only a lead of the project or an admin decides."),
            _("Ask one of them."),
            status=403,
        )


def _with_people(found: QuerySet[PriorityRequest]) -> QuerySet[PriorityRequest]:
    return found.select_related("project", "job__owner", "asked_by", "answered_by")


def _refused(code: str, detail: str, hint: str, *, status: int = 422) -> Refused:
    return Refused(
        code=code, title=_("This is not possible"), detail=detail, hint=hint, status=status
    )
