"""`login`, `logout`, `whoami`, `config`: which service, as whom."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from llama_factory.cli.connection import JsonOption, ProjectOption, UrlOption, connected
from llama_factory.cli.exits import ExitCode
from llama_factory.cli.output import say, show_json

if TYPE_CHECKING:
    from llama_factory.config import ClientConfig


def login(
    url: Annotated[
        str | None, typer.Argument(help="The service, such as http://server:8900.")
    ] = None,
) -> None:
    """Keep a token for a service.

    Asks for it, or reads it from stdin when that is not a terminal.
    """
    # Start-up cost: requests is loaded by commands that connect.
    from llama_factory.client import Coop  # noqa: PLC0415
    from llama_factory.config import check_url, read_config, store_token, write_url  # noqa: PLC0415

    address = url or read_config().url.value or typer.prompt("Service", err=True)
    address = check_url(address, "the command line")
    token = _read_token(address)
    with Coop(address, token) as coop:
        account = coop.whoami()
    kept = store_token(address, token)
    written = write_url(address)
    say(f"Signed in to {address} as {account['username']}.")
    say(f"The token is in {kept}, the address in {written}.")


def logout(url: UrlOption = None) -> None:
    """Forget the token of the configured service."""
    from llama_factory.config import forget_token, read_config  # noqa: PLC0415 - start-up cost

    address = read_config(url=url).url.value
    if address and forget_token(address):
        say(f"Forgot the token of {address}. To make it invalid, revoke it on your account page.")
        return
    say(f"No token is kept for {address}." if address else "No service is configured.")
    raise typer.Exit(ExitCode.NOT_SIGNED_IN)


def whoami(url: UrlOption = None, json: JsonOption = False) -> None:
    """Show your account, projects and rights."""
    with connected(url) as coop:
        account = coop.whoami()
    if json:
        show_json(account)
        return
    roles = ", ".join(f"{item['slug']} ({item['role']})" for item in account["projects"])
    typer.echo(f"{account['username']} at {coop.url}")
    typer.echo(f"projects: {roles or 'none'}")
    typer.echo(f"may: {', '.join(account['scopes'])}{' (admin)' if account['is_admin'] else ''}")


def config(project: ProjectOption = None, url: UrlOption = None, json: JsonOption = False) -> None:
    """Show the configuration and its sources."""
    from llama_factory.config import read_config  # noqa: PLC0415 - start-up cost

    found = read_config(url=url, project=project)
    if json:
        show_json(_as_dict(found))
        return
    for name, value in _as_dict(found).items():
        typer.echo(f"{name:<8} {value['value'] or '-':<32} from: {value['source']}")


def _as_dict(found: ClientConfig) -> dict[str, dict[str, str | None]]:
    """The values with their sources; of the token only what tells it from others."""
    token = found.token.value
    return {
        "url": {"value": found.url.value, "source": found.url.source},
        "project": {"value": found.project.value, "source": found.project.source},
        "token": {"value": f"{token[:8]}…" if token else None, "source": found.token.source},
    }


def _read_token(address: str) -> str:
    if sys.stdin.isatty():
        say(f"Make a token on {address}/account/ and paste it here; it is not shown.")
        return str(typer.prompt("Token", hide_input=True, err=True)).strip()
    return sys.stdin.read().strip()
