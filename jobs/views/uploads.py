"""Datasets in parts, from the browser: begin, append at an offset, finish. Small JSON answers for the page's script."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import PurePath
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from jobs import datasets
from jobs.models import Dataset, User
from jobs.refusals import Refused
from jobs.views.signedin import viewer_of


def answering(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A refusal becomes a JSON answer with its status."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except Refused as refusal:
            return JsonResponse(refusal.as_problem(), status=refusal.status)

    return answered


@require_POST
@answering
def begin(request: HttpRequest) -> JsonResponse:
    """Announce a file; says where its parts go."""
    size = request.POST.get("size", "")
    upload = datasets.begin(
        viewer_of(request),
        name=request.POST.get("name", ""),
        filename=request.POST.get("filename", ""),
        size=int(size) if size.isascii() and size.isdigit() and len(size) < 16 else 0,
        project=request.POST.get("project") or None,
    )
    return JsonResponse(
        {
            "parts": reverse("upload", args=[upload.pk]),
            "finish": reverse("upload-finish", args=[upload.pk]),
            "part_bytes": datasets.PART_BYTES,
            "received": upload.received,
        },
        status=201,
    )


@require_http_methods(["GET", "PUT", "DELETE"])
@answering
def part(request: HttpRequest, upload_id: str) -> HttpResponse:
    """PUT appends the body at `offset`; GET says how much has arrived; DELETE gives the upload up."""
    upload = datasets.upload_of(viewer_of(request), upload_id)
    if request.method == "DELETE":
        datasets.discard(upload)
        return HttpResponse(status=204)
    received = upload.received
    if request.method == "PUT":
        offset = request.GET.get("offset", "")
        received = datasets.append(upload, int(offset) if offset.isdigit() else -1, request.body)
    return JsonResponse({"received": received, "size": upload.size})


@require_POST
@answering
def finish(request: HttpRequest, upload_id: str) -> JsonResponse:
    """Check the whole file row by row and store it; a wrong one is refused with row and field."""
    upload = datasets.upload_of(viewer_of(request), upload_id)
    dataset = datasets.finish(upload, request.POST.get("format") or None)
    return JsonResponse(
        {
            "id": dataset.pk,
            "name": dataset.name,
            "version": dataset.version,
            "rows": dataset.rows,
            "format": dataset.format,
            "url": reverse("dataset", args=[dataset.pk]),
        },
        status=201,
    )


def store_posted_file(
    file: UploadedFile,
    user: User,
    project: str | None,
    *,
    name: str = "",
    dataset_format: str | None = None,
) -> Dataset:
    """A dataset that came whole inside a form, for browsers without scripts.

    Raises:
        Refused: it is not accepted; says why.
    """
    filename = PurePath(file.name or "").name
    return datasets.store(
        user,
        name=name or PurePath(filename).stem,
        filename=filename,
        size=file.size or 0,
        chunks=file.chunks(),
        project=project,
        dataset_format=dataset_format,
    )
