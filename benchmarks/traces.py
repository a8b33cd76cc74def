"""Where the public traces are, and tables of what was measured on them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

_Asked = TypeVar("_Asked")
_Found = TypeVar("_Found")


def traces() -> Path:
    """The folder that COOP_TRACES names; ends the program with what to do where there is none."""
    folder = Path(os.environ.get("COOP_TRACES", ""))
    if "COOP_TRACES" not in os.environ or not folder.is_dir():
        sys.exit(
            "COOP_TRACES names no folder: set it to the one with the public traces (benchmarks/README.md)."
        )
    return folder


def in_turn(
    work: Callable[[_Asked], _Found], asked: Sequence[_Asked], processes: int
) -> Iterable[_Found]:
    """The results in the order asked for, worked out by so many processes."""
    if processes == 1:
        return map(work, asked)
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(work, asked))


def show(rows: Iterable[Sequence[object]]) -> None:
    """Print rows of cells, the first to the left, the others to the right."""
    for first, *others in rows:
        line = f"{first!s:<20}" + "".join(f"{cell!s:>13}" for cell in others)
        sys.stdout.write(line.rstrip() + "\n")
    sys.stdout.flush()


def verdict(problems: Sequence[str]) -> None:
    """Say whether all bars hold; end the program with 1 where not."""
    for problem in problems:
        sys.stdout.write(f"MISSED  {problem}\n")
    if problems:
        sys.exit(1)
    sys.stdout.write("All bars hold.\n")
