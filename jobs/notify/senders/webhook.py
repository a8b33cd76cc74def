"""Signed webhooks: a POST of JSON to an address that somebody wrote, without letting it reach the site's own network.

The host is looked up once, every address found is checked, and the connection goes to a checked address: a name that
changes its mind in between (DNS rebinding) gains nothing. Redirects are not followed.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
import time
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.utils.translation import gettext as _

from jobs import sitesettings
from jobs.notify.message import Message, SendFailed
from jobs.notify.sealing import Target

TIMEOUT_S = 10
_MOST_READ = 1024


def send(target: Target, message: Message) -> None:
    """One POST.

    Raises:
        SendFailed: the address is refused, or the other side did not answer with success.
    """
    url = urlsplit(target.address)
    body = json.dumps(
        {
            "id": message.id,
            "kind": message.kind,
            "title": message.title,
            "text": message.text,
            "items": list(message.items),
        },
        ensure_ascii=False,
    ).encode()
    now = int(time.time())
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "llama-coop",
        "X-Llama-Coop-Timestamp": str(now),
        "X-Llama-Coop-Signature": f"sha256={signature(target.secret, now, body)}",
    }
    status = _post(url, body, headers)
    if not 200 <= status < 300:
        raise SendFailed(_("The address answered with status %(status)s.") % {"status": status})


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """HMAC-SHA256, in hexadecimal, of the timestamp, a dot and the body as it is sent."""
    signed = str(timestamp).encode() + b"." + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def checked(address: str) -> SplitResult:
    """The parts of an address that a webhook may have, as far as its text tells.

    Raises:
        SendFailed: it has not; the text says why.
    """
    url = urlsplit(address)
    schemes = ("https", "http") if sitesettings.current().private_webhooks else ("https",)
    if url.scheme not in schemes or not url.hostname:
        words = _("The address must begin with https:// and name a host.")
        raise SendFailed(words)
    if url.username or url.password or url.fragment:
        raise SendFailed(
            _(
                "The address may have no user name, password or fragment (#). Use the query, or the signature."
            )
        )
    return url


def _post(url: SplitResult, body: bytes, headers: dict[str, str]) -> int:
    checked(url.geturl())
    connection = _connection(url)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read(_MOST_READ)
        return answer.status
    except (OSError, http.client.HTTPException) as error:
        words = _("The address could not be reached (%(error)s).")
        raise SendFailed(words % {"error": type(error).__name__}) from error
    finally:
        connection.close()


def _connection(url: SplitResult) -> http.client.HTTPConnection:
    port = url.port or (443 if url.scheme == "https" else 80)
    host = str(url.hostname)
    found = _allowed_address(host, port)
    connection: Any
    if url.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    # what `http.client` calls to open its socket; TLS still checks the certificate against the name
    connection._create_connection = lambda _named, timeout, _source: socket.create_connection(  # noqa: SLF001
        (found, port), timeout
    )
    return connection


def _allowed_address(host: str, port: int) -> str:
    """An address of this host that a webhook may reach; refused where any of them is one that it may not."""
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SendFailed(_("There is no host of that name.")) from error
    found = [str(row[4][0]) for row in rows]
    if not sitesettings.current().private_webhooks and not all(map(is_public, found)):
        raise SendFailed(
            _(
                "The host has a private address. Webhooks reach public ones only,"
                " unless an admin allows it (setting private_webhooks)."
            )
        )
    return found[0]


def is_public(address: str) -> bool:
    """Whether an address belongs to the public network; IPv4 in the guise of IPv6 is looked through."""
    plain = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(plain, ipaddress.IPv6Address):
        inner = plain.ipv4_mapped or plain.sixtofour or (plain.teredo or (None, None))[1]
        if inner is not None:
            return is_public(str(inner))
        if plain in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(plain) & 0xFFFF_FFFF)))
    return plain.is_global and not plain.is_multicast
