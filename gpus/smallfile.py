"""Reading a small file that others write at will: nothing they put in its place may block or flood the reader."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_small(path: Path, limit: int, *, follow_links: bool = False) -> bytes:
    """At most `limit` bytes of a regular file.

    Raises:
        OSError: there is none, or it is a pipe, a device or (unless they are followed) a link.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file.")
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)
