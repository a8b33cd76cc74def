"""`/datasets`: list, upload at once or in parts, delete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import File, Form, Query, Router, Schema
from ninja.files import UploadedFile as NinjaFile

from jobs import datasets, tokens
from jobs.api.answers import LARGEST_PAGE, answer
from jobs.api.auth import Allowed, grant
from jobs.api.finding import project_to_use
from jobs.api.problems import Invalid, NotFound
from jobs.api.schemas import ProblemOut
from jobs.api.siteschemas import DatasetOut, DatasetsOut, UploadIn, UploadOut
from jobs.core.problems import shortened
from jobs.models import Dataset, DatasetUpload
from jobs.serialize import instant

router = Router()

PART_BODY: dict[str, Any] = {
    "parameters": [
        {
            "in": "header",
            "name": "Upload-Offset",
            "required": True,
            "schema": {"type": "integer", "minimum": 0},
            "description": "where this part begins: what `received` said last",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
}


class DatasetFilter(Schema):
    """Which datasets, and which page of them."""

    project: str | None = None
    name: str | None = None
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 50
    cursor: int = 0


class DatasetForm(Schema):
    """What comes with a file that is uploaded at once."""

    name: str
    project: str | None = None
    format: str | None = None


@router.get("/datasets", response=DatasetsOut, auth=Allowed(tokens.READ))
def list_datasets(request: HttpRequest, wanted: Query[DatasetFilter]) -> HttpResponse:
    """The datasets of your projects, by name, the newest version first."""
    found = _visible(request)
    exact = {"project__slug": wanted.project, "name": wanted.name}
    found = found.filter(**{name: value for name, value in exact.items() if value is not None})
    begin = max(0, wanted.cursor)
    rows = list(found.order_by("name", "-version", "pk")[begin : begin + wanted.limit + 1])
    more = str(begin + wanted.limit) if len(rows) > wanted.limit else None
    items = [_dataset(row) for row in rows[: wanted.limit]]
    return answer(request, {"items": items, "next_cursor": more})


@router.post("/datasets", response={201: DatasetOut, 422: ProblemOut}, auth=Allowed(tokens.SUBMIT))
def upload_dataset(
    request: HttpRequest, file: File[NinjaFile], wanted: Form[DatasetForm]
) -> HttpResponse:
    """Upload a dataset at once. For more than a few megabytes use `/datasets/uploads`, which goes in parts."""
    dataset = datasets.store(
        grant(request).user,
        name=wanted.name,
        filename=file.name or "",
        size=file.size or 0,
        chunks=_chunks(file),
        project=project_to_use(grant(request), wanted.project),
        dataset_format=wanted.format,
    )
    return answer(request, _dataset(dataset), status=201)


@router.post("/datasets/uploads", response={201: UploadOut}, auth=Allowed(tokens.SUBMIT))
def begin_upload(request: HttpRequest, wanted: UploadIn) -> HttpResponse:
    """Begin an upload in parts: then PATCH the parts in their order, then POST to `finish`."""
    upload = datasets.begin(
        grant(request).user,
        name=wanted.name,
        filename=wanted.filename,
        size=wanted.size,
        project=project_to_use(grant(request), wanted.project),
    )
    return answer(request, _upload(upload), status=201)


@router.get("/datasets/uploads/{upload_id}", response=UploadOut, auth=Allowed(tokens.SUBMIT))
def show_upload(request: HttpRequest, upload_id: str) -> HttpResponse:
    """How much of an upload has arrived."""
    return answer(request, _upload(_own(request, upload_id)))


@router.patch(
    "/datasets/uploads/{upload_id}",
    response={200: UploadOut, 409: ProblemOut},
    auth=Allowed(tokens.SUBMIT),
    openapi_extra=PART_BODY,
)
def send_part(request: HttpRequest, upload_id: str) -> HttpResponse:
    """Send the next part, at most `part_bytes` long, at the offset that `received` said last."""
    upload = _own(request, upload_id)
    datasets.append(upload, _offset(request), request.body)
    return answer(request, _upload(upload))


@router.post(
    "/datasets/uploads/{upload_id}/finish",
    response={201: DatasetOut, 422: ProblemOut},
    auth=Allowed(tokens.SUBMIT),
)
def finish_upload(
    request: HttpRequest,
    upload_id: str,
    format: str | None = None,  # noqa: A002 - as in the form
) -> HttpResponse:
    """Have a whole upload checked row by row, and stored."""
    dataset = datasets.finish(_own(request, upload_id), format)
    return answer(request, _dataset(dataset), status=201)


@router.delete("/datasets/uploads/{upload_id}", response={204: None}, auth=Allowed(tokens.SUBMIT))
def give_up_upload(request: HttpRequest, upload_id: str) -> HttpResponse:
    """Give an upload up."""
    datasets.discard(_own(request, upload_id))
    return HttpResponse(status=204)


# After the uploads: their addresses would be taken for ids.


@router.get("/datasets/{dataset_id}", response=DatasetOut, auth=Allowed(tokens.READ))
def show_dataset(request: HttpRequest, dataset_id: str) -> HttpResponse:
    """One version of a dataset."""
    return answer(request, _dataset(_find(request, dataset_id)))


@router.delete("/datasets/{dataset_id}", response={204: None}, auth=Allowed(tokens.SUBMIT))
def delete_dataset(request: HttpRequest, dataset_id: str) -> HttpResponse:
    """Take a version off the list; jobs handed in with it keep it until they have ended."""
    datasets.delete(_find(request, dataset_id), grant(request).user)
    return HttpResponse(status=204)


def _visible(request: HttpRequest) -> QuerySet[Dataset]:
    found = datasets.visible_to(grant(request).user)
    bound = grant(request).project
    return found.filter(project=bound) if bound else found


def _find(request: HttpRequest, dataset_id: str) -> Dataset:
    dataset = _visible(request).filter(pk=dataset_id).first()
    if dataset is None:
        raise NotFound(_("There is no dataset %(id)s.") % {"id": shortened(dataset_id)})
    return dataset


def _own(request: HttpRequest, upload_id: str) -> DatasetUpload:
    upload = datasets.upload_of(grant(request).user, upload_id)
    project_to_use(grant(request), upload.project.slug)
    return upload


def _offset(request: HttpRequest) -> int:
    text = request.headers.get("Upload-Offset", "")
    if text.isascii() and text.isdigit():
        return int(text)
    raise Invalid(
        _("The header Upload-Offset is %(given)s, which is no number of bytes.")
        % {"given": shortened(text) if text else _("missing")},
        _("Send what `received` said last; 0 for the first part."),
    )


def _chunks(file: UploadedFile) -> Iterator[bytes]:
    for chunk in file.chunks():
        yield bytes(chunk)


def _upload(upload: DatasetUpload) -> dict[str, Any]:
    return {
        "id": upload.pk,
        "name": upload.name,
        "project": upload.project.slug,
        "size": upload.size,
        "received": upload.received,
        "part_bytes": datasets.PART_BYTES,
    }


def _dataset(row: Dataset) -> dict[str, Any]:
    return {
        "id": row.pk,
        "name": row.name,
        "version": row.version,
        "project": row.project.slug,
        "owner": row.owner.username,
        "sha256": row.sha256,
        "format": row.format,
        "extension": row.extension,
        "columns": row.columns,
        "rows": row.rows,
        "size_bytes": row.size,
        "created_at": instant(row.created_at),
    }
