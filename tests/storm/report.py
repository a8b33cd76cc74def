"""What a storm did, and what it broke."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.storm.auditor import Findings


@dataclass
class Report:
    """What a storm did and what it broke."""

    jobs: int
    states: Counter[str]
    attempts: int
    kills: Counter[str]
    crashes: Counter[str]
    containments: Counter[str]
    findings: Findings
    lost: int
    started_twice: set[str]
    orphans: int
    booked_at_the_end: int
    seconds: float
    integrity: str

    @property
    def killed(self) -> int:
        """Kills at random and at crash points."""
        return sum(self.kills.values()) + sum(self.crashes.values())

    def broken(self) -> dict[str, int]:
        """The promises that were broken, with how often."""
        counts = {
            "lost": self.lost,
            "started twice": len(self.started_twice),
            "orphans": self.orphans,
            "bytes over": len(self.findings.over) + self.findings.booked_over,
            "without an open attempt": len(self.findings.without_open_attempt),
            "still booked at the end": self.booked_at_the_end,
        }
        return {promise: count for promise, count in counts.items() if count}

    def table(self) -> str:
        """The summary for people."""
        rows = [
            ("jobs / attempts", f"{self.jobs} / {self.attempts}"),
            ("killed at random", f"{sum(self.kills.values())} {dict(self.kills)}"),
            (
                "killed at crash points",
                f"{sum(self.crashes.values())} at {len(self.crashes)} points",
            ),
            (
                "containment used",
                ", ".join(f"{kind} {count}" for kind, count in self.containments.items()),
            ),
            (
                "looks of the auditor",
                f"{self.findings.looks}, peak {self.findings.peak_bytes / 2**30:.0f} GiB of 80",
            ),
            ("lost", str(self.lost)),
            ("started twice", str(len(self.started_twice))),
            ("orphans", str(self.orphans)),
            (
                "times over a card's memory",
                str(len(self.findings.over) + self.findings.booked_over),
            ),
            ("without a committed attempt", str(len(self.findings.without_open_attempt))),
            ("database", self.integrity),
            ("seconds", f"{self.seconds:.0f}"),
        ]
        return "\n".join(f"{name:28} {value}" for name, value in rows)
