"""Settings from the environment, each wrong value answered with a sentence that says what to do."""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


def env_str(name: str, default: str = "") -> str:
    """The variable's text without surrounding space, or the default where it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def env_bool(name: str, default: bool) -> bool:
    """A yes-or-no variable."""
    raw = os.environ.get(name)
    if raw is None:
        return default
    if raw.strip().lower() in _TRUE | _FALSE:
        return raw.strip().lower() in _TRUE
    raise ImproperlyConfigured(
        f"{name} must be a yes or a no, but is {raw!r}. Allowed: 1, true, yes, on, 0, false, no, off."
        f" Correct it or unset it (default: {'1' if default else '0'})."
    )


def env_int(name: str, default: int, lowest: int, highest: int) -> int:
    """A whole number within bounds."""
    raw = env_str(name, str(default))
    if raw.lstrip("-").isdigit() and lowest <= int(raw) <= highest:
        return int(raw)
    raise ImproperlyConfigured(
        f"{name} must be a whole number from {lowest} to {highest}, but is {raw!r}."
        f" Correct it or unset it (default: {default})."
    )


def env_list(name: str) -> list[str]:
    """A comma-separated list; empty where the variable is unset."""
    return [part.strip() for part in env_str(name).split(",") if part.strip()]


def env_path(name: str, default: Path, relative_to: Path) -> Path:
    """A directory or file; a relative one counts from `relative_to`, never from the current directory."""
    return (relative_to / Path(env_str(name, str(default))).expanduser()).resolve()


def env_secret(name: str) -> str | None:
    """A secret from `NAME`, or from the file that `NAME_FILE` names; None where neither is set.

    The file form keeps the secret out of process lists and of `docker inspect`.
    """
    path = env_str(f"{name}_FILE")
    if not path:
        return env_str(name) or None
    if env_str(name):
        raise ImproperlyConfigured(f"Both {name} and {name}_FILE are set. Unset one of them.")
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip() or None
    except OSError as error:
        raise ImproperlyConfigured(
            f"{name}_FILE names {path!r}, which cannot be read ({error.strerror})."
            " It must be a file that holds the secret alone. Correct the path or its rights."
        ) from error
