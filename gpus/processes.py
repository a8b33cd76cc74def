"""What the kernel of this machine knows of a process: whether it lives, whose it is, what it runs."""

from __future__ import annotations

import contextlib
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_DEAD = frozenset("ZX")


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """One process. A process id is used again; together with `started` it names one process only."""

    pid: int
    started: int  # clock ticks from the boot of the machine to its start
    user: str
    command: str  # the program alone: arguments may hold secrets
    is_zombie: bool


def process_of(pid: int, proc: Path = PROC) -> Process | None:
    """The process with this id, or None where this machine has none."""
    folder = proc / str(pid)
    try:
        text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        owner = os.stat(folder).st_uid  # noqa: PTH116 (one call, no object: asked once a second)
    except OSError:
        return None
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return Process(
        pid=pid,
        started=int(fields[19]),
        user=_name(owner),
        command=head.partition("(")[2],
        is_zombie=fields[0] in _DEAD,
    )


def _name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"uid {uid}"
