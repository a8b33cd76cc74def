"""The site's own secret key: made once, kept in COOP_HOME, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def secret_key_in(home: Path) -> str:
    """The key stored under `home`, created (mode 0600) at the first call.

    Two processes that start together agree: the file is created exclusively, and the loser reads the winner's.
    """
    path = home / "secret_key"
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        return _create(path)


def _create(path: Path) -> str:
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    finished = path.with_name(f".secret_key.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(finished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(48))
    try:
        os.link(finished, path)
    except FileExistsError:
        pass  # somebody was first; theirs counts
    finally:
        finished.unlink()
    return path.read_text(encoding="ascii")
