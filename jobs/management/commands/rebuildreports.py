"""`manage.py rebuildreports`: the report ledger thrown away and made again from the rows."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from jobs.ledger import rollup


class Command(BaseCommand):
    help = "Make the report ledger again from bookings, attempts, events and readings."

    def handle(self, *args: Any, **options: Any) -> None:
        rollup.start_over()
        days = rollup.roll_up(timezone.now())
        self.stdout.write(f"Reports: {days} finished days are in the ledger again.")
