"""The files of datasets: uploads as they grow, contents by their hash, and the links by which jobs read them.

`COOP_HOME/uploads/<upload id>` becomes `COOP_HOME/datasets/<sha256>/data.<extension>`, read-only. No part of a path
comes from a person: uploads have made-up ids, contents have their hash.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from jobs.core.datasetcheck import DatasetReport, check
from jobs.core.datasetformats import dataset_entry
from jobs.jobfolder import JobFolder
from jobs.models import Dataset

DATASET_INFO = "dataset_info.json"
_BLOCK = 2**20


class UploadBusyError(Exception):
    """Another request is working on this upload at the moment."""


class UploadGoneError(Exception):
    """The upload's file is not there any more."""


def begin(upload_id: str) -> None:
    """Make the empty file of an upload."""
    folder = _uploads()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / upload_id, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(descriptor)


@contextmanager
def alone(upload_id: str) -> Iterator[int]:
    """The open file of an upload, which nobody else works on meanwhile.

    Raises:
        UploadBusyError, UploadGoneError.
    """
    try:
        descriptor = os.open(_uploads() / upload_id, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        raise UploadGoneError from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError as error:
        raise UploadBusyError from error
    finally:
        os.close(descriptor)


def write_at(descriptor: int, offset: int, data: bytes) -> None:
    """Put a part into its place; what a crash left behind it goes."""
    os.ftruncate(descriptor, offset)
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        offset, view = offset + written, view[written:]


def examine(
    descriptor: int, extension: str, dataset_format: str | None = None
) -> tuple[DatasetReport, str]:
    """Check every row and compute the content's hash, in one reading."""
    digest = hashlib.sha256()
    position = 0

    def blocks() -> Iterator[bytes]:
        nonlocal position
        while block := os.pread(descriptor, _BLOCK, position):
            position += len(block)
            digest.update(block)
            yield block

    report = check(blocks(), extension, dataset_format)
    for _ in blocks():  # the rest, where the check ended early
        pass
    return report, digest.hexdigest()


def keep(upload_id: str, sha256: str, extension: str) -> None:
    """Turn a whole upload into stored content; content that is there already stays as it is."""
    source, target = _uploads() / upload_id, content_path(sha256, extension)
    target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    if target.exists():
        os.utime(target.parent)  # so that it is not taken for abandoned before its row is there
        source.unlink()
        return
    source.chmod(0o444)
    _sync(source)
    source.rename(target)
    _sync(target.parent)


def discard(upload_id: str) -> None:
    """Delete the file of an upload. Safe to repeat."""
    (_uploads() / upload_id).unlink(missing_ok=True)


def content_path(sha256: str, extension: str) -> Path:
    """Where the content with this hash is stored."""
    return Path(settings.COOP_HOME, "datasets", sha256, f"data.{extension}")


def remove_contents_but(kept: Collection[str], older_than: float) -> list[str]:
    """Delete stored contents whose hash is not in `kept` and that were last stored before `older_than` (epoch)."""
    return [
        folder.name
        for folder in _folders(Path(settings.COOP_HOME, "datasets"))
        if folder.name not in kept and _remove_if_older(folder, older_than)
    ]


def remove_uploads_but(kept: Collection[str], older_than: float) -> None:
    """Delete files of uploads that no row knows."""
    for path in _folders(_uploads()):
        if path.name not in kept and path.stat().st_mtime < older_than:
            path.unlink(missing_ok=True)


def link_into(work: Path, folder: str, datasets: Iterable[Dataset]) -> list[str]:
    """Make `work/<folder>/<name>` for each dataset, and the dataset_info.json that tells LLaMA-Factory about them.

    The content is linked, not copied, and read-only; LLaMA-Factory goes by a file's extension, so that the plain
    name is a second link. Returns the names. Raises FileNotFoundError where a content is gone.
    """
    listed = list(datasets)
    if not listed:
        return []
    with JobFolder.open(work) as outer, outer.subfolder(folder) as inner:
        info = {}
        for dataset in listed:
            file_name = f"{dataset.name}.{dataset.extension}"
            inner.link(content_path(dataset.sha256, dataset.extension), file_name)
            inner.point(dataset.name, file_name)
            info[dataset.name] = dataset_entry(file_name, dataset.format, dataset.columns)
        inner.write(DATASET_INFO, json.dumps(info, indent=2).encode())
    return [dataset.name for dataset in listed]


def free_bytes() -> int:
    """What the disk of COOP_HOME has left."""
    return shutil.disk_usage(settings.COOP_HOME).free


def _uploads() -> Path:
    return Path(settings.COOP_HOME, "uploads")


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(parent.iterdir())
    except FileNotFoundError:
        return []


def _remove_if_older(folder: Path, older_than: float) -> bool:
    if folder.stat().st_mtime >= older_than:
        return False
    shutil.rmtree(folder)
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
