"""`init_coop`: find the service or start one, set what was asked for, return a client."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llama_factory.client import Coop
from llama_factory.config import ClientConfig, local_service, read_config, state_dir
from llama_factory.errors import CoopError, NotAllowed, Unreachable

START_TIMEOUT_S = 120.0
"""The first start makes the database and compresses the pages; on a busy machine that takes long."""

POLL_S = 0.1
SERVER_EXTRA = "pip install 'llama-coop[server]'"


def connect(
    max_workers: int | None = None,
    memory_threshold: float | None = None,
    log_dir: str | Path | None = None,
) -> Coop:
    """What `llama_factory.init_coop` does; see there."""
    wanted = _checked(max_workers, memory_threshold, log_dir)
    config = read_config()
    if config.url.value is None:
        start_service()
        config = read_config()
    coop = open_client(config)
    coop.whoami()  # an address or a token that is wrong is told here, not at the first submit
    if wanted:
        _change(coop, wanted)
    return coop


def open_client(config: ClientConfig) -> Coop:
    """A client for a configured service; raises where no address is known."""
    if config.url.value is None:
        raise Unreachable(
            "No service is configured, and none runs on this machine under your account.",
            code="no_service",
            hint="Name one with LLAMA_COOP_URL or `llama-coop login URL`,"
            " or start one with `llama-coop serve`.",
        )
    return Coop(config.url.value, config.token.value, config.project.value)


def server_missing() -> str | None:
    """What to install when this environment has no server part; None where it has one."""
    if all(importlib.util.find_spec(name) for name in ("django", "daphne", "coop_site")):
        return None
    return (
        "This environment has only llama-coop's command line, not its server part."
        f" Install it with: {SERVER_EXTRA}"
    )


def start_service() -> None:
    """Start this machine's service, detached from the caller, and wait until it is ready.

    Raises:
        Unreachable: It cannot be started or is not ready in time; names its log.
    """
    if missing := server_missing():
        raise Unreachable(
            f"No service is configured, and none can be started here. {missing}",
            code="no_service",
            hint="Or name a running one with LLAMA_COOP_URL=http://server:8900.",
        )
    log = _log_path()
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "coop_site.serve"],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _await_ready(process, log)


def _await_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        service = local_service()
        if service and Coop(service.url, service.token).is_ready():
            return
        # It ends with 0 when it found another service that somebody else has just started.
        if process.poll() not in {None, 0}:
            raise _not_started(f"it ended with exit code {process.returncode}", log)
        time.sleep(POLL_S)
    raise _not_started(f"it was not ready after {START_TIMEOUT_S:g} s", log)


def _not_started(what: str, log: Path) -> Unreachable:
    return Unreachable(
        f"The service of this machine could not be started: {what}.",
        code="not_started",
        hint=f"Its last words are in {log}. Run `llama-coop serve` to see them here.",
    )


def _log_path() -> Path:
    """Where the detached service writes what it would print; readable by this account only."""
    folder = state_dir()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "serve.log"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    return path


def _checked(
    max_workers: object, memory_threshold: object, log_dir: str | Path | None
) -> dict[str, Any]:
    """The arguments that were given, each found to be right."""
    wanted: dict[str, Any] = {}
    if max_workers is not None:
        wanted["max_workers"] = _count(max_workers)
    if memory_threshold is not None:
        wanted["memory_threshold"] = _share(memory_threshold)
    if log_dir is not None:
        wanted["log_dir"] = _folder(log_dir)
    return wanted


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"max_workers must be a whole number, but is {value!r}."
            " It is the most jobs that hold a card at once: give 1 or more, or leave it out."
        )
    if value >= 1:
        return value
    raise ValueError(
        f"max_workers must be at least 1, but is {value}."
        " It is the most jobs that hold a card at once; leave it out to change nothing."
    )


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"memory_threshold must be a number, but is {value!r}."
            " It is a share of a card's memory: give for example 0.8, or leave it out."
        )
    if 0 < value <= 1:
        return float(value)
    raise ValueError(
        f"memory_threshold must be above 0 and at most 1, but is {value:g}."
        " It is a share of a card's memory: 0.8 fills a card up to 80 %."
    )


def _folder(value: object) -> str:
    """An absolute path: the service has another current directory than its caller."""
    if not isinstance(value, str | os.PathLike) or isinstance(value, bytes):
        raise TypeError(
            f"log_dir must be a path, but is {value!r}."
            ' It is the directory for links to job logs: give for example "./coop_logs".'
        )
    path = Path(os.fspath(value)).expanduser().absolute()
    if not path.exists() or path.is_dir():
        return str(path)
    raise ValueError(
        f"log_dir must be a directory or not exist yet, but {str(path)!r} is a file."
        " Give another path, or leave it out."
    )


def _change(coop: Coop, wanted: Mapping[str, Any]) -> None:
    """Set the site's settings; without the right to, say which values hold instead."""
    try:
        coop.change_settings(**wanted)
    except NotAllowed as error:
        raise _settings_refused(wanted, _in_force(coop, wanted)) from error


def _in_force(coop: Coop, wanted: Mapping[str, Any]) -> str:
    try:
        values = coop.settings()
    except CoopError:  # a token without the scope to read still deserves the first sentence
        return "unknown to this account"
    return ", ".join(f"{name}={values.get(name)!r}" for name in wanted)


def _settings_refused(wanted: Mapping[str, Any], in_force: str) -> NotAllowed:
    asked = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
    return NotAllowed(
        f"This account may not change the site's settings. Asked for: {asked}. In force: {in_force}.",
        code="settings_refused",
        hint="Call init_coop() without arguments to use the values in force, or ask an admin.",
    )
