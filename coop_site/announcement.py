"""How people and clients of this machine learn that the service is ready, and where."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from coop_site.installation import local_token, sign_in_link
from coop_site.instance import Instance, local_record, remove_own, write_private
from gpus.models import Device
from jobs.core.version import __version__


@contextmanager
def announced(url: str, instance: Instance) -> Iterator[None]:
    """Write the records that name this run, print the way in, and take the records back at the end."""
    with local_token() as token:
        record = {"url": url, "pid": os.getpid(), "token": token}
        write_private(local_record(), record)
        instance.describe(url=url)
        print(_banner(url), flush=True)
        try:
            yield
        finally:
            remove_own(local_record())


def way_in(url: str) -> str:
    """The lines that let an admin in, with a new link."""
    link = sign_in_link(settings.COOP_PUBLIC_URL or url)
    return f"Sign in as admin (the link works once, within 30 minutes):\n    {link}"


def _banner(url: str) -> str:
    return "\n".join(
        [
            f"\nllama-coop {__version__} runs at {settings.COOP_PUBLIC_URL or url}/",
            way_in(url),
            _cards(),
            f"State and logs: {settings.COOP_HOME}",
            "Stop with Ctrl-C or `make stop`; running jobs go on.\n",
        ]
    )


def _cards() -> str:
    cards = list(Device.objects.select_related("node"))
    if not cards:
        return "Cards: none seen yet."
    simulated = any(card.node.source == "simulated" for card in cards)
    counted = Counter(card.name for card in cards)
    names = ", ".join(f"{count} x {name}" for name, count in counted.items())
    return f"Cards: {names}" + (" (simulated: no real card is used)" if simulated else "")
