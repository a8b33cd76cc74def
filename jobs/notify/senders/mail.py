"""E-mail, through the site's mail server (`COOP_SMTP_URL`)."""

from __future__ import annotations

import smtplib

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.utils.translation import gettext as _

from jobs.notify.message import Message, SendFailed
from jobs.notify.sealing import Target

TIMEOUT_S = 15


def is_configured() -> bool:
    """Whether the site has a mail server."""
    return bool(settings.EMAIL_HOST)


def send(target: Target, message: Message) -> None:
    """One mail to one address.

    Raises:
        SendFailed: there is no mail server, or it refused.
    """
    if not is_configured():
        raise SendFailed(_("This site has no mail server; its operator sets COOP_SMTP_URL."))
    mail = EmailMessage(
        subject=f"[llama-coop] {message.title}",
        body=message.text or message.title,
        to=[target.address],
        headers={"Auto-Submitted": "auto-generated", "X-Llama-Coop-Id": message.id},
        connection=get_connection(timeout=TIMEOUT_S),
    )
    try:
        mail.send()
    except (OSError, smtplib.SMTPException) as error:
        raise SendFailed(
            _("The mail server did not take it (%(error)s).") % {"error": type(error).__name__}
        ) from error
