"""How the command line writes states, sizes, times and cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jobs.core.states import JobState
from jobs.core.units import format_duration, format_size

GIB = 1024**3

STATES: dict[str, tuple[str, str]] = {
    JobState.QUEUED: ("◷ queued", "bright_black"),
    JobState.HELD: ("‖ held", "yellow"),
    JobState.STARTING: ("◌ starting", "blue"),
    JobState.RUNNING: ("▶ running", "blue"),
    JobState.SUSPENDING: ("‖ suspending", "yellow"),
    JobState.SUSPENDED: ("‖ suspended", "yellow"),
    JobState.STOPPING: ("◌ stopping", "bright_black"),
    JobState.SUCCEEDED: ("✓ succeeded", "green"),
    JobState.FAILED: ("✕ failed", "red"),
    JobState.CANCELLED: ("⊘ cancelled", "bright_black"),
}
"""Icon and word, and a colour; a state is never told by its colour alone."""


def needs(job: Mapping[str, Any]) -> str:
    """What a job asks for: `44G A100`, `2x 40G`."""
    asked = job["resources"]
    memory = short_size(asked["min_memory_bytes"])
    count = f"{asked['gpus']}x " if asked["gpus"] > 1 else ""
    return f"{count}{memory} {asked.get('gpu_type') or ''}".strip()


def short_size(size: int | None) -> str:
    """A size for a narrow column: `44G`, `1.5G`, `512M`; `-` where it is not known."""
    if size is None:
        return "-"
    if size < GIB:
        return f"{size / 1024**2:.0f}M"
    return f"{size / GIB:.1f}".removesuffix(".0") + "G"


def cards(job: Mapping[str, Any]) -> str:
    """The indexes of the cards that a job holds; `-` where it holds none."""
    return ",".join(str(item["index"]) for item in job["allocations"]) or "-"


def took(job: Mapping[str, Any], now: datetime) -> str:
    """How long a job has waited, run, or ran."""
    start = moment(job.get("started_at")) or moment(job["submitted_at"])
    end = moment(job.get("finished_at")) or now
    return duration((end - start).total_seconds()) if start else "-"


def expected(job: Mapping[str, Any], now: datetime) -> str:
    """When a running job is expected to end, or a waiting one to start; `-` where nobody knows."""
    eta = moment(job.get("eta"))
    return f"≈ {duration((eta - now).total_seconds())}" if eta else "-"


def start(told: Mapping[str, Any], now: datetime) -> str:
    """When a queued job is expected to start, with the range, or why nobody can tell; empty where it does not queue."""
    begin, span = moment(told.get("eta")), told.get("eta_range")
    if begin is None or span is None:
        return str(told.get("eta_unknown") or "")
    earliest, latest = (moment(each) or begin for each in span)
    if latest <= now:
        return "now"
    left = f"in {duration((begin - now).total_seconds())}"
    if earliest == latest:
        return f"≈ {clock(begin, now)} ({left})"
    return (
        f"≈ {clock(begin, now)}, between {clock(earliest, now)} and {clock(latest, now)} ({left})"
    )


def clock(at: datetime, now: datetime) -> str:
    """A time in this machine's zone: `14:20` today, with its date on another day."""
    there, today = at.astimezone(), now.astimezone().date()
    return there.strftime("%H:%M" if there.date() == today else "%Y-%m-%d %H:%M")


def remark(job: Mapping[str, Any]) -> str:
    """The one thing to know about a job: why it waits, how far it is, how it ended."""
    if job.get("why"):
        return str(job["why"]["sentence"])
    if job.get("finished_at"):
        return str(job.get("detail") or "")
    return progress(job.get("progress") or {})


def progress(told: Mapping[str, Any]) -> str:
    """`612/1000 steps, loss 1.284`; empty where the job tells nothing."""
    parts = []
    if told.get("total"):
        parts.append(f"{told.get('step') or 0}/{told['total']} steps")
    if isinstance(told.get("loss"), int | float):
        parts.append(f"loss {told['loss']:.4g}")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as `2h14m`; never below zero, because two clocks may differ."""
    return format_duration(max(0.0, seconds))


def moment(text: str | None) -> datetime | None:
    """A time of the API."""
    return datetime.fromisoformat(text) if text else None


def now() -> datetime:
    """The present, with its time zone."""
    return datetime.now(UTC)


def bar(segments: Sequence[tuple[int, str]], total: int, width: int) -> str:
    """A bar of `width` characters in which each amount has its own one; the rest is free."""
    if not total:
        return "░" * width
    drawn, begin = "", 0
    for amount, character in segments:
        end = min(total, begin + max(0, amount))
        drawn += character * (round(end * width / total) - round(begin * width / total))
        begin = end
    return drawn + "░" * (width - len(drawn))


def card_size(size: int | None) -> str:
    """A size for running text."""
    return "unknown" if size is None else format_size(size)
