"""The services' own log files, kept from filling the disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LARGEST = 20 * 1024 * 1024
"""Bytes after which a log becomes `<name>.log.1`; at most twice that is kept for each service."""


def trim(logs: Path, largest: int = LARGEST) -> None:
    """Copy each log that has grown too large to `.1` and empty it.

    Copied and emptied rather than renamed, because the service goes on writing (appending) to the open file.
    """
    for log in logs.glob("*.log"):
        if log.stat().st_size > largest:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for a message that says why a start failed."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16384))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-count:])
    except OSError:
        return ""
