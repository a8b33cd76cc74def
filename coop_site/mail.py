"""The mail server of `COOP_SMTP_URL`, as Django's settings."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

_PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}


def mail_server(url: str | None) -> dict[str, Any]:
    """Settings by name; an empty host where there is no mail server.

    Raises:
        ImproperlyConfigured: the address is none of a mail server; the text does not repeat its password.
    """
    if not url:
        return {"EMAIL_HOST": ""}
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in _PORTS or not parts.hostname or port == -1:
        raise ImproperlyConfigured(
            "COOP_SMTP_URL must be like smtp://user:password@mail.example.org:587 (STARTTLS), smtps://… (TLS) or"
            " smtp+plain://… (neither; for a server on this machine). Special characters are written as %40 and so on."
        )
    return {
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": port or _PORTS[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
    }
