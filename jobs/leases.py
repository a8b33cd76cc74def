"""The right to be the only one: a database row that runs out unless it is renewed.

A holder that died on this machine is recognised by its process identity, so a successor need not wait for the
lease to run out.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from pathlib import Path

from django.db import IntegrityError
from django.db.models import F
from django.utils import timezone

from jobs.models import Lease

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LeaseHolder:
    """One process that wants to hold the lease `name`, for `seconds` at a time."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._duration = timedelta(seconds=seconds)
        self.identity = _identity(os.getpid())

    def hold(self) -> bool:
        """Take or renew the lease; whether it is ours now."""
        return self._renew() or self._take_over() or self._create()

    def give_up(self) -> None:
        """Let the next one take it at once."""
        Lease.objects.filter(name=self._name, holder=self.identity).update(
            expires_at=timezone.now()
        )

    def _renew(self) -> bool:
        ours = Lease.objects.filter(name=self._name, holder=self.identity)
        return bool(ours.update(expires_at=timezone.now() + self._duration))

    def _take_over(self) -> bool:
        lease = Lease.objects.filter(name=self._name).first()
        if lease is None:
            return False
        if lease.expires_at > timezone.now() and not _has_died(lease.holder):
            return False
        unchanged = Lease.objects.filter(
            name=self._name, holder=lease.holder, generation=lease.generation
        )
        return bool(
            unchanged.update(
                holder=self.identity,
                generation=F("generation") + 1,
                expires_at=timezone.now() + self._duration,
            )
        )

    def _create(self) -> bool:
        try:
            Lease.objects.create(
                name=self._name,
                holder=self.identity,
                generation=1,
                expires_at=timezone.now() + self._duration,
            )
        except IntegrityError:
            return False  # somebody holds it
        return True


def _identity(pid: int) -> str:
    return f"{socket.gethostname()} {BOOT_ID.read_text().strip()} {pid} {_start_ticks(pid)}"


def _has_died(holder: str) -> bool:
    """Whether the holder was a process of this boot of this machine and is gone. In doubt: it lives."""
    try:
        host, boot, pid, ticks = holder.split(" ")
    except ValueError:
        return False
    if host != socket.gethostname() or boot != BOOT_ID.read_text().strip():
        return False
    return _start_ticks(int(pid)) != ticks


def _start_ticks(pid: int) -> str:
    """When the process started, in clock ticks since boot; "" where there is none. A pid alone may be reused."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]
