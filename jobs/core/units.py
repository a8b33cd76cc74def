"""Sizes and durations as people write them ("16G", "4h") and as the core counts them (bytes, seconds).

Units are binary: `16G` is 16 GiB. An unknown or missing unit is refused, never guessed.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from jobs.core.problems import shortened

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

LARGEST_SIZE = 1024 * TIB
LONGEST_DURATION = 3650 * DAY

_SIZE_UNITS = {"M": MIB, "MIB": MIB, "G": GIB, "GIB": GIB, "T": TIB, "TIB": TIB}
_DURATION_UNITS = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY}

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]{0,12})")
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,6})?[smhd]){1,4}")
_DURATION_PART = re.compile(r"([0-9.]+)([smhd])")

_SIZE_HELP = "allowed are M, G and T, which mean MiB, GiB and TiB: write for example 16G"
_DURATION_HELP = "allowed are s, m, h and d, largest first: write for example 90s, 30m, 4h or 1h30m"


class UnitError(ValueError):
    """A size or duration that cannot be read.

    `message` says what is wrong and what was given; `hint` says what is allowed and what to do.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}.")
        self.message = message
        self.hint = hint


def parse_size(text: str) -> int:
    """Bytes that a size such as "16G", "1.5GiB" or "512M" stands for; a fraction of a byte counts whole.

    Raises:
        UnitError: no number, no unit, an unknown unit, or more than 1024T.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UnitError(f"{shortened(text)} is not a size", _SIZE_HELP)
    number, unit = found.groups()
    if not unit:
        raise UnitError(f"the size {shortened(text)} has no unit", _SIZE_HELP)
    factor = _SIZE_UNITS.get(unit.upper())
    if factor is None:
        raise UnitError(f"the size {shortened(text)} has the unknown unit {unit!r}", _SIZE_HELP)
    size = math.ceil(Decimal(number) * factor)
    if size > LARGEST_SIZE:
        raise UnitError(f"the size {shortened(text)} is too large", "allowed is at most 1024T")
    return size


def format_size(size: int, *, digits: int = 1) -> str:
    """A size in bytes for people, at most `digits` decimals: "16 GiB", "1.5 GiB", "512 MiB"."""
    for unit, name in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if round(abs(size) / unit, 3) >= 1:  # so that no size reads "1024 MiB"
            return f"{_trimmed(size / unit, digits)} {name}"
    return f"{size} B"


def format_need(need: int, available: int) -> tuple[str, str]:
    """Two sizes that differ, with as many decimals as it takes to see which one is the larger."""
    for digits in (1, 2, 3):
        texts = format_size(need, digits=digits), format_size(available, digits=digits)
        if texts[0] != texts[1]:
            return texts
    return f"{need} B", f"{available} B"


def parse_duration(text: str) -> float:
    """Seconds that a duration such as "90s", "30m", "4h", "2d" or "1h30m" stands for.

    Raises:
        UnitError: no number, no unit, an unknown unit, units out of order, or more than ten years.
    """
    given = text.strip()
    if _DURATION.fullmatch(given) is None:
        raise UnitError(f"{shortened(text)} is not a duration", _DURATION_HELP)
    parts = [(number, _DURATION_UNITS[unit]) for number, unit in _DURATION_PART.findall(given)]
    factors = [factor for _, factor in parts]
    if factors != sorted(set(factors), reverse=True):
        raise UnitError(
            f"the units of {shortened(text)} repeat or are out of order", _DURATION_HELP
        )
    seconds = float(sum(Decimal(number) * factor for number, factor in parts))
    if seconds > LONGEST_DURATION:
        raise UnitError(f"the duration {shortened(text)} is too long", "allowed is at most 3650d")
    return seconds


def format_duration(seconds: float) -> str:
    """A duration for people, in its two largest units: "3d4h", "2h14m", "1m05s", "38s"."""
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    whole = round(seconds)
    for unit, name, below, below_name in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "m"),
        (MINUTE, "m", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // below
            return f"{whole // unit}{name}" + (_rest(rest, below_name) if rest else "")
    return f"{whole}s"


def _rest(value: int, name: str) -> str:
    return f"{value}{name}" if name == "h" else f"{value:02d}{name}"


def _trimmed(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
