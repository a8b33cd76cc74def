"""Files in a folder that the job's own account can change at any moment, touched without being led elsewhere.

The service may be root and the account may not: a link planted under an expected name must neither be written
through nor read through. So every step is relative to an open folder, and no link is followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePath
from types import TracebackType
from typing import Self

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # no waiting for a FIFO's writer
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class JobFolder:
    """An open folder; a context manager, which closes it. Names are plain: no slash."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> Self:
        """The folder at a path whose parents belong to the service. Raises OSError."""
        return cls(os.open(path, _FOLDER))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def subfolder(self, name: str) -> Self:
        """The folder of this name; what lies there and is no folder gives way to a new one."""
        try:
            return type(self)(os.open(name, _FOLDER, dir_fd=self._descriptor))
        except FileNotFoundError:
            pass
        except OSError:  # a link or a file
            os.unlink(name, dir_fd=self._descriptor)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=self._descriptor)
        inner = type(self)(os.open(name, _FOLDER, dir_fd=self._descriptor))
        os.fchmod(inner.fileno(), 0o755)  # the umask may have taken rights away
        return inner

    def existing(self, name: str) -> Self:
        """The folder of this name. Raises OSError where there is none, or a link."""
        return type(self)(os.open(name, _FOLDER, dir_fd=self._descriptor))

    def write(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Put a file there, whole or not at all, in the place of whatever has the name."""
        with self._replacing(name) as temporary:
            descriptor = os.open(temporary, _NEW, mode, dir_fd=self._descriptor)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                os.fchmod(descriptor, mode)

    def link(self, source: Path, name: str) -> None:
        """Another name for the file at `source`; a copy where the file system cannot give it one."""
        with self._replacing(name) as temporary:
            try:
                os.link(source, temporary, dst_dir_fd=self._descriptor, follow_symlinks=False)
            except OSError as error:
                if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK}:
                    raise
                self._copy(source, temporary)

    def point(self, name: str, target: str) -> None:
        """A symbolic link to something in the same folder."""
        with self._replacing(name) as temporary:
            os.symlink(target, temporary, dir_fd=self._descriptor)

    def rename(self, name: str, new_name: str, into: JobFolder | None = None) -> None:
        """Give something here another name, in this folder or in another one."""
        target = (into or self).fileno()
        os.rename(name, new_name, src_dir_fd=self._descriptor, dst_dir_fd=target)

    def names(self) -> list[str]:
        """What lies here."""
        with os.scandir(self._descriptor) as entries:
            return [entry.name for entry in entries]

    def folder_names(self) -> list[str]:
        """The folders here, sorted."""
        with os.scandir(self._descriptor) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def fileno(self) -> int:
        """Its descriptor."""
        return self._descriptor

    def _copy(self, source: Path, name: str) -> None:
        descriptor = os.open(name, _NEW, 0o444, dir_fd=self._descriptor)
        with source.open("rb") as original, os.fdopen(descriptor, "wb") as copy:
            shutil.copyfileobj(original, copy, 2**20)
            os.fchmod(descriptor, 0o444)

    @contextlib.contextmanager
    def _replacing(self, name: str) -> Iterator[str]:
        """A name of its own for what is being made, which then takes the place of `name` at once."""
        temporary = f".{name}.{secrets.token_hex(6)}"
        try:
            yield temporary
            os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        finally:
            # Left over by a failure, or by a rename between two names of one file, which leaves both.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self._descriptor)


@contextlib.contextmanager
def reading(root: Path, relative: str | PurePath) -> Iterator[int | None]:
    """A descriptor of the regular file at `relative` below `root`; None where there is none, or a link on the way."""
    descriptor = _open_below(root, PurePath(relative).parts)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def read_small(root: Path, relative: str | PurePath, limit: int) -> bytes | None:
    """The content of such a file; None without one, or where it is larger than `limit` bytes."""
    with reading(root, relative) as descriptor:
        size = os.fstat(descriptor).st_size if descriptor is not None else 0
        if descriptor is None or size > limit:
            return None
        return os.pread(descriptor, size, 0)


def _open_below(root: Path, parts: tuple[str, ...]) -> int | None:
    try:
        folder = os.open(root, _FOLDER)
    except OSError:
        return None
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        descriptor = os.open(parts[-1], _READ, dir_fd=folder)
    except OSError:
        return None
    finally:
        os.close(folder)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None
