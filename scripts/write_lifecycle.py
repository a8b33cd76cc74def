"""Writes the generated part of docs/lifecycle.md from jobs/core/states.py; with --check, says whether it is current."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from jobs.core.states import TERMINAL, TRANSITIONS, JobState, Outcome, Reason  # noqa: E402 - path set above

PAGE = ROOT / "docs" / "lifecycle.md"
BEGIN, END = "<!-- generated: make docs -->", "<!-- end of the generated part -->"
_COMMENT = re.compile(r'^    (?P<name>[A-Z_]+) = "[^"]*"(?:  # (?P<meaning>.*))?$', re.MULTILINE)


def main() -> int:
    """Write the page, or with --check compare it; 1 where it is stale."""
    page = PAGE.read_text(encoding="utf-8")
    current = with_generated_part(page)
    if "--check" in sys.argv:
        if page != current:
            print("docs/lifecycle.md is stale. Run `make docs` and commit it.", file=sys.stderr)
        return int(page != current)
    PAGE.write_text(current, encoding="utf-8")
    return 0


def with_generated_part(page: str) -> str:
    """The page with everything between the two marks written anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{_generated()}{END}{after}"


def _generated() -> str:
    lines = [
        "",
        "```mermaid",
        "stateDiagram-v2",
        *_arrows(),
        "```",
        "",
        "| state | meaning | may become |",
        "|---|---|---|",
        *(f"| {s} | {_meaning(s)} | {_following(s)} |" for s in JobState),
        "",
        "How an attempt ended: " + ", ".join(f"`{o.value}`" for o in Outcome) + ".",
        "",
        "| reason | meaning |",
        "|---|---|",
        *(f"| `{r.value}` | {_meaning(r)} |" for r in Reason),
        "",
    ]
    return "\n".join(lines) + "\n"


def _arrows() -> Iterator[str]:
    yield "    [*] --> QUEUED"
    yield "    [*] --> HELD"
    for old in JobState:
        yield from (f"    {old} --> {new}" for new in JobState if new in TRANSITIONS[old])
    yield from (f"    {state} --> [*]" for state in JobState if state in TERMINAL)


def _following(state: JobState) -> str:
    return (
        ", ".join(new for new in JobState if new in TRANSITIONS[state]) or "nothing: it has ended"
    )


def _meaning(member: Enum) -> str:
    """The comment behind the member, which is where its meaning is written once."""
    source = (ROOT / "jobs" / "core" / "states.py").read_text(encoding="utf-8")
    of_class = source.partition(f"class {type(member).__name__}")[2]
    for found in _COMMENT.finditer(of_class):
        if found["name"] == member.name:
            return found["meaning"] or member.name.lower().replace("_", " ")
    return member.name.lower().replace("_", " ")


if __name__ == "__main__":
    sys.exit(main())
