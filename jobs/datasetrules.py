"""What an upload must keep to before a byte of it is written: name, type, size, quota, disk."""

from __future__ import annotations

import re

from django.db.models import F, QuerySet, Sum
from django.db.models.expressions import Combinable
from django.utils.translation import gettext as _

from jobs import datasetstore
from jobs.core.datasetformats import FORMATS
from jobs.core.datasetrows import EXTENSIONS
from jobs.core.units import GIB, format_size
from jobs.models import Dataset, DatasetUpload, Project, User
from jobs.refusals import Refused

LARGEST_DATASET = 16 * GIB

LARGEST_PROJECT = 200 * GIB
"""All datasets of a project together, uploads under way included."""

MOST_UPLOADS = 8
"""Uploads that one person may have under way."""

DISK_RESERVE = 2 * GIB
"""Left free on the disk of COOP_HOME, whatever is uploaded."""

_NAME = re.compile(r"\w[\w.-]{0,63}")
_ENDINGS = tuple(f".{extension}" for extension in EXTENSIONS)
_RESERVED = frozenset({"dataset_info"})


def check_name(name: str) -> None:
    """Refuses a name that could not be a file's, or that LLaMA-Factory would cut in two at a comma."""
    if _NAME.fullmatch(name) and not name.lower().endswith(_ENDINGS) and name not in _RESERVED:
        return
    raise Refused(
        code="dataset_name_invalid",
        title=_("The name cannot be used"),
        detail=_("“%(name)s” cannot be the name of a dataset.") % {"name": name[:80]},
        hint=_(
            "Allowed are 1 to 64 letters, digits, '.', '_' and '-', first no sign, without the file's extension."
        ),
    )


def extension_of(filename: str) -> str:
    """The file's type by its name; refuses what LLaMA-Factory or the row check cannot read."""
    if filename.lower().endswith(_ENDINGS) and len(filename) <= 255:
        return filename.rpartition(".")[2].lower()
    raise Refused(
        code="dataset_type_unknown",
        title=_("This file type is not accepted"),
        detail=_("“%(name)s” is none of the accepted file types.") % {"name": filename[:80]},
        hint=_("Allowed are .jsonl, .json and .csv; convert the file to one of them."),
        status=415,
    )


def check_size(size: int) -> None:
    """Refuses an empty file, and one above the limit."""
    if size == 0:
        raise Refused(
            code="dataset_empty",
            title=_("The file is empty"),
            detail=_("The file has no bytes."),
            hint=_("Choose a file with at least one row."),
        )
    if not 0 < size <= LARGEST_DATASET:
        raise Refused(
            code="dataset_too_large",
            title=_("The file is too large"),
            detail=_("The file has %(size)s; allowed are %(most)s.")
            % {"size": format_size(size), "most": format_size(LARGEST_DATASET)},
            hint=_("Split the dataset, or put it on the server and name its folder in the config."),
            status=413,
        )


def check_room(user: User, project: Project, size: int) -> None:
    """Refuses what quota or disk have no room for; both count what uploads under way have been promised."""
    _check_uploads(user)
    _check_quota(project, size)
    _check_disk(size)


def _check_uploads(user: User) -> None:
    if DatasetUpload.objects.filter(owner=user).count() >= MOST_UPLOADS:
        raise Refused(
            code="too_many_uploads",
            title=_("Too many uploads"),
            detail=_("You have %(most)d uploads under way, which is the most.")
            % {"most": MOST_UPLOADS},
            hint=_("Finish or delete one of them first; unfinished ones are deleted after a day."),
            status=429,
        )


def _check_quota(project: Project, size: int) -> None:
    uploads = DatasetUpload.objects.filter(project=project)
    held = _sum(Dataset.objects.filter(project=project, deleted_at=None), F("size"))
    held += _sum(uploads, F("size"))
    if held + size > LARGEST_PROJECT:
        raise Refused(
            code="dataset_quota",
            title=_("The project has no room for this dataset"),
            detail=_("The project holds %(held)s of %(most)s; the file has %(size)s.")
            % {
                "held": format_size(held),
                "most": format_size(LARGEST_PROJECT),
                "size": format_size(size),
            },
            hint=_("Delete datasets that are not needed any more."),
            status=413,
        )


def _check_disk(size: int) -> None:
    promised = _sum(DatasetUpload.objects.all(), F("size") - F("received"))
    if datasetstore.free_bytes() - promised - size < DISK_RESERVE:
        raise Refused(
            code="disk_full",
            title=_("The disk is too full"),
            detail=_("The server's disk has no room for %(size)s.") % {"size": format_size(size)},
            hint=_("Tell an admin; old job folders and datasets can be removed."),
            status=507,
        )


def check_format(given: str | None) -> None:
    """Refuses a format that nobody knows; None means "go by the first row"."""
    if given is None or given in FORMATS:
        return
    raise Refused(
        code="dataset_format_unknown",
        title=_("This format is unknown"),
        detail=_("“%(given)s” is no format of a dataset.") % {"given": given[:40]},
        hint=_("Allowed are alpaca, sharegpt and openai; leave it out to go by the first row."),
    )


def _sum(rows: QuerySet, what: Combinable) -> int:
    return rows.aggregate(total=Sum(what))["total"] or 0
