"""The scenario file: defects and foreign use of simulated cards, on demand and while they run.

    cards:
      all:                        # every card; what a card's own entry says goes first
        unknown: [power]          # of: power, temperature, busy, memory, process_memory
      0:                          # a card by its index, or by its UUID
        foreign_memory: 12G       # a process of somebody else
        foreign_busy: 0.5
        ghost_memory: 6G          # memory that no listed process holds
      1:
        lost: true                # it has fallen off the bus
      2:
        hangs: true               # reading it never returns

The file is read again when it changes. A wrong one is reported in words and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gpus.smallfile import read_small
from jobs.core.units import UnitError, parse_size

UNKNOWN_NAMES = ("power", "temperature", "busy", "memory", "process_memory")
LARGEST_FILE = 64 * 1024
EVERY_CARD = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class Defects:
    """What is special about one simulated card; sizes in bytes."""

    foreign_memory: int = 0
    foreign_busy: float = 0.0
    ghost_memory: int = 0
    unknown: frozenset[str] = frozenset()
    lost: bool = False
    hangs: bool = False


class ScenarioError(ValueError):
    """A scenario that cannot be used; says what is wrong, what was given, what is allowed, what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """The defects of all cards, by index (as text), UUID or `all`."""

    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, index: int, uuid: str) -> Defects:
        """The defects of one card: `all`, overlaid by its index, overlaid by its UUID."""
        merged: dict[str, Any] = {}
        for name in (EVERY_CARD, str(index), uuid):
            merged |= self.entries.get(name, {})
        return Defects(**merged)


def parse_scenario(text: str) -> Scenario:
    """The scenario that a YAML text describes.

    Raises:
        ScenarioError: not YAML, or an entry that has no meaning.
    """
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(
            f"It is not YAML: {' '.join(str(error).split())}. Correct it."
        ) from error
    cards = _mapping(given or {}, "The file", {"cards"}).get("cards")
    entries = _mapping(cards or {}, "'cards'", None)
    return Scenario(
        entries={str(card): _entry(str(card), entry) for card, entry in entries.items()}
    )


class ScenarioFile:
    """A scenario file that may change, be wrong or be missing at any time."""

    def __init__(self, path: Path | None) -> None:
        self.scenario = Scenario()
        self.problem: str | None = None  # a sentence while the file cannot be used
        self._path = path
        self._seen: tuple[int, ...] | None = None

    def refresh(self) -> None:
        """Read the file if it changed; a wrong one leaves the last good scenario in force."""
        if self._path is None:
            return
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._seen:
                self._seen = stamp
                self.scenario = parse_scenario(_text(self._path))
                self.problem = None
        except FileNotFoundError:
            self.scenario, self._seen = Scenario(), None
            self.problem = f"The scenario file {self._path} is missing, so no card has a defect."
        except (OSError, UnicodeError, ScenarioError) as error:
            self.problem = (
                f"The scenario file {self._path} is not used, the last good one stays. {error}"
            )


def _text(path: Path) -> str:
    data = read_small(path, LARGEST_FILE + 1, follow_links=True)
    if len(data) > LARGEST_FILE:
        raise ScenarioError(
            f"It is larger than the {LARGEST_FILE} bytes that are allowed. Shorten it."
        )
    return data.decode("utf-8")


def _entry(card: str, given: Any) -> dict[str, Any]:
    known = _mapping(given or {}, f"Card {card!r}", set(_READERS))
    return {
        name: _READERS[name](f"{name!r} of card {card!r}", value) for name, value in known.items()
    }


def _mapping(given: Any, what: str, allowed: set[str] | None) -> dict[Any, Any]:
    if not isinstance(given, dict):
        raise ScenarioError(
            f"{what} is {given!r}, but must be a mapping of names to values. Correct it."
        )
    for name in given:
        if allowed is not None and name not in allowed:
            raise ScenarioError(
                f"{what} has the unknown name {name!r}. Allowed: {', '.join(sorted(allowed))}. Correct it."
            )
    return given


def _size(what: str, value: Any) -> int:
    try:
        return parse_size(str(value))
    except UnitError as error:
        raise ScenarioError(f"{what} is no size: {error}") from error


def _share(what: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise ScenarioError(f"{what} is {value!r}, but must be a number from 0 to 1. Correct it.")


def _flag(what: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ScenarioError(f"{what} is {value!r}, but must be true or false. Correct it.")


def _unknown(what: str, value: Any) -> frozenset[str]:
    if isinstance(value, list) and all(name in UNKNOWN_NAMES for name in value):
        return frozenset(value)
    raise ScenarioError(
        f"{what} is {value!r}, but must be a list of any of: {', '.join(UNKNOWN_NAMES)}. Correct it."
    )


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "foreign_memory": _size,
    "foreign_busy": _share,
    "ghost_memory": _size,
    "unknown": _unknown,
    "lost": _flag,
    "hangs": _flag,
}
