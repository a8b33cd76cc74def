"""The list of jobs and the wall of cards, without borders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from llama_factory.cli import words

BAR_WIDTH = 20
NEVER = frozenset({"NEVER_FITS", "NO_SUCH_GPU_TYPE"})


def jobs_table(jobs: Sequence[Mapping[str, Any]], now: datetime, *, owners: bool) -> Table:
    """One row a job: position, name, state, needs, cards, time, expectation, remark, owner."""
    table = _plain_table()
    for title in ("#", "ID", "STATE", "NEEDS", "GPU", "TIME", "ETA"):
        table.add_column(title, no_wrap=True, justify="right" if title == "#" else "left")
    table.add_column("WHY", no_wrap=True, overflow="ellipsis", ratio=None)
    if owners:
        table.add_column("USER", no_wrap=True)
    for job in jobs:
        row = [
            str(job.get("position") or "-"),
            job["task_id"] if job["run"] == 1 else f"{job['task_id']}#{job['run']}",
            state_text(job),
            words.needs(job),
            words.cards(job),
            words.took(job, now),
            words.expected(job, now),
            words.remark(job),
        ]
        table.add_row(*row, *([job["owner"]] if owners else []))
    return table


def cards_table(cards: Sequence[Mapping[str, Any]]) -> Table:
    """One line a card: model, load, memory by job, who holds it."""
    table = _plain_table()
    table.show_header = False
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for card in cards:
        table.add_row(
            f"[{card['index']}] {card['name'].removeprefix('NVIDIA ')}",
            _load(card),
            f"{memory_bar(card)}  {_used(card)}",
            _holders(card),
        )
    return table


def state_text(job: Mapping[str, Any]) -> Text:
    """Icon and word of a state; a job that can never run here says so."""
    if (job.get("why") or {}).get("code") in NEVER:
        return Text("✕ blocked", style="red")
    word, colour = words.STATES[job["state"]]
    return Text(word, style=colour)


def memory_bar(card: Mapping[str, Any], width: int = BAR_WIDTH) -> str:
    """`█` used by jobs, `▒` reserved but not used, `!` without an owner here, `░` free."""
    foreign = card["foreign_bytes"]
    used = max(0, (card["used_bytes"] or 0) - foreign)
    reserved = max(0, card["booked_bytes"] - used)
    segments = [(used, "█"), (reserved, "▒"), (foreign, "!")]
    return words.bar(segments, card["memory_total_bytes"], width)


def _plain_table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


def _load(card: Mapping[str, Any]) -> str:
    if card["state"] != "ok":
        return str(card["state"])
    busy = "  - " if card["busy"] is None else f"{card['busy'] * 100:3.0f} %"
    heat = card["temperature_celsius"]
    return f"{busy} {'' if heat is None else f'{heat:.0f}°C'}".rstrip()


def _used(card: Mapping[str, Any]) -> str:
    used, total = card["used_bytes"], card["memory_total_bytes"]
    shown = "-" if used is None else f"{used / words.GIB:.0f}"
    return f"{shown}/{total / words.GIB:.0f} GiB"


def _holders(card: Mapping[str, Any]) -> str:
    names = [_holder(holder) for holder in card["holders"]]
    if card["foreign_bytes"] > words.GIB // 2:
        names.append(f"! {words.short_size(card['foreign_bytes'])} without owner")
    if card["fault"] or card["drain_reason"]:
        names.append(card["fault"] or f"drained: {card['drain_reason']}")
    return "  ".join(names)


def _holder(holder: Mapping[str, Any]) -> str:
    used = words.short_size(holder["used_bytes"]).removesuffix("G")
    memory = f"{used}/{words.short_size(holder['booked_bytes'])}"
    if not holder.get("job"):
        return f"another project ({memory})"
    return f"{holder['job']['name']} ({holder['job']['owner']} {memory})"
