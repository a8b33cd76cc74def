"""Slows down the guessing of passwords: five failures for a name from one address, then a quarter of an hour's rest."""

from __future__ import annotations

import hashlib

from django.core.cache import cache

MOST_FAILURES = 5
REST_S = 15 * 60


def is_locked(name: str, address: str) -> bool:
    """Whether no further guess is taken for now."""
    return int(cache.get(_key(name, address), 0)) >= MOST_FAILURES


def note_failure(name: str, address: str) -> None:
    """Count one wrong guess."""
    key = _key(name, address)
    cache.add(key, 0, REST_S)
    cache.incr(key)


def forget(name: str, address: str) -> None:
    """The right password came."""
    cache.delete(_key(name, address))


def _key(name: str, address: str) -> str:
    """Names are hashed: what people type into the name field is at times their password."""
    text = f"{name.lower()}\0{address}"
    return f"signin:{hashlib.sha256(text.encode()).hexdigest()}"
