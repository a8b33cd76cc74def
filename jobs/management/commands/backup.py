"""`manage.py backup`: the hourly copy of an SQLite database, now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from jobs.backup import back_up


class Command(BaseCommand):
    """Safe while everything runs."""

    help = "Copy the database to COOP_HOME/backups."

    def handle(self, *args: Any, **options: Any) -> None:
        copy = back_up(timezone.now())
        self.stdout.write(
            f"Written: {copy}"
            if copy
            else "The database is PostgreSQL: use pg_dump (docs/operations.md)."
        )
