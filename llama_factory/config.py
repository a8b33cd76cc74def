"""Which service, which token, which project: read once, in one order of precedence.

flag > environment > `.llama-coop.toml` in this directory or above it > the user's `config.toml`
> the system's > the service of this machine (its `local.json`). Tokens are never read from a
`.llama-coop.toml`, because such files are committed; they live in a file of mode 0600, by address.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llama_factory.errors import CoopError

PROJECT_FILE = ".llama-coop.toml"
KEYS = ("url", "project")


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One value and where it came from, for `llama-coop config`."""

    value: str | None
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientConfig:
    """What a client needs to know; `url` is None where nothing names a service."""

    url: Setting
    token: Setting
    project: Setting


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalService:
    """The service that runs on this machine under this account, as it announced itself."""

    url: str
    pid: int
    token: str


def read_config(url: str | None = None, project: str | None = None) -> ClientConfig:
    """The configuration in force; `url` and `project` are what flags say, None where they do not."""
    layers = list(_layers({"url": url, "project": project}))
    local = local_service()
    if local:
        layers.append(("this machine's service", {"url": local.url}))
    found_url = _first("url", layers)
    address = check_url(found_url.value, found_url.source) if found_url.value else None
    return ClientConfig(
        url=Setting(value=address, source=found_url.source),
        token=_token(address, local),
        project=_first("project", layers),
    )


def check_url(url: str, source: str) -> str:
    """The address without its trailing slash, or a `CoopError` that says what is wrong with it."""
    parts = urlsplit(url)
    if parts.scheme in {"http", "https"} and parts.hostname and not parts.query:
        return url.rstrip("/")
    raise CoopError(
        f"The service's address from {source} is not valid: {url!r}.",
        code="bad_url",
        hint="It must look like http://server:8900 or https://coop.example.org. Correct it there.",
    )


def config_dir() -> Path:
    """The user's configuration directory (`LLAMA_COOP_CONFIG_DIR`, else XDG's)."""
    if given := os.environ.get("LLAMA_COOP_CONFIG_DIR"):
        return Path(given).expanduser()
    from platformdirs import user_config_path  # noqa: PLC0415 - start-up cost

    return user_config_path("llama-coop", appauthor=False)


def state_dir() -> Path:
    """Where this account's tokens and its service's announcement live."""
    from platformdirs import user_state_path  # noqa: PLC0415 - start-up cost

    return user_state_path("llama-coop", appauthor=False)


def local_service() -> LocalService | None:
    """This machine's service, if its announcement is ours alone to write and its process lives."""
    path = state_dir() / "local.json"
    try:
        status = path.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            return None
        raw = json.loads(path.read_text(encoding="utf-8"))
        found = LocalService(url=str(raw["url"]), pid=int(raw["pid"]), token=str(raw["token"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if _lives(found.pid) else None


def stored_token(url: str) -> str | None:
    """The token that `login` kept for this address."""
    return _credentials().get(_origin(url))


def store_token(url: str, token: str) -> Path:
    """Keep a token for this address in a file that only this account can read."""
    return _write_credentials({**_credentials(), _origin(url): token})


def forget_token(url: str) -> bool:
    """Remove the token of this address; False where there was none."""
    kept = _credentials()
    if kept.pop(_origin(url), None) is None:
        return False
    _write_credentials(kept)
    return True


def write_url(url: str) -> Path:
    """Make this the address in the user's `config.toml`; what else stands there stays."""
    path = config_dir() / "config.toml"
    content = dict(_read_toml(path)) if path.is_file() else {}
    content["url"] = url
    path.parent.mkdir(parents=True, exist_ok=True)
    # JSON's strings are valid TOML strings.
    path.write_text("".join(f"{key} = {json.dumps(content[key])}\n" for key in content))
    return path


def credentials_path() -> Path:
    """The file that holds this account's tokens."""
    return state_dir() / "credentials.json"


def _layers(flags: Mapping[str, str | None]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every place that may name a value, the strongest first."""
    yield "the command line", {key: value for key, value in flags.items() if value}
    environment = {key: os.environ.get(f"LLAMA_COOP_{key.upper()}") for key in KEYS}
    yield "the environment", {key: value for key, value in environment.items() if value}
    for path in _files():
        yield str(path), _read_toml(path)


def _files() -> Iterator[Path]:
    here = _working_directory()
    for folder in (here, *here.parents) if here else ():
        if (folder / PROJECT_FILE).is_file():
            yield folder / PROJECT_FILE
            break
    from platformdirs import site_config_path  # noqa: PLC0415 - start-up cost

    for folder in (config_dir(), site_config_path("llama-coop", appauthor=False)):
        if (folder / "config.toml").is_file():
            yield folder / "config.toml"


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # the directory was removed under us: there is nothing to read in it
        return None


def _read_toml(path: Path) -> Mapping[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CoopError(
            f"The configuration file {path} cannot be read: {error}.",
            code="bad_config",
            hint='It must be TOML with lines such as url = "http://server:8900". Correct it.',
        ) from error
    unknown = sorted(set(content) - set(KEYS))
    if unknown:
        raise CoopError(
            f"The configuration file {path} has an unknown key: {', '.join(unknown)}.",
            code="bad_config",
            hint=f"Allowed: {', '.join(KEYS)}. A token belongs to `llama-coop login`, not here.",
        )
    return content


def _first(key: str, layers: list[tuple[str, Mapping[str, Any]]]) -> Setting:
    for source, content in layers:
        if key in content:
            return Setting(value=str(content[key]), source=source)
    return Setting(value=None, source="not set")


def _token(url: str | None, local: LocalService | None) -> Setting:
    if given := os.environ.get("LLAMA_COOP_TOKEN"):
        return Setting(value=given.strip(), source="the environment")
    if url and (kept := stored_token(url)):
        return Setting(value=kept, source=str(credentials_path()))
    if url and local and _origin(local.url) == _origin(url):
        return Setting(value=local.token, source="this machine's service")
    return Setting(value=None, source="not set")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _origin(url: str) -> str:
    """Scheme, host and port: what a token is kept for. A path below it is the same service."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    name = "127.0.0.1" if host in {"localhost", "::1"} else host
    return f"{parts.scheme}://{name}:{port}"


def _credentials() -> dict[str, str]:
    try:
        raw = json.loads(credentials_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in raw.items()} if isinstance(raw, dict) else {}


def _write_credentials(tokens: Mapping[str, str]) -> Path:
    path = credentials_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(tokens, stream, indent=2)
    fresh.replace(path)
    return path
