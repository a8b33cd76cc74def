"""Datasets: what there is, an upload, and one dataset with its first rows and its jobs."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jobs import datasets, permissions
from jobs.models import Dataset, Job, User
from jobs.refusals import Refused
from jobs.views.conversation import conversation
from jobs.views.signedin import viewer_of
from jobs.views.uploads import store_posted_file

JOBS_SHOWN = 20
CELLS_SHOWN = 6


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def dataset_list(request: HttpRequest) -> HttpResponse:
    """The list and the upload form; POST is the upload of a browser without scripts."""
    viewer = viewer_of(request)
    if request.method != "POST":
        return render(request, "datasets/list.html", _list(viewer))
    file = request.FILES.get("file")
    if file is None:
        messages.error(request, _("Choose a file first: .json, .jsonl or .csv."))
        return redirect("dataset-list")
    try:
        dataset = store_posted_file(
            file,
            viewer,
            request.POST.get("project") or None,
            name=request.POST.get("name", "").strip(),
            dataset_format=request.POST.get("format") or None,
        )
    except Refused as refusal:
        context = _list(viewer) | {"refusal": refusal}
        return render(request, "datasets/list.html", context, status=refusal.status)
    return redirect("dataset", dataset.pk)


@require_safe
def dataset_page(request: HttpRequest, dataset_id: str) -> HttpResponse:
    """One version of a dataset."""
    viewer = viewer_of(request)
    dataset = _dataset(viewer, dataset_id)
    rows = [row for row in dataset.preview if isinstance(row, dict)]
    users = (
        Job.objects.visible_to(viewer).filter(datasets=dataset).select_related("owner", "project")
    )
    context = {
        "dataset": dataset,
        "versions": datasets.visible_to(viewer).filter(project=dataset.project, name=dataset.name),
        "columns": dataset.columns[:CELLS_SHOWN],
        "table": [
            [_cell(row.get(column)) for column in dataset.columns[:CELLS_SHOWN]] for row in rows
        ],
        "conversations": [conversation(row) for row in rows],
        "jobs": users.order_by("-submitted_at")[:JOBS_SHOWN],
        "jobs_count": users.count(),
        "may_delete": dataset.owner_id == viewer.pk
        or permissions.can_manage(viewer, dataset.project),
    }
    return render(request, "datasets/dataset.html", context)


@require_POST
def delete(request: HttpRequest, dataset_id: str) -> HttpResponse:
    """Take a version off the list."""
    viewer = viewer_of(request)
    dataset = _dataset(viewer, dataset_id)
    try:
        datasets.delete(dataset, viewer)
    except Refused as refusal:
        messages.error(request, f"{refusal.detail} {refusal.hint}")
        return redirect("dataset", dataset.pk)
    messages.success(
        request,
        _("“%(name)s” is deleted. Jobs that were handed in with it keep it.") % {"name": dataset},
    )
    return redirect("dataset-list")


def _list(viewer: User) -> dict[str, Any]:
    newest: dict[tuple[int, str], Dataset] = {}
    with_counts = datasets.visible_to(viewer).annotate(used_by=Count("jobs", distinct=True))
    for dataset in with_counts.order_by("name", "version"):
        newest[dataset.project_id, dataset.name] = dataset
    return {
        "datasets": sorted(newest.values(), key=lambda each: each.created_at, reverse=True),
        "projects": permissions.projects_to_submit_to(viewer),
        "formats": Dataset.Format.choices,
    }


def _dataset(viewer: User, dataset_id: str) -> Dataset:
    found = datasets.visible_to(viewer).filter(pk=dataset_id).first()
    if found is None:
        raise Http404(_("There is no dataset “%(id)s” that you may see.") % {"id": dataset_id})
    return found


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else str(value)
