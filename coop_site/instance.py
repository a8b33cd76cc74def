"""One running service per COOP_HOME: a lock held for life, and records by which others find it.

Standard library only. The lock tells whether a service lives; the records only say where.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True, kw_only=True)
class Running:
    """A service that somebody else started; `url` is None until it is ready."""

    pid: int
    url: str | None


class Instance:
    """The lock `<home>/run/serve.lock`; its content names the holder."""

    def __init__(self, home: Path) -> None:
        self.path = home / "run" / "serve.lock"
        self._file: IO[str] | None = None

    def take(self) -> bool:
        """Become the one; False where another holds it. Held until this process ends."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        file = os.fdopen(descriptor, "r+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        self.describe(url=None)
        return True

    def release(self) -> None:
        """Leave the place to the next one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def describe(self, *, url: str | None) -> None:
        """Say who holds the lock and, once it is ready, at which address it answers."""
        assert self._file is not None, "only the holder describes itself"  # noqa: S101
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps({"pid": os.getpid(), "url": url}))
        self._file.flush()

    def running(self) -> Running | None:
        """Who holds the lock; None where nobody does."""
        with suppress(FileNotFoundError), self.path.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _parse(file.read())
        return None

    def wait_until(
        self, condition: Callable[[Running | None], bool], seconds: float
    ) -> Running | None:
        """Look until the condition holds or the time is over; what was seen last."""
        deadline = time.monotonic() + seconds
        while not condition(seen := self.running()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return seen

    def stop(self, seconds: float = 30.0) -> bool:
        """Ask the holder to stop and wait for it; True when nobody holds the lock any more."""
        holder = self.wait_until(lambda seen: seen is None or seen.pid > 0, seconds=2.0)
        if holder is None:
            return True
        if holder.pid > 0:
            with suppress(ProcessLookupError):
                os.kill(holder.pid, signal.SIGTERM)
        return self.wait_until(lambda seen: seen is None, seconds) is None


def _parse(text: str) -> Running:
    """The holder's own words; in the instant after it took the lock they are not there, or are another's."""
    with suppress(ValueError, KeyError, TypeError):
        record = json.loads(text)
        if Path(f"/proc/{int(record['pid'])}").exists():
            return Running(pid=int(record["pid"]), url=record["url"])
    return Running(pid=0, url=None)


def write_private(path: Path, record: Mapping[str, Any]) -> None:
    """Replace a file that only its owner may read, so that readers see the old one or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    finished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(finished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(record, file)
    finished.replace(path)


def local_record() -> Path:
    """Where this machine's clients find the service of this account."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "llama-coop" / "local.json"


def remove_own(path: Path) -> None:
    """Remove a record that names this process; another service's record stays."""
    with suppress(OSError, ValueError):
        if json.loads(path.read_text(encoding="utf-8")).get("pid") == os.getpid():
            path.unlink()


def end_leftovers(record: Path) -> int:
    """End what an earlier service left when it was killed outright; the number of processes ended.

    `record` has the process groups of its services. A process counts only if it still carries the mark of a service:
    the number of a group may belong to somebody else by now.
    """
    try:
        groups = set(json.loads(record.read_text(encoding="utf-8")).values())
    except (OSError, ValueError, AttributeError):
        return 0
    ended = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_service(entry, groups):
            with suppress(ProcessLookupError):
                os.kill(int(entry.name), signal.SIGKILL)
                ended += 1
    record.unlink(missing_ok=True)
    return ended


def _is_service(process: Path, groups: set[int]) -> bool:
    with suppress(OSError):
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        return int(fields[2]) in groups and b"COOP_SERVICE=" in (process / "environ").read_bytes()
    return False
