"""Where the service listens and which shared token it accepts: flags, then the environment, then safe defaults."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - only with a shared token, and said aloud
_ANYWHERE = {ALL_INTERFACES, "::"}


class BindingRefused(Exception):
    """What was asked for cannot be done; the text says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Binding:
    """One address and at most one shared token."""

    host: str
    port: int
    token: str | None
    warnings: tuple[str, ...]

    def url(self, port: int) -> str:
        """The address at which this machine itself reaches the service."""
        host = LOOPBACK if self.host in _ANYWHERE else self.host
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def environment(self, port: int, environ: Mapping[str, str]) -> dict[str, str]:
        """What every service is told: the address, and that a named host is accepted as such."""
        hosts = environ.get("COOP_ALLOWED_HOSTS", "")
        named = "" if self.host in _ANYWHERE else self.host
        return {
            "COOP_HOST": self.host,
            "COOP_PORT": str(port),
            "COOP_ALLOWED_HOSTS": ",".join(part for part in (hosts, named) if part),
        }


def binding_from(options: argparse.Namespace, environ: Mapping[str, str]) -> Binding:
    """What the flags and the environment ask for.

    Raises:
        BindingRefused: a value is missing, empty, out of range or given twice.
    """
    token = _token(options, environ)
    given_host = options.host or environ.get("COOP_HOST", "").strip()
    host = given_host or (ALL_INTERFACES if token else LOOPBACK)
    return Binding(
        host=host,
        port=_port(options.port, environ),
        token=token,
        warnings=tuple(_warnings(options, host, token)),
    )


def listen(binding: Binding) -> socket.socket:
    """The listening socket. It stays open while the web process is replaced, so nobody is turned away.

    Raises:
        BindingRefused: the address is taken, or not this machine's.
    """
    try:
        return _bound(binding)
    except OSError as error:
        raise BindingRefused(
            f"Cannot listen on port {binding.port} of {binding.host}: {error.strerror}."
            " It must be a free port of an address of this machine."
            " Choose another with --port and --host, or with COOP_PORT and COOP_HOST."
        ) from error


def _bound(binding: Binding) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        binding.host, binding.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except BaseException:
        listener.close()
        raise
    return listener


def _token(options: argparse.Namespace, environ: Mapping[str, str]) -> str | None:
    if options.auth_token is not None and options.auth_token_file is not None:
        raise BindingRefused("Both --auth-token and --auth-token-file are given. Leave one out.")
    if options.auth_token is not None:
        return _not_empty(options.auth_token, "--auth-token")
    if options.auth_token_file is not None:
        return _read(options.auth_token_file, "--auth-token-file")
    given = environ.get("COOP_AUTH_TOKEN", "").strip()
    path = environ.get("COOP_AUTH_TOKEN_FILE", "").strip()
    if given and path:
        raise BindingRefused("Both COOP_AUTH_TOKEN and COOP_AUTH_TOKEN_FILE are set. Unset one.")
    if path:
        return _read(path, "COOP_AUTH_TOKEN_FILE")
    return given or None


def _read(path: str, source: str) -> str:
    try:
        return _not_empty(
            Path(path).expanduser().read_text(encoding="utf-8"), f"the file of {source}"
        )
    except OSError as error:
        raise BindingRefused(
            f"{source} names {path!r}, which cannot be read ({error.strerror})."
            " It must be a file that holds the token alone. Correct the path or its rights."
        ) from error


def _not_empty(token: str, source: str) -> str:
    if token.strip():
        return token.strip()
    raise BindingRefused(
        f"The shared token from {source} is empty. It must have at least one character."
        " Give one, or leave it out to run without a shared token."
    )


def _port(given: int | None, environ: Mapping[str, str]) -> int:
    raw = environ.get("COOP_PORT", "").strip() or "8900"
    port = given if given is not None else int(raw) if raw.isdigit() else -1
    if 0 <= port <= 65535:
        return port
    raise BindingRefused(
        f"The port is {raw if given is None else given!r}. It must be a whole number from 1 to 65535,"
        " or 0 for any free one. Correct --port or COOP_PORT."
    )


def _warnings(options: argparse.Namespace, host: str, token: str | None) -> list[str]:
    found = []
    if options.auth_token is not None:
        found.append(
            "Warning: a token given with --auth-token shows in the process list of this machine and in the"
            " shell's history. Prefer --auth-token-file FILE or COOP_AUTH_TOKEN."
        )
    if host in _ANYWHERE:
        found.append(
            "Warning: listening on all interfaces, without encryption. Whoever reaches this port"
            f" {'and has the shared token can submit jobs' if token else 'sees the sign-in page'}."
            " Use --host 127.0.0.1 behind a TLS proxy where the network is not trusted."
        )
    return found
