"""Random public ids: what an address or an API answer shows instead of a row number."""

from __future__ import annotations

import secrets

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # without the look-alikes 0 o 1 i l


def public_id() -> str:
    """Twelve characters, 59 random bits: not guessable, and still read aloud over a desk."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(12))
