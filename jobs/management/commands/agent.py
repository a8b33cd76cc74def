"""`manage.py agent`: the process that looks at this node's cards once a second."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from gpus.fleetspec import FleetSpecError
from jobs.agent import Agent


class Command(BaseCommand):
    help = "Looks at the cards once a second, stores what it sees, and tells the pages."

    def handle(self, *_args: Any, **_options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        try:
            agent = Agent()
        except FleetSpecError as error:
            raise CommandError(str(error)) from error
        agent.run(stop)
