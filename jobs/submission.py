"""Handing in a job: the one function behind the form, the command line, REST and Python."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from jobs import dependencies, lifecycle, memory, memorywords, snapshots
from jobs.core.constraints import Obstacle
from jobs.core.estimate.answer import Estimate
from jobs.core.estimate.kind import memory_kind_of
from jobs.core.estimate.problems import CannotEstimate
from jobs.core.jobspec import JobSpec
from jobs.core.llamafactory import check_config
from jobs.core.placement import never_fits
from jobs.core.plan import WaitCode
from jobs.core.problems import Problem, TaskFileError
from jobs.core.scheduling.quota import QuotaBooks
from jobs.core.snapshot import JobView
from jobs.core.taskfile import parse_task
from jobs.core.template import template_of
from jobs.models import Dataset, Job, Project, TrainingConfig, User
from jobs.projects import project_for
from jobs.projectviews import limits_of
from jobs.refusals import Refused, Warned
from jobs.why import sentence


class SubmitRefused(Refused):
    """A job that is not accepted."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What came of handing in a job. `created` is False where the same job was active already."""

    job: Job
    created: bool
    warnings: tuple[Warned, ...] = field(default=())
    estimate: Estimate | None = None
    is_estimated: bool = False  # whether the estimate was filled in as min_memory


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A job that could be handed in: checked against the site, but not stored."""

    spec: JobSpec
    project: Project
    dataset: Dataset | None
    content_hash: str
    warnings: tuple[Warned, ...] = ()
    estimate: Estimate | None = None
    is_estimated: bool = False  # whether the estimate was filled in as min_memory


def submit(
    task: str | bytes | JobSpec,
    user: User,
    *,
    project: str | None = None,
    door: str = "api",
    keep_impossible: bool = False,
    cloned_from: Job | None = None,
) -> Submission:
    """Check `task` and store it as a job of `user`.

    While a task_id is active in its project, the same content answers with that job; a task_id that has ended
    makes a new run. `project` overrides the task's own. `keep_impossible` queues a job that no card of today can
    hold ("the hardware is coming").

    Raises:
        Refused: it is not accepted; says why, field by field where the task itself is wrong.
    """
    prepared = prepare(task, user, project=project, keep_impossible=keep_impossible)
    active = _active(prepared)
    if active is None:
        try:
            return _create(prepared, user, door, cloned_from)
        except IntegrityError:  # the same task_id was handed in at the same moment
            active = _active(prepared)
            if active is None:
                raise
    return _repeat(prepared, active)


def prepare(
    task: str | bytes | JobSpec,
    user: User,
    *,
    project: str | None = None,
    keep_impossible: bool = False,
) -> Prepared:
    """All the checks of `submit`, and nothing stored: what a dry run and the form's preview call."""
    spec = task if isinstance(task, JobSpec) else _parse(task)
    target = project_for(user, project or spec.project)
    asked = with_named_config(spec, target).model_copy(update={"project": target.slug})
    estimate = _checked_estimate(asked)
    dataset = _dataset(asked, target)
    spec = _with_memory(asked, estimate, user, target)
    warnings = _check_possible(spec, user, target, keep_impossible, estimate=estimate)
    given = asked.resources.min_memory
    if estimate is not None and given is not None:
        warnings += memorywords.too_little(estimate, given)
    return Prepared(
        spec=spec,
        project=target,
        dataset=dataset,
        content_hash=_content_hash(asked, dataset),  # what was learned meanwhile changes no task
        warnings=warnings,
        estimate=estimate,
        is_estimated=given is None,
    )


def _parse(task: str | bytes) -> JobSpec:
    try:
        return parse_task(task)
    except TaskFileError as error:
        raise _invalid(error.problems) from error


def _invalid(problems: tuple[Problem, ...]) -> SubmitRefused:
    return SubmitRefused(
        code="task_invalid",
        title=_("The task is not valid"),
        detail=" ".join(str(problem) for problem in problems),
        hint=_("Correct the fields named and submit again."),
        problems=problems,
    )


def with_named_config(spec: JobSpec, project: Project) -> JobSpec:
    """A config that is given by name becomes the newest one of that name, pinned as it is now."""
    if not isinstance(spec.llamafactory, str):
        return spec
    config = project.training_configs.filter(name=spec.llamafactory).first()
    if config is None:
        raise SubmitRefused(
            code="config_missing",
            title=_("There is no such training config"),
            detail=_(
                "The project “%(project)s” has no training config “%(name)s”. It has: %(known)s."
            )
            % {
                "project": project.slug,
                "name": spec.llamafactory,
                "known": _names(TrainingConfig.objects.filter(project=project)),
            },
            hint=_("Upload the YAML with the task, or write the config into the task itself."),
        )
    return spec.model_copy(update={"llamafactory": config.content})


def _checked_estimate(spec: JobSpec) -> Estimate | None:
    """What the job will need, where that can be told.

    Raises:
        SubmitRefused: its training config is not valid, or it names no `min_memory` and nothing can be told.
    """
    config = spec.llamafactory
    problems = check_config(config, dataset=spec.dataset) if isinstance(config, dict) else ()
    estimate = None
    try:
        estimate = memory.estimate_for(spec)
    except CannotEstimate as error:
        if spec.resources.min_memory is None:
            problems += (_no_memory(error),)
    if problems:
        raise _invalid(problems)
    return estimate


def _no_memory(error: CannotEstimate) -> Problem:
    message = _("min_memory is not given, and cannot be estimated: %(field)s: %(message)s")
    return Problem(
        line=None,
        field="resources.min_memory",
        message=message % {"field": error.field, "message": error.message},
        hint=error.hint,
    )


def _with_memory(spec: JobSpec, estimate: Estimate | None, user: User, project: Project) -> JobSpec:
    if spec.resources.min_memory is not None or estimate is None:
        return spec
    view = snapshots.spec_view(spec, user, project)
    return spec.with_min_memory(memory.booking(estimate, view, snapshots.device_views()))


def _dataset(spec: JobSpec, project: Project) -> Dataset | None:
    if spec.dataset is None:
        return None
    kept = project.datasets.filter(deleted_at=None)
    dataset = kept.filter(name=spec.dataset).order_by("-version").first()
    if dataset is None:
        raise SubmitRefused(
            code=WaitCode.DATASET_MISSING.lower(),
            title=_("There is no such dataset"),
            detail=_("The project “%(project)s” has no dataset “%(name)s”. It has: %(known)s.")
            % {"project": project.slug, "name": spec.dataset, "known": _names(kept)},
            hint=_("Upload the dataset first, or name one of these."),
        )
    return dataset


def _names(rows: object) -> str:
    names = sorted(set(rows.values_list("name", flat=True)))  # type: ignore[attr-defined] # a queryset
    return ", ".join(names) or _("none")


def _check_possible(
    spec: JobSpec,
    user: User,
    project: Project,
    keep_impossible: bool,
    *,
    estimate: Estimate | None,
) -> tuple[Warned, ...]:
    """Refuse what no waiting helps: no card of this site can ever hold it, or no quota ever allow it."""
    view = snapshots.spec_view(spec, user, project)
    obstacle = never_fits(view, snapshots.device_views()) or over_quota(view, user, project)
    if obstacle is None:
        return ()
    why = sentence(obstacle.code, obstacle.numbers)
    if estimate is not None and obstacle.code is WaitCode.NEVER_FITS:
        why = f"{why} {memorywords.sentence(estimate)}"
    if keep_impossible:
        return (Warned(code=obstacle.code.lower(), detail=why),)
    title, hint = _no_and_what_to_do(obstacle.code)
    raise SubmitRefused(
        code=obstacle.code.lower(),
        title=title,
        detail=why,
        hint=hint,
        extra={"numbers": dict(obstacle.numbers)},
    )


def over_quota(view: JobView, user: User, project: Project) -> Obstacle | None:
    """Why the job is more than the project, or its owner there, may ever have at once."""
    books = QuotaBooks()
    books.put(limits_of(project, user))
    obstacle = books.obstacle(view, view.submitted_at)
    is_lasting = obstacle is not None and obstacle.code is WaitCode.OVER_PROJECT_QUOTA
    return obstacle if is_lasting else None


def _no_and_what_to_do(code: WaitCode) -> tuple[str, str]:
    if code is WaitCode.OVER_PROJECT_QUOTA:
        return _("The quota does not allow this job"), _(
            "Ask for less, or have the quota raised; with keep_impossible it waits until then."
        )
    return _("No card here can run this job"), _(
        "Ask for what a card here has, or submit with keep_impossible if the card is on its way."
    )


def _content_hash(spec: JobSpec, dataset: Dataset | None) -> str:
    """The same task with another version of its dataset is another job."""
    if dataset is None:
        return spec.content_hash()
    both = json.dumps([spec.content_hash(), dataset.sha256])
    return hashlib.sha256(both.encode()).hexdigest()


def _active(prepared: Prepared) -> Job | None:
    return (
        Job.objects.active()
        .filter(project=prepared.project, task_id=prepared.spec.task_id)
        .select_related("project", "owner")
        .first()
    )


def _repeat(prepared: Prepared, active: Job) -> Submission:
    if active.content_hash == prepared.content_hash:
        return _done(prepared, active, created=False)
    raise SubmitRefused(
        code="task_id_in_use",
        title=_("This task_id is in use"),
        detail=_(
            "“%(job)s” of the project “%(project)s” is %(state)s, and its content differs from this one."
        )
        % {"job": active, "project": prepared.project.slug, "state": active.state},
        hint=_("Choose another task_id, or cancel that job first."),
        status=409,
        extra={"job": active.pk},
    )


def _done(prepared: Prepared, job: Job, *, created: bool) -> Submission:
    return Submission(
        job=job,
        created=created,
        warnings=prepared.warnings,
        estimate=prepared.estimate,
        is_estimated=prepared.is_estimated,
    )


def _create(prepared: Prepared, user: User, door: str, cloned_from: Job | None) -> Submission:
    spec, resources = prepared.spec, prepared.spec.resources
    with transaction.atomic():
        job = Job(
            project=prepared.project,
            owner=user,
            task_id=spec.task_id,
            run=_next_run(prepared),
            priority=spec.priority,
            spec=spec.canonical(),
            content_hash=prepared.content_hash,
            min_memory=resources.min_memory or 0,  # named, or the checks have refused it
            gpus=resources.gpus,
            nodes=resources.nodes,
            gpu_type=resources.gpu_type or "",
            exclusive=resources.exclusive,
            preemptible=_is_preemptible(spec),
            est_time=spec.est_time,
            time_limit=spec.time_limit,
            template=template_of(spec),
            memory_kind=memory_kind_of(spec),
            door=door,
            cloned_from=cloned_from,
        )
        lifecycle.submit(job, user, wait=dependencies.wait_of(spec.depends_on, prepared.project))
        if prepared.dataset is not None:
            job.datasets.add(prepared.dataset)
    return _done(prepared, job, created=True)


def _next_run(prepared: Prepared) -> int:
    of_this_id = Job.objects.filter(project=prepared.project, task_id=prepared.spec.task_id)
    return (of_this_id.aggregate(last=Max("run"))["last"] or 0) + 1


def _is_preemptible(spec: JobSpec) -> bool:
    """Unless the task says otherwise: where a way to save the work is known, which an opaque command has not."""
    return spec.llamafactory is not None if spec.preemptible is None else spec.preemptible
