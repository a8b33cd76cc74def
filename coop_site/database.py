"""The database of COOP_DATABASE_URL: SQLite in COOP_HOME by default, PostgreSQL for more than one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def database(url: str, home: Path) -> dict[str, Any]:
    """Django's DATABASES entry for `url`; an empty one means `home`/db.sqlite3."""
    if not url:
        return _sqlite(home / "db.sqlite3")
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return _sqlite(Path(unquote(parts.path)))
    if parts.scheme in {"postgres", "postgresql"}:
        return _postgresql(url)
    raise ImproperlyConfigured(
        f"COOP_DATABASE_URL has the scheme {parts.scheme!r}. Allowed: sqlite:///absolute/path.sqlite3 and"
        " postgresql://user:password@host:5432/name. Correct it or unset it (default: SQLite in COOP_HOME)."
    )


def _sqlite(path: Path) -> dict[str, Any]:
    """WAL and IMMEDIATE, or a second writer fails at once with "database is locked"; FULL, because an
    acknowledged job must survive a power cut.
    """
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
        # A file as in production: SQLite in memory, shared by threads, fails at once where a file waits.
        "TEST": {"NAME": str(path.with_name("tests.sqlite3"))},
    }


def _postgresql(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "CONN_HEALTH_CHECKS": True,
    }
