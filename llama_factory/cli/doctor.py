"""`doctor`: is everything well, and if not, what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import typer

from jobs.core.version import __version__
from llama_factory.cli.connection import JsonOption, UrlOption
from llama_factory.cli.exits import ExitCode, code_of
from llama_factory.cli.output import show_json
from llama_factory.errors import CoopError

if TYPE_CHECKING:
    from llama_factory.client import Coop

MARKS = {"ok": "✓", "warning": "!", "error": "✕"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check found; `status` is ok, warning or error."""

    check: str
    status: str
    detail: str
    hint: str = ""


def doctor(url: UrlOption = None, json: JsonOption = False) -> None:
    """Check the service and say what to do.

    Looks at the way to it, at each of its parts, and at the cards.
    """
    findings, code = examine(url)
    if json:
        show_json({"items": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _print(finding)
    if code:
        raise typer.Exit(code)


def examine(url: str | None) -> tuple[list[Finding], ExitCode]:
    """Every check in the order in which one would make them by hand, and the exit code."""
    # Start-up cost: requests is loaded by commands that connect.
    from llama_factory.bootstrap import open_client  # noqa: PLC0415
    from llama_factory.config import read_config  # noqa: PLC0415

    findings: list[Finding] = []
    try:
        config = read_config(url=url)
        if config.url.value:
            findings.append(_found("address", f"{config.url.value} (from {config.url.source})"))
        with open_client(config) as coop:
            findings += _ask(coop)
    except CoopError as error:
        findings.append(
            Finding(check="service", status="error", detail=error.detail, hint=error.hint)
        )
        return findings, code_of(error)
    failed = any(finding.status == "error" for finding in findings)
    return findings, ExitCode.ERROR if failed else ExitCode.OK


def _ask(coop: Coop) -> list[Finding]:
    account = coop.whoami()
    health = coop.health()
    return [
        _found("service", f"{coop.url} answers; signed in as {account['username']}"),
        _versions(health["version"]),
        *(_from_service(item) for item in health["items"]),
    ]


def _versions(served: str) -> Finding:
    if served == __version__:
        return _found("version", f"both sides have {served}")
    return Finding(
        check="version",
        status="warning",
        detail=f"the service has {served}, this command line {__version__}",
        hint=f"Install the same one: pip install llama-coop=={served}",
    )


def _found(check: str, detail: str) -> Finding:
    return Finding(check=check, status="ok", detail=detail)


def _from_service(item: Mapping[str, Any]) -> Finding:
    return Finding(
        check=item["check"],
        status=item["status"],
        detail=item["detail"],
        hint=item.get("hint") or "",
    )


def _print(finding: Finding) -> None:
    typer.echo(f"{MARKS[finding.status]} {finding.check:<16} {finding.detail}")
    if finding.hint and finding.status != "ok":
        typer.echo(f"  {'':<16} -> {finding.hint}")
