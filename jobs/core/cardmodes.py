"""How far cards are shared in each mode: the numbers that the service and its simulation have in common."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SMART_QUEUE, DYNAMIC_SHARDING = "smart-queue", "dynamic-sharding"

THRESHOLD: Mapping[str, float] = MappingProxyType({SMART_QUEUE: 0.9, DYNAMIC_SHARDING: 0.95})
"""Share of a card's memory above which nothing more is placed on it."""

MAX_BUSY: Mapping[str, float] = MappingProxyType({SMART_QUEUE: 1.3, DYNAMIC_SHARDING: 1.6})
"""Where the sum of the jobs' known SM demands ends; 1.0: one job that fills the card."""
