"""Waiting for something to become true: a poll with a deadline, never a bare sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], seconds: float = 10, what: str = "") -> T:
    """The first true answer of `condition`; AssertionError with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Waited {seconds:g} s in vain for {what or condition}")
        time.sleep(0.01)
    return answer
