"""The auditor: looks at all processes and at the committed rows again and again, and counts broken promises."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from jobs.launch import procfs

PERIOD_S = 0.02

_BOOKINGS = """
    SELECT attempt.job_id || '-' || attempt.number, device.uuid, allocation.booked, attempt.ended_at IS NULL
    FROM jobs_allocation AS allocation
    JOIN jobs_attempt AS attempt ON attempt.id = allocation.attempt_id
    JOIN gpus_device AS device ON device.id = allocation.device_id
"""
_CARDS = "SELECT uuid, memory_total, booked FROM gpus_device"


@dataclass
class Findings:
    """What was seen, summed over all looks. Each set holds the tokens concerned."""

    looks: int = 0
    peak_bytes: int = 0
    over: set[tuple[str, int]] = field(default_factory=set)
    """Cards whose living processes belonged to attempts that had booked more than the card has."""
    booked_over: int = 0
    without_open_attempt: set[str] = field(default_factory=set)
    """Attempts that had a living process and no committed, open row."""


class Auditor:
    """Audits one site in a thread until it is stopped."""

    def __init__(self, storm: str, database: Path) -> None:
        self._mark = f"storm={storm}".encode()
        self._database = f"file:{database}?mode=ro"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.findings = Findings()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error) -> None:
        self._stop.set()
        self._thread.join()

    def living(self) -> dict[procfs.Process, str]:
        """The storm's living job processes, each with the token of its attempt."""
        found = {}
        for process in procfs.all_processes().values():
            arguments = _read(process.pid, "cmdline").split(b"\0")
            if any(self._mark in argument for argument in arguments):
                token = _token(process.pid, arguments)
                if token:
                    found[process] = token
        return found

    def _run(self) -> None:
        with sqlite3.connect(self._database, uri=True, timeout=20) as rows:
            while not self._stop.wait(PERIOD_S):
                self._look(rows)
        rows.close()

    def _look(self, rows: sqlite3.Connection) -> None:
        seen = self.living()
        bookings = rows.execute(_BOOKINGS).fetchall()
        cards = rows.execute(_CARDS).fetchall()
        # Only what still lives now did live at one moment together, and lived when the rows were read.
        lives = {token for one, token in seen.items() if procfs.is_alive(one.pid, one.start_ticks)}
        open_tokens = {token for token, _, _, is_open in bookings if is_open}
        self.findings.looks += 1
        self.findings.without_open_attempt |= lives - open_tokens
        self._sum_bytes(lives, bookings, {uuid: total for uuid, total, _ in cards})
        self.findings.booked_over += sum(booked > total for _, total, booked in cards)

    def _sum_bytes(self, lives: set[str], bookings: list[tuple], totals: dict[str, int]) -> None:
        used: Counter[str] = Counter()
        for token, uuid, booked, _ in bookings:
            if token in lives:
                used[uuid] += booked
        for uuid, amount in used.items():
            self.findings.peak_bytes = max(self.findings.peak_bytes, amount)
            if amount > totals[uuid]:
                self.findings.over.add((uuid, amount))


def _token(pid: int, arguments: list[bytes]) -> str:
    """Of a process that cleaned its environment the last argument, else the tag of the environment."""
    for variable in _read(pid, "environ").split(b"\0"):
        name, _, value = variable.partition(b"=")
        if name.decode(errors="replace") == procfs.TAG_VARIABLE:
            return value.decode()
    last = arguments[-2] if len(arguments) > 2 else b""
    return last.decode() if b"storm=" in arguments[-3] else ""


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def wait_for(condition, seconds: float) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
