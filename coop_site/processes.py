"""The four services: what each runs and what it is told."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from coop_site.services import Service
from jobs.tasks import BEAT


def four_services(home: Path, *, listener: int, token: str | None) -> list[Service]:
    """Web, dispatcher, agent and the django-q2 cluster of one COOP_HOME.

    `listener` is the descriptor of the listening socket; only the web service is told the shared token.
    """
    web = ("-m", "daphne", "--verbosity", "0", "--no-server-name", "--fd")
    steady = {"COOP_PERSISTENT_CONNECTIONS": "1"}
    return [
        Service(
            name="web",
            command=(sys.executable, *web, str(listener), "coop_site.asgi:application"),
            environment={"COOP_AUTH_TOKEN": token} if token else {},
            inherit=(listener,),
        ),
        Service(name="dispatcher", command=_command("dispatcher"), environment=steady),
        Service(name="agent", command=_command("agent"), environment=steady),
        Service(
            name="q2",
            command=_command("qcluster"),
            environment=steady,
            # its sentinel and workers would live on without it: it must end them itself
            death_signal=signal.SIGTERM,
            beat=home / BEAT,
        ),
    ]


def _command(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "django", name, "--settings", "coop_site.settings")
