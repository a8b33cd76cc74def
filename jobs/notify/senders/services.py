"""Slack and a few more services, through Apprise. Only services with hosts of their own: no address leads elsewhere."""

from __future__ import annotations

from django.utils.translation import gettext as _

from jobs.notify.message import Message, SendFailed
from jobs.notify.sealing import Target

SCHEMES = ("discord", "pover", "pushplus", "schan", "slack", "tgram", "wxpusher")
"""Apprise's names of those whose messages go to the service's own host, whatever the address says."""


def send(target: Target, message: Message) -> None:
    """One message by Apprise.

    Raises:
        SendFailed: Apprise does not understand the address, or the service did not take it.
    """
    import apprise  # noqa: PLC0415 - slow to load, and most processes never send

    service = apprise.Apprise.instantiate(target.address, suppress_exceptions=True)
    if service is None:
        raise SendFailed(_("The address is not complete; make the channel anew."))
    with apprise.LogCapture(level=apprise.logging.WARNING, fmt="%(message)s") as said:
        arrived = service.notify(body=message.text or message.title, title=message.title)
        words = said.getvalue().strip().rpartition("\n")[2]
    if not arrived:
        raise SendFailed(words or _("The service did not take the message."))


def is_understood(address: str) -> bool:
    """Whether Apprise makes something of this address."""
    import apprise  # noqa: PLC0415 - slow to load

    return apprise.Apprise.instantiate(address, suppress_exceptions=True) is not None
