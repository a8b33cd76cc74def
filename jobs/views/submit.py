"""Handing in a job in the browser: a task file, a LLaMA-Factory config, or text; with a dataset in one go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from gpus.models import Device
from jobs import permissions, queue, submission
from jobs.core.problems import Problem, TaskFileError
from jobs.core.states import Priority
from jobs.dryrun import DryRun, dry_run
from jobs.memorywords import estimate_json, sentence
from jobs.models import Dataset, Job, User
from jobs.refusals import Refused
from jobs.sight import sight_of
from jobs.views import draft as drafts
from jobs.views.draft import Draft
from jobs.views.signedin import job_for, viewer_of
from jobs.views.uploads import store_posted_file

_IMPOSSIBLE = frozenset({"never_fits", "no_such_gpu_type", "too_few_cards", "over_project_quota"})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the site says to a draft: a plan, or a refusal with its problems by field."""

    prepared: submission.Prepared | None = None
    dry_run: DryRun | None = None
    refusal: Refused | None = None

    @property
    def estimate(self) -> dict[str, Any] | None:
        """What is told of its memory."""
        prepared = self.prepared
        if prepared is None or prepared.estimate is None:
            return None
        booked = prepared.spec.resources.min_memory if prepared.is_estimated else None
        return estimate_json(prepared.estimate, booked)

    @property
    def fits_on(self) -> str:
        """The cards that would take it now, by their names on the pages."""
        cards = self.dry_run.verdicts if self.dry_run else ()
        return ", ".join(f"gpu{each.index}" for each in cards if each.fits)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong, field by field."""
        return self.refusal.problems if self.refusal else ()

    @property
    def by_field(self) -> dict[str, Problem]:
        """The first problem of each field, by the name of its input."""
        return {
            problem.field.removeprefix("resources."): problem for problem in reversed(self.problems)
        }

    @property
    def lines(self) -> list[int]:
        """The lines of the text that have a problem."""
        return sorted({problem.line for problem in self.problems if problem.line})

    @property
    def is_impossible(self) -> bool:
        """Whether it is refused only because no card of today can hold it."""
        return self.refusal is not None and self.refusal.code in _IMPOSSIBLE


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def submit(request: HttpRequest) -> HttpResponse:
    """The form; on POST the job, or the form as it was filled in with what is wrong."""
    if request.method != "POST":
        return _form(request, _first_draft(request))
    draft, viewer = drafts.posted(request), viewer_of(request)
    try:
        draft = _with_posted_dataset(request, draft, viewer)
        result = _submit(request, draft, viewer)
    except TaskFileError as error:
        return _form(request, draft, Answer(refusal=_invalid(error)))
    except Refused as refusal:
        return _form(request, draft, Answer(refusal=refusal))
    _tell(request, result)
    return redirect("job", result.job.pk)


@require_POST
@never_cache
def check(request: HttpRequest) -> HttpResponse:
    """What would happen to the form as it is now; nothing is stored."""
    draft = drafts.posted(request)
    if not (draft.config if draft.tab == "config" else draft.task).strip():
        return render(request, "submit/_check.html", {"answer": None})
    return render(
        request,
        "submit/_check.html",
        {"answer": _answer(draft, viewer_of(request)), "draft": draft},
    )


def _submit(request: HttpRequest, draft: Draft, viewer: User) -> submission.Submission:
    parent = job_for(request, draft.parent) if draft.parent else None
    result = submission.submit(
        drafts.spec_of(draft),
        viewer,
        project=draft.project or None,
        door="form",
        keep_impossible=bool(draft.keep_impossible),
        cloned_from=parent,
    )
    queue.forget()
    return result


def _answer(draft: Draft, viewer: User) -> Answer:
    try:
        prepared = submission.prepare(
            drafts.spec_of(draft),
            viewer,
            project=draft.project or None,
            keep_impossible=bool(draft.keep_impossible),
        )
    except TaskFileError as error:
        return Answer(refusal=_invalid(error))
    except Refused as refusal:
        return Answer(refusal=refusal)
    return Answer(prepared=prepared, dry_run=dry_run(prepared, viewer, sight_of(viewer)))


def _with_posted_dataset(request: HttpRequest, draft: Draft, viewer: User) -> Draft:
    """A dataset that came inside the form (without scripts it cannot come in parts) is stored first."""
    file = request.FILES.get("dataset_file")
    if file is None:
        return draft
    dataset = store_posted_file(file, viewer, draft.project or None)
    return replace(draft, dataset=dataset.name)


def _first_draft(request: HttpRequest) -> Draft:
    if request.GET.get("from"):
        parent = job_for(request, request.GET["from"])
        return drafts.repeated(parent, drafts.changes_in(request.GET))
    tab = request.GET.get("tab", "")
    dataset = request.GET.get("dataset", "")
    project = request.GET.get("project", "")
    return Draft(tab=tab if tab in drafts.TABS else "upload", dataset=dataset, project=project)


def _form(request: HttpRequest, draft: Draft, answer: Answer | None = None) -> HttpResponse:
    viewer = viewer_of(request)
    projects = permissions.projects_to_submit_to(viewer)
    context: dict[str, Any] = {
        "draft": draft,
        "answer": answer,
        "tabs": _tabs(),
        "projects": projects,
        "datasets": _datasets(viewer),
        "priorities": [priority.name.lower() for priority in Priority],
        "gpu_names": sorted(set(Device.objects.values_list("name", flat=True))),
        "starter": drafts.STARTER,
        "changes": drafts.changes_in(request.GET),
        "parent": Job.objects.visible_to(viewer).filter(pk=draft.parent).first()
        if draft.parent
        else None,
    }
    status = answer.refusal.status if answer and answer.refusal else 200
    return render(request, "submit/submit.html", context, status=status)


def _tabs() -> list[tuple[str, str, str]]:
    return [
        ("upload", _("Task file"), "file"),
        ("config", _("LLaMA-Factory config"), "bolt"),
        ("text", _("Write YAML"), "list"),
    ]


def _datasets(viewer: User) -> list[Dataset]:
    """The newest version of each dataset that the viewer may use."""
    projects = permissions.projects_to_submit_to(viewer)
    kept = Dataset.objects.filter(project__in=projects, deleted_at=None).select_related("project")
    newest: dict[tuple[int, str], Dataset] = {}
    for dataset in kept.order_by("project__slug", "name", "version"):
        newest[dataset.project_id, dataset.name] = dataset
    return list(newest.values())


def _invalid(error: TaskFileError) -> Refused:
    return submission.SubmitRefused(
        code="task_invalid",
        title=_("The task is not valid"),
        detail=_("Correct what is marked and submit again."),
        problems=error.problems,
    )


def _tell(request: HttpRequest, result: submission.Submission) -> None:
    for warning in result.warnings:
        messages.warning(request, warning.detail)
    if result.created and result.is_estimated and result.estimate is not None:
        messages.info(request, sentence(result.estimate, result.job.min_memory))
    if not result.created:
        messages.info(request, _("This very job is active already; here it is."))
