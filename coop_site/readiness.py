"""Asks the service, over HTTP as any client would, whether it is ready."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

TIMEOUT_S = 3.0


def why_not_ready(url: str) -> str | None:
    """None when `/readyz` says yes; else its words, or what went wrong on the way."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read(2000).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"the web service does not answer yet ({error!r})"
    finally:
        connection.close()
    return None if answer.status == 200 else text or f"/readyz answered {answer.status}"
