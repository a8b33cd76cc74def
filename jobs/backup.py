"""Copies of an SQLite database made while it is in use, few enough to keep.

A PostgreSQL database has its own tools (docs/operations.md) and is left alone.
"""

from __future__ import annotations

import os
import sqlite3
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import connection

HOURS_KEPT = 24
DAYS_KEPT = 14
_NAME = "db-%Y%m%d-%H.sqlite3"


def back_up(now: datetime) -> Path | None:
    """Write this hour's copy and remove those no longer needed; None where the database is not SQLite.

    The copy is whole and consistent, readable by this account only, and appears under its name when it is finished.
    """
    if connection.vendor != "sqlite":
        return None
    directory = settings.COOP_HOME / "backups"
    directory.mkdir(mode=0o700, exist_ok=True)
    finished = directory / now.strftime(_NAME)
    _copy_to(directory / f".{finished.name}.{os.getpid()}", finished)
    for copy in no_longer_needed([path.name for path in directory.glob("db-*.sqlite3")]):
        (directory / copy).unlink(missing_ok=True)
    return finished


def no_longer_needed(names: list[str]) -> list[str]:
    """Of these copies, all but the newest 24 and the newest of each of the newest 14 days."""
    newest_first = sorted(names, reverse=True)
    of_each_day: dict[str, str] = {}
    for name in newest_first:
        of_each_day.setdefault(name[: len("db-20260101")], name)
    kept = {*newest_first[:HOURS_KEPT], *list(of_each_day.values())[:DAYS_KEPT]}
    return [name for name in names if name not in kept]


def _copy_to(unfinished: Path, finished: Path) -> None:
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection.ensure_connection()
    target = sqlite3.connect(unfinished)
    try:
        connection.connection.backup(target)
    finally:
        target.close()
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(finished)
