"""Named places where a test may kill this process, to prove that no place is a bad one to die at."""

from __future__ import annotations

import os
import signal

VARIABLE = "LLAMA_COOP_CRASH_AT"


def crash_point(name: str) -> None:
    """Kill this process here if `LLAMA_COOP_CRASH_AT` names this place; do nothing when it is unset.

    The variable holds `name[:probability]`, separated by commas; `*` stands for every place.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted and _dice() < _probability(wanted, name):
        _die(name)


def _die(_name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _probability(wanted: str, name: str) -> float:
    for entry in wanted.split(","):
        place, _, chance = entry.partition(":")
        if place.strip() in {name, "*"}:
            return float(chance or 1)
    return 0.0


def _dice() -> float:
    # Not `random`: its state is copied by fork, so that all supervisors would die at the same place.
    return int.from_bytes(os.urandom(4), "big") / 2**32
