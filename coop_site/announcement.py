"""How people and clients of this machine learn that the service is ready, and where."""

from __future__ import annotations

import os
import time
from collections import Counter

from django.conf import settings
from django.db import connections

from coop_site.installation import forget_local_tokens, new_local_token, sign_in_link
from coop_site.instance import Instance, local_record, remove_own, write_private
from gpus.models import Device
from jobs.core.version import __version__
from jobs.signin import ADDRESS

RENEW_AFTER_S = 30 * 86400.0
"""A token lives at most 90 days; a service may run longer."""


class Announcement:
    """The records that name this run; taken back at the end."""

    def __init__(self, url: str, instance: Instance) -> None:
        self._url = url
        self._instance = instance
        self._written_at = 0.0

    def publish(self) -> None:
        """Write the records and print the way in."""
        self._write()
        (settings.COOP_HOME / ADDRESS).write_text(self._url, encoding="utf-8")
        self._instance.describe(url=self._url)
        print(_banner(self._url), flush=True)

    def renew(self) -> None:
        """Give local clients a new token long before theirs expires."""
        if time.monotonic() - self._written_at > RENEW_AFTER_S:
            self._write()

    def withdraw(self) -> None:
        """Remove the records, and end the local token."""
        remove_own(local_record())
        (settings.COOP_HOME / ADDRESS).unlink(missing_ok=True)
        forget_local_tokens()

    def _write(self) -> None:
        record = {"url": self._url, "pid": os.getpid(), "token": new_local_token()}
        write_private(local_record(), record)
        self._written_at = time.monotonic()


def way_in() -> str:
    """The lines that let an admin in, with a new link."""
    return f"Sign in as admin (the link works once, within 30 minutes):\n    {sign_in_link()}"


def _banner(url: str) -> str:
    return "\n".join(
        [
            f"\nllama-coop {__version__} runs at {settings.COOP_PUBLIC_URL or url}/",
            way_in(),
            _cards(),
            f"State and logs: {settings.COOP_HOME}",
            "Stop with Ctrl-C or `make stop`; running jobs go on.\n",
        ]
    )


def _cards() -> str:
    cards = list(Device.objects.select_related("node"))
    connections.close_all()
    if not cards:
        return "Cards: none seen yet."
    simulated = any(card.node.source == "simulated" for card in cards)
    counted = Counter(card.name for card in cards)
    names = ", ".join(f"{count} x {name}" for name, count in counted.items())
    return f"Cards: {names}" + (" (simulated: no real card is used)" if simulated else "")
