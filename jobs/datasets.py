"""Uploaded datasets: sent in parts, checked row by row, given a name in a project.

    upload = begin(user, name="my_data", filename="my_data.jsonl", size=123456)
    while ...: append(upload, offset, part)          # goes on at `upload.received` after a broken connection
    dataset = finish(upload)                         # or Refused, with the row and the field

The content is stored once, whatever it is called; a name with new content is a new version. A job keeps the version
that it was handed in with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Max, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from jobs import datasetrules, datasetstore, permissions
from jobs.core.datasetcheck import DatasetReport
from jobs.core.problems import Problem
from jobs.core.states import ACTIVE
from jobs.core.units import MIB, format_size
from jobs.models import Dataset, DatasetUpload, User
from jobs.projects import project_for
from jobs.refusals import Refused

PART_BYTES = 8 * MIB
"""The largest part of an upload that is accepted at once."""

UPLOADS_KEPT = timedelta(hours=24)


def begin(
    user: User, *, name: str, filename: str, size: int, project: str | None = None
) -> DatasetUpload:
    """Announce an upload; nothing is written before name, type, size, quota and disk are known to do.

    Raises:
        Refused: one of them does not; says what is allowed.
    """
    target = project_for(user, project)
    datasetrules.check_name(name)
    datasetrules.extension_of(filename)
    datasetrules.check_size(size)
    datasetrules.check_room(user, target, size)
    shown = filename.replace(
        "\0", "\N{REPLACEMENT CHARACTER}"
    )  # PostgreSQL stores no NUL in a text
    upload = DatasetUpload(project=target, owner=user, name=name, filename=shown, size=size)
    datasetstore.begin(upload.pk)
    upload.save(force_insert=True)
    return upload


def upload_of(user: User, upload_id: str) -> DatasetUpload:
    """The user's own upload of this id.

    Raises:
        Refused: there is none (404).
    """
    found = DatasetUpload.objects.filter(pk=upload_id, owner=user).first()
    if found is None:
        raise _gone()
    return found


def append(upload: DatasetUpload, offset: int, data: bytes) -> int:
    """Add a part; returns how many bytes there are now. The same part sent twice is no trouble.

    Raises:
        Refused: the part does not begin where the upload ends (409; `received` says where), or is too large.
    """
    if len(data) > PART_BYTES:
        raise Refused(
            code="part_too_large",
            title=_("The part is too large"),
            detail=_("A part has %(given)s; allowed are %(most)s.")
            % {"given": format_size(len(data)), "most": format_size(PART_BYTES)},
            hint=_("Send the file in smaller parts."),
            status=413,
        )
    with _alone(upload) as descriptor:
        end = offset + len(data)
        if offset != upload.received or end > upload.size:
            raise _wrong_offset(upload, offset, len(data))
        datasetstore.write_at(descriptor, offset, data)
        DatasetUpload.objects.filter(pk=upload.pk).update(received=end)
        upload.received = end
    return upload.received


def finish(upload: DatasetUpload, dataset_format: str | None = None) -> Dataset:
    """Check a whole upload and store it.

    Raises:
        Refused: rows are wrong (`problems` say which, and the upload is deleted), or parts are missing.
    """
    datasetrules.check_format(dataset_format)
    extension = datasetrules.extension_of(upload.filename)
    with _alone(upload) as descriptor:
        if upload.received != upload.size:
            raise _incomplete(upload)
        report, sha256 = datasetstore.examine(descriptor, extension, dataset_format)
        if not report.ok:
            discard(upload)
            raise refusal_of(report, upload.filename)
        datasetstore.keep(upload.pk, sha256, extension)
        dataset = _stored(upload, report, sha256, extension)
        DatasetUpload.objects.filter(pk=upload.pk).delete()
    return dataset


def store(
    user: User,
    *,
    name: str,
    filename: str,
    size: int,
    chunks: Iterable[bytes],
    project: str | None = None,
    dataset_format: str | None = None,
) -> Dataset:
    """All of it at once, for a file that is here already; `chunks` may have any size.

    Raises:
        Refused: as `begin`, `append` and `finish` do; nothing is left behind.
    """
    upload = begin(user, name=name, filename=filename, size=size, project=project)
    try:
        for chunk in chunks:
            for start in range(0, len(chunk), PART_BYTES):
                append(upload, upload.received, chunk[start : start + PART_BYTES])
        return finish(upload, dataset_format)
    except BaseException:
        discard(upload)
        raise


def discard(upload: DatasetUpload) -> None:
    """Give an upload up. Safe to repeat."""
    DatasetUpload.objects.filter(pk=upload.pk).delete()
    datasetstore.discard(upload.pk)


def visible_to(user: User) -> QuerySet[Dataset]:
    """The datasets of the user's projects, deleted ones not; by name, newest version first."""
    kept = Dataset.objects.filter(deleted_at=None).select_related("project", "owner")
    return kept if user.is_superuser else kept.filter(project__memberships__user=user)


def delete(dataset: Dataset, user: User) -> None:
    """Take a version of a dataset off the list; jobs that were handed in with it keep it until they have ended.

    Raises:
        Refused: the user is neither its owner nor a lead of the project.
    """
    role = permissions.role_in(user, dataset.project)
    if role is None or not (
        dataset.owner_id == user.pk or permissions.can_manage(user, dataset.project)
    ):
        raise Refused(
            code="dataset_not_yours",
            title=_("You cannot delete this dataset"),
            detail=_("“%(name)s” belongs to %(owner)s.")
            % {"name": dataset.name, "owner": dataset.owner},
            hint=_("Ask its owner, or a lead of the project."),
            status=403,
        )
    Dataset.objects.filter(pk=dataset.pk, deleted_at=None).update(deleted_at=timezone.now())


def forget_unused(now: datetime) -> None:
    """Delete uploads that nobody finished, and contents that no dataset and no living job needs. Safe to repeat."""
    before = now - UPLOADS_KEPT
    for upload in DatasetUpload.objects.filter(created_at__lt=before):
        discard(upload)
    needed = Dataset.objects.filter(Q(deleted_at=None) | Q(jobs__state__in=ACTIVE))
    hashes = set(needed.values_list("sha256", flat=True))
    datasetstore.remove_contents_but(hashes, before.timestamp())
    uploads = set(DatasetUpload.objects.values_list("pk", flat=True))
    datasetstore.remove_uploads_but(uploads, before.timestamp())


def refusal_of(report: DatasetReport, filename: str) -> Refused:
    """The "no" to a dataset, which names the first wrong row and field in its sentence and all of them beside."""
    first, *others = report.problems
    more = (
        _(" There are at least %(count)d more problems.") % {"count": len(others)} if others else ""
    )
    return Refused(
        code="dataset_invalid",
        title=_("The dataset is not valid"),
        detail=f"{filename}: {first}.{more}",
        hint=_("Correct the file and upload it again."),
        problems=[
            Problem(
                line=None,
                field=", ".join(part for part in (_row(each.row), each.field) if part),
                message=each.message,
                hint="correct the file",
            )
            for each in report.problems
        ],
        extra={"format": report.format, "rows": report.rows, "stopped": report.stopped},
    )


def _row(row: int | None) -> str:
    return f"row {row}" if row is not None else ""


@contextmanager
def _alone(upload: DatasetUpload) -> Iterator[int]:
    """The upload's file, and its row as it is now, for this request alone."""
    try:
        with datasetstore.alone(upload.pk) as descriptor:
            upload.refresh_from_db()
            yield descriptor
    except (datasetstore.UploadGoneError, DatasetUpload.DoesNotExist) as error:
        raise _gone() from error
    except datasetstore.UploadBusyError as error:
        raise Refused(
            code="upload_busy",
            title=_("The upload is in use"),
            detail=_("Another request is working on this upload."),
            hint=_("Wait until it has ended, then ask how much has arrived."),
            status=409,
        ) from error


def _stored(upload: DatasetUpload, report: DatasetReport, sha256: str, extension: str) -> Dataset:
    """The row for the content: the newest version itself where it is the same, else the next one."""
    while True:
        versions = Dataset.objects.filter(project=upload.project, name=upload.name)
        newest = versions.filter(deleted_at=None).order_by("-version").first()
        if newest is not None and (newest.sha256, newest.format) == (sha256, report.format):
            return newest
        last = versions.aggregate(last=Max("version"))["last"] or 0
        try:
            with transaction.atomic():
                return Dataset.objects.create(
                    project=upload.project,
                    name=upload.name,
                    version=last + 1,
                    owner=upload.owner,
                    sha256=sha256,
                    extension=extension,
                    format=report.format or "",
                    columns=list(report.columns),
                    rows=report.rows,
                    size=upload.size,
                    preview=list(report.preview),
                )
        except IntegrityError:  # somebody else stored a version of this name at the same moment
            continue


def _gone() -> Refused:
    return Refused(
        code="upload_missing",
        title=_("There is no such upload"),
        detail=_("The upload is finished, was given up, or was never yours."),
        hint=_("Begin a new upload."),
        status=404,
    )


def _wrong_offset(upload: DatasetUpload, offset: int, length: int) -> Refused:
    return Refused(
        code="upload_offset",
        title=_("The part does not belong here"),
        detail=_(
            "%(received)d of %(size)d bytes have arrived; the part covers bytes %(start)d to %(end)d."
        )
        % {
            "received": upload.received,
            "size": upload.size,
            "start": offset,
            "end": offset + length,
        },
        hint=_("Go on at the byte that `received` says."),
        status=409,
        extra={"received": upload.received, "size": upload.size},
    )


def _incomplete(upload: DatasetUpload) -> Refused:
    return Refused(
        code="upload_incomplete",
        title=_("The upload is not whole"),
        detail=_("%(received)d of %(size)d bytes have arrived.")
        % {"received": upload.received, "size": upload.size},
        hint=_("Send the rest, then finish it."),
        status=409,
        extra={"received": upload.received, "size": upload.size},
    )
